//! Uses an authority with the crates oauth2 and openidconnect, as their documentation says.
//! Standard input has the settings as JSON, standard output what came of it.

mod http;

use oauth2::{
    AccessToken, AuthType, ClientId, ClientSecret, EndpointNotSet, EndpointSet, IntrospectionUrl,
    RefreshToken, RequestTokenError, RevocationUrl, Scope, TokenIntrospectionResponse, TokenResponse,
    TokenUrl,
    basic::{BasicClient, BasicErrorResponse, BasicTokenResponse},
};
use openidconnect::{
    IssuerUrl, JsonWebKeySetUrl, Nonce,
    core::{
        CoreClient, CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm,
        CoreProviderMetadata,
    },
};
use serde_json::{Value, json};
use std::{error::Error, io, str::FromStr};

type Outcome<T = Value> = Result<T, Box<dyn Error>>;
type Client = BasicClient<EndpointNotSet, EndpointNotSet, EndpointSet, EndpointSet, EndpointSet>;
type Refused = RequestTokenError<http::Failure, BasicErrorResponse>;

fn main() -> Outcome<()> {
    let settings: Value = serde_json::from_reader(io::stdin())?;
    let answer = match text(&settings, "do")? {
        "oauth2" => oauth2(&settings)?,
        "openidconnect" => openidconnect(&settings)?,
        other => return Err(format!("there is no {other}").into()),
    };
    println!("{answer}");
    Ok(())
}

fn text<'a>(settings: &'a Value, name: &str) -> Outcome<&'a str> {
    settings[name].as_str().ok_or_else(|| format!("{name} is missing").into())
}

/// The client, with its secret in the header, in the body, or without one.
fn client(settings: &Value) -> Outcome<Client> {
    let issuer = text(settings, "issuer")?;
    // `revoke_token` demands `https`, on loopback too (RFC 7009 §2). What is sent below does not
    // look at the scheme.
    let revocation = format!("{}/revoke", issuer.replacen("http://", "https://", 1));
    let client = BasicClient::new(ClientId::new(text(settings, "client")?.to_owned()));
    let client = match settings["secret"].as_str() {
        Some(secret) => client.set_client_secret(ClientSecret::new(secret.to_owned())),
        None => client,
    };
    let way =
        if settings["method"] == "client_secret_basic" { AuthType::BasicAuth } else { AuthType::RequestBody };
    Ok(client
        .set_auth_type(way)
        .set_token_uri(TokenUrl::new(format!("{issuer}/token"))?)
        .set_introspection_url(IntrospectionUrl::new(format!("{issuer}/introspect"))?)
        .set_revocation_url(RevocationUrl::new(revocation)?))
}

/// The token, or the error that the authority names.
fn code(result: Result<BasicTokenResponse, Refused>) -> Outcome<Result<BasicTokenResponse, String>> {
    match result {
        Ok(token) => Ok(Ok(token)),
        Err(RequestTokenError::ServerResponse(refusal)) => Ok(Err(refusal.error().to_string())),
        Err(other) => Err(other.into()),
    }
}

fn refused(result: Result<BasicTokenResponse, Refused>) -> Outcome {
    Ok(json!(code(result)?.err()))
}

fn oauth2(settings: &Value) -> Outcome {
    let client = client(settings)?;
    let mut answer = json!({});
    if let Some(refresh) = settings["refresh_token"].as_str() {
        let first = RefreshToken::new(refresh.to_owned());
        let token = code(
            client.exchange_refresh_token(&first).add_scope(Scope::new("read".into())).request(&http::send),
        )?;
        match token {
            Ok(token) => answer["token"] = json!(token),
            Err(error) => answer["error"] = json!(error),
        }
        let wrong = RefreshToken::new("csref_x".to_owned());
        answer["wrong"] = refused(client.exchange_refresh_token(&wrong).request(&http::send))?;
        if let Some(refresh) =
            answer["token"]["refresh_token"].as_str().filter(|_| settings["revoke"] == true)
        {
            let token = RefreshToken::new(refresh.to_owned());
            client.revoke_token(token.clone().into())?.request(&http::send)?;
            answer["after"] = refused(client.exchange_refresh_token(&token).request(&http::send))?;
        }
        return Ok(answer);
    }
    let ask = |scope: &str| {
        let mut request = client.exchange_client_credentials().add_scope(Scope::new(scope.to_owned()));
        for (name, value) in settings["more"].as_object().into_iter().flatten() {
            request = request.add_extra_param(name.clone(), value.as_str().unwrap_or_default().to_owned());
        }
        request.request(&http::send)
    };
    match code(ask("read"))? {
        Ok(token) => answer["token"] = json!(token),
        Err(error) => answer["error"] = json!(error),
    }
    answer["refused"] = refused(ask("admin"))?;
    let Some(token) = answer["token"]["access_token"].as_str().filter(|_| settings["introspect"] == true)
    else {
        return Ok(answer);
    };
    let token = AccessToken::new(token.to_owned());
    let found = client.introspect(&token).request(&http::send)?;
    let (active, scopes) = (found.active(), found.scopes().map(|scopes| scopes.len()));
    answer["introspected"] =
        json!({ "active": active, "scopes": scopes, "client": found.client_id().map(|id| id.as_str()) });
    client.revoke_token(token.clone().into())?.request(&http::send)?;
    answer["after"] = json!(client.introspect(&token).request(&http::send)?.active());
    Ok(answer)
}

fn openidconnect(settings: &Value) -> Outcome {
    let issuer = IssuerUrl::new(text(settings, "issuer")?.to_owned())?;
    let discovered = CoreProviderMetadata::discover(&issuer, &http::send);
    let keys = JsonWebKeySetUrl::new(format!("{}/.well-known/jwks.json", issuer.as_str()))?;
    let keys = CoreJsonWebKeySet::fetch(&keys, &http::send)?;
    let (id, secret) = (text(settings, "client")?.to_owned(), text(settings, "secret")?.to_owned());
    let client = CoreClient::new(ClientId::new(id), issuer.clone(), keys.clone())
        .set_client_secret(ClientSecret::new(secret))
        .set_token_uri(TokenUrl::new(format!("{}/token", issuer.as_str()))?)
        .set_introspection_url(IntrospectionUrl::new(format!("{}/introspect", issuer.as_str()))?);
    let token =
        client.exchange_client_credentials().add_scope(Scope::new("read".into())).request(&http::send)?;
    let (access, signed) = (token.access_token().secret(), text(settings, "signed")?);
    // Its check of a signature and of issuer, audience and time is that of an ID token.
    let check = |text: &str, audience: &str| {
        let verifier = CoreIdTokenVerifier::new_public_client(
            ClientId::new(audience.to_owned()),
            issuer.clone(),
            keys.clone(),
        )
        .set_allowed_algs([CoreJwsSigningAlgorithm::EcdsaP256Sha256]);
        let token = CoreIdToken::from_str(text)?;
        let claims = token.claims(&verifier, |_: Option<&Nonce>| Ok(()))?;
        Outcome::Ok(json!(claims.subject().as_str()))
    };
    Ok(json!({
        "discovery": discovered.err().map(|why| format!("{why:?}")),
        "token": access,
        "subject": check(signed, "api://default")?,
        "others": check(signed, "api://other").err().map(|why| why.to_string()),
        "access": check(access, "api://default").err().map(|why| why.to_string()),
        "active": client.introspect(token.access_token()).request(&http::send)?.active(),
    }))
}
