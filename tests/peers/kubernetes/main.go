// Kubernetes' own authenticator of JWTs, as its API server has it. Every line of standard input is a case, every line
// of standard output what became of it; the program lives until its input ends, and so do the keys that it has read.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"log"
	"os"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

// One issuer, as structured authentication configures it, and a token. `algorithms` are what the flag
// --oidc-signing-algs has; none is its default, RS256.
type question struct {
	Issuer     string   `json:"issuer"`
	Audience   string   `json:"audience"`
	Authority  string   `json:"authority"`
	Algorithms []string `json:"algorithms"`
	Token      string   `json:"token"`
}

type verdict struct {
	User   string   `json:"user,omitempty"`
	Groups []string `json:"groups,omitempty"`
	Error  string   `json:"error,omitempty"`
}

type authority string

func (pem authority) CurrentCABundleContent() []byte { return []byte(pem) }

func main() {
	kept := map[string]oidc.AuthenticatorTokenWithHealthCheck{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			log.Fatal(err)
		}
		if err := answers.Encode(judge(asked, kept)); err != nil {
			log.Fatal(err)
		}
	}
}

func judge(asked question, kept map[string]oidc.AuthenticatorTokenWithHealthCheck) verdict {
	name := asked.Issuer + " " + strings.Join(asked.Algorithms, " ")
	if kept[name] == nil {
		made, err := authenticator(asked)
		if err != nil {
			return verdict{Error: err.Error()}
		}
		kept[name] = made
	}
	response, taken, err := kept[name].AuthenticateToken(context.Background(), asked.Token)
	if err != nil {
		return verdict{Error: err.Error()}
	}
	if !taken {
		return verdict{Error: "not for this authenticator"}
	}
	return verdict{User: response.User.GetName(), Groups: response.User.GetGroups()}
}

// Waits until it has read discovery, which it does by itself every ten seconds.
func authenticator(asked question) (oidc.AuthenticatorTokenWithHealthCheck, error) {
	none := ""
	made, err := oidc.New(context.Background(), oidc.Options{
		JWTAuthenticator: apiserver.JWTAuthenticator{
			Issuer: apiserver.Issuer{
				URL: asked.Issuer, CertificateAuthority: asked.Authority, Audiences: []string{asked.Audience},
			},
			ClaimMappings: apiserver.ClaimMappings{
				Username: apiserver.PrefixedClaimOrExpression{Claim: "sub", Prefix: &none},
				Groups:   apiserver.PrefixedClaimOrExpression{Claim: "groups", Prefix: &none},
			},
		},
		CAContentProvider:    authority(asked.Authority),
		SupportedSigningAlgs: asked.Algorithms,
	})
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(time.Minute); made.HealthCheck() != nil; {
		if time.Now().After(deadline) {
			return nil, made.HealthCheck()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return made, nil
}
