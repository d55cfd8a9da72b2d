package main

import (
	"context"
	"encoding/json"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwk"
	jwx "github.com/lestrrat-go/jwx/v3/jwt"
)

// It takes the algorithms that discovery names, and reads the keys again when it meets one that it does not know.
func withGoOIDC(ctx context.Context, asked question) (verifier, error) {
	provider, err := oidc.NewProvider(ctx, asked.Issuer)
	if err != nil {
		return nil, err
	}
	verify := provider.VerifierContext(ctx, &oidc.Config{ClientID: asked.Audience})
	return func(token string) (map[string]any, error) {
		verified, err := verify.Verify(ctx, token)
		if err != nil {
			return nil, err
		}
		claims := map[string]any{}
		return claims, verified.Claims(&claims)
	}, nil
}

// golang-jwt, with the keys of keyfunc and its jwkset.
func withGolangJWT(ctx context.Context, asked question) (verifier, error) {
	uri, err := jwksURI(ctx, asked.Issuer)
	if err != nil {
		return nil, err
	}
	keys, err := keyfunc.NewDefaultCtx(ctx, []string{uri})
	if err != nil {
		return nil, err
	}
	options := []jwt.ParserOption{
		jwt.WithIssuer(asked.Issuer), jwt.WithAudience(asked.Audience), jwt.WithValidMethods([]string{asked.Algorithm}),
		jwt.WithExpirationRequired(),
	}
	return func(token string) (map[string]any, error) {
		verified, err := jwt.Parse(token, keys.Keyfunc, options...)
		if err != nil {
			return nil, err
		}
		return verified.Claims.(jwt.MapClaims), nil
	}, nil
}

// It takes the algorithm that the key names.
func withJWX(ctx context.Context, asked question) (verifier, error) {
	uri, err := jwksURI(ctx, asked.Issuer)
	if err != nil {
		return nil, err
	}
	keys, err := jwk.Fetch(ctx, uri)
	if err != nil {
		return nil, err
	}
	options := []jwx.ParseOption{
		jwx.WithKeySet(keys), jwx.WithIssuer(asked.Issuer), jwx.WithAudience(asked.Audience), jwx.WithRequiredClaim("exp"),
	}
	return func(token string) (map[string]any, error) {
		verified, err := jwx.ParseString(token, options...)
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(verified)
		if err != nil {
			return nil, err
		}
		claims := map[string]any{}
		return claims, json.Unmarshal(text, &claims)
	}, nil
}
