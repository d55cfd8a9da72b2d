// Verifies tokens with three libraries, each as its manual says. Every line of standard input is a case, every line of
// standard output its verdict; the program lives until its input ends.
//
// Keys come from discovery over HTTP and from nowhere else. Every case reads them anew, unless it names a verifier to
// keep: all cases of that name share one, which goes on with the keys that it has read as it does in a server.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

// A case, as tests/interop/judges.py writes it.
type question struct {
	Library   string `json:"library"`
	Issuer    string `json:"issuer"`
	Audience  string `json:"audience"`
	Algorithm string `json:"algorithm"`
	Kept      string `json:"kept"`
	Token     string `json:"token"`
}

// What became of it: the claims, or what the library says against the token.
type verdict struct {
	Claims map[string]any `json:"claims,omitempty"`
	Error  string         `json:"error,omitempty"`
}

// Gives the claims of a good token.
type verifier func(token string) (map[string]any, error)

var libraries = map[string]func(context.Context, question) (verifier, error){
	"go-oidc":    withGoOIDC,
	"golang-jwt": withGolangJWT,
	"jwx":        withJWX,
}

func main() {
	kept := map[string]verifier{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			log.Fatal(err)
		}
		claims, err := judge(asked, kept)
		said := verdict{Claims: claims}
		if err != nil {
			said = verdict{Error: err.Error()}
		}
		if err := answers.Encode(said); err != nil {
			log.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}

func judge(asked question, kept map[string]verifier) (map[string]any, error) {
	library, known := libraries[asked.Library]
	if !known {
		log.Fatalf("no library %q", asked.Library)
	}
	if asked.Kept == "" {
		ctx, end := context.WithCancel(context.Background())
		defer end()
		verify, err := library(ctx, asked)
		if err != nil {
			return nil, err
		}
		return verify(asked.Token)
	}
	name := asked.Library + " " + asked.Kept
	if kept[name] == nil {
		verify, err := library(context.Background(), asked)
		if err != nil {
			return nil, err
		}
		kept[name] = verify
	}
	return kept[name](asked.Token)
}

// Where the keys of an issuer are. OpenID Connect Discovery 1.0 §4: the document must be for the issuer that was
// asked.
func jwksURI(ctx context.Context, issuer string) (string, error) {
	address := issuer + "/.well-known/openid-configuration"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return "", fmt.Errorf("discovery: %w", err)
	}
	if document.Issuer != issuer {
		return "", fmt.Errorf("discovery is for %q", document.Issuer)
	}
	return document.JWKSURI, nil
}
