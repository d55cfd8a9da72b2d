// Refreshes an access token with golang.org/x/oauth2, as its documentation says: a token source that is given an expired token.
// Arguments: token endpoint, client id, secret, refresh token. Prints the next refresh token and the code of a refusal as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	"golang.org/x/oauth2"
)

func main() {
	config := oauth2.Config{ClientID: os.Args[2], ClientSecret: os.Args[3], Endpoint: oauth2.Endpoint{TokenURL: os.Args[1]}}
	refresh := func(token string) (*oauth2.Token, string) {
		expired := &oauth2.Token{AccessToken: "expired", RefreshToken: token, Expiry: time.Now().Add(-time.Hour)}
		next, err := config.TokenSource(context.Background(), expired).Token()
		var refusal *oauth2.RetrieveError
		if errors.As(err, &refusal) {
			return nil, refusal.ErrorCode
		}
		if err != nil {
			return nil, err.Error()
		}
		return next, ""
	}
	first, _ := refresh(os.Args[4])
	second, _ := refresh(first.RefreshToken)
	_, refused := refresh("csref_AAAA")
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"first": first.RefreshToken, "second": second.RefreshToken, "token": second.AccessToken, "refused": refused,
	})
}
