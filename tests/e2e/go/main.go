// Gets an access token with golang.org/x/oauth2/clientcredentials, as its documentation says. Arguments: token endpoint, client id,
// secret, and where they go ("header" or "params"). Prints the token and the codes of two refusals as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func main() {
	style := map[string]oauth2.AuthStyle{"header": oauth2.AuthStyleInHeader, "params": oauth2.AuthStyleInParams}[os.Args[4]]
	ask := func(secret, scope string) (*oauth2.Token, string) {
		config := clientcredentials.Config{
			ClientID: os.Args[2], ClientSecret: secret, TokenURL: os.Args[1], Scopes: []string{scope}, AuthStyle: style,
		}
		token, err := config.Token(context.Background())
		var refusal *oauth2.RetrieveError
		if errors.As(err, &refusal) {
			return nil, refusal.ErrorCode
		}
		if err != nil {
			return nil, err.Error()
		}
		return token, ""
	}
	token, _ := ask(os.Args[3], "read")
	_, refused := ask(os.Args[3], "admin")
	_, wrong := ask("wrong", "read")
	json.NewEncoder(os.Stdout).Encode(map[string]any{"token": token, "refused": refused, "wrong": wrong})
}
