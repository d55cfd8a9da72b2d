//! Presets: tokens in each provider's own form are accepted, near misses are not, and only the
//! documented address is asked. Addresses are those of the providers, so a fake fetch answers for
//! them.

use crate::support::{FakeFetch, Signer, at, certified, code, explained, today};
use countersign_jose::{Algorithm, Timestamp};
use countersign_verifier::{KeySource, Preset, TrustError, TrustedIssuerBuilder, Verifier};
use serde_json::{Value, json};
use std::sync::Arc;

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

/// A provider: its description, where it is asked, and its key.
struct Provider {
    verifier: Verifier,
    fetch: Arc<FakeFetch>,
    signer: Signer,
    now: Timestamp,
}

impl Provider {
    /// `discovery` names the document's `issuer`, where there is one.
    fn new(builder: TrustedIssuerBuilder, discovery: Option<(&str, &str)>, keys: &str) -> Self {
        let signer = Signer::with("k1", Algorithm::RS256);
        let fetch = Arc::new(FakeFetch::default());
        let mut jwk = signer.jwk();
        // Entra's keys have no `alg`; nobody minds elsewhere.
        jwk.as_object_mut().unwrap().remove("alg");
        fetch.on(keys, &json!({ "keys": [jwk] }).to_string(), None);
        if let Some((url, issuer)) = discovery {
            fetch.on(url, &json!({ "issuer": issuer, "jwks_uri": keys }).to_string(), None);
        }
        let verifier =
            Verifier::builder().trust(builder.build().unwrap()).fetch(fetch.clone()).build().unwrap();
        Self { verifier, fetch, signer, now: at(0) }
    }

    async fn outcome(&self, claims: &Value, changes: Value) -> &'static str {
        let mut claims = claims.clone();
        claims["exp"] = json!(self.now.unix_seconds() + 300);
        claims["iat"] = json!(self.now.unix_seconds());
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        code(&explained(&self.verifier, &self.signer.token(&claims), self.now).await.outcome)
    }

    async fn assert(&self, claims: Value, misses: &[(Value, &str)]) {
        assert_eq!(self.outcome(&claims, json!({})).await, "ok");
        for (changes, expected) in misses {
            assert_eq!(self.outcome(&claims, changes.clone()).await, *expected, "{changes}");
        }
    }
}

fn preset(preset: Preset, id: &str) -> TrustedIssuerBuilder {
    preset.builder(id).unwrap()
}

#[tokio::test]
async fn firebase() {
    let url = "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com";
    let mut provider = Provider::new(preset(Preset::Firebase, "my-project"), None, url);
    let (signer, certificate) = certified("f1", Algorithm::RS256, &["rsa:2048"]);
    provider.fetch.on(url, &json!({ "f1": certificate }).to_string(), Some(20_000));
    (provider.signer, provider.now) = (signer, today());
    let claims = json!({ "iss": "https://securetoken.google.com/my-project", "aud": "my-project", "sub": "u1",
        "user_id": "u1", "auth_time": 1, "firebase": { "sign_in_provider": "password", "identities": {} } });
    let misses = [
        (json!({ "aud": "other-project" }), "claim_mismatch"),
        (json!({ "iss": "https://securetoken.google.com/other-project" }), "issuer_unknown"),
        (json!({ "iss": "https://session.firebase.google.com/my-project" }), "issuer_unknown"),
        (json!({ "sub": "" }), "subject_unacceptable"),
        (json!({ "sub": null }), "subject_unacceptable"),
        (json!({ "sub": "u".repeat(129) }), "subject_unacceptable"),
    ];
    provider.assert(claims, &misses).await;
    assert_eq!(provider.fetch.asked(), [url]);
}

#[tokio::test]
async fn cognito_access_and_id_tokens_are_told_apart() {
    let issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf123";
    let keys = format!("{issuer}/.well-known/jwks.json");
    let describe = || preset(Preset::Cognito, "eu-west-1_AbCdEf123").audiences(["client1"]);
    let access = json!({ "iss": issuer, "token_use": "access", "client_id": "client1", "sub": "s", "scope": "a/b",
        "username": "u", "cognito:groups": ["g"], "origin_jti": "o", "jti": "j", "version": 2 });
    let provider = Provider::new(describe(), None, &keys);
    let misses = [
        (json!({ "client_id": "client2" }), "claim_mismatch"),
        (json!({ "client_id": null }), "claim_missing"),
        (json!({ "token_use": "id", "aud": "client1" }), "claim_mismatch"),
        (json!({ "token_use": null }), "claim_missing"),
        (json!({ "aud": "https://resource.example" }), "claim_mismatch"),
        (json!({ "iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Other" }), "issuer_unknown"),
    ];
    provider.assert(access, &misses).await;
    assert_eq!(provider.fetch.asked(), std::slice::from_ref(&keys));

    let id =
        json!({ "iss": issuer, "token_use": "id", "aud": "client1", "sub": "s", "cognito:username": "u" });
    let provider = Provider::new(describe().token_use("id"), None, &keys);
    provider
        .assert(
            id,
            &[(json!({ "token_use": "access", "aud": null, "client_id": "client1" }), "claim_mismatch")],
        )
        .await;
}

#[tokio::test]
async fn both_issuers_of_a_user_pool_are_its_own_each_with_the_keys_at_its_address() {
    const POOL: &str = "us-east-1_AbCdEf123";
    let [original, updated, replica] = [
        "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_AbCdEf123",
        "https://issuer-cognito-idp.us-east-1.amazonaws.com/us-east-1_AbCdEf123",
        "https://cognito-idp.us-west-2.amazonaws.com/us-east-1_AbCdEf123",
    ];
    let keys = |issuer: &str| format!("{issuer}/.well-known/jwks.json");
    let described = |regions: &[&str]| {
        let regions: Vec<String> = regions.iter().map(|region| (*region).to_owned()).collect();
        let builder = preset(Preset::Cognito, POOL).audiences(["client1"]);
        Preset::Cognito.replicas(builder, POOL, &regions)
    };
    let fetch = Arc::new(FakeFetch::default());
    let signers = [original, updated, replica].map(|issuer| {
        let signer = Signer::with("k1", Algorithm::RS256);
        fetch.on(&keys(issuer), &json!({ "keys": [signer.jwk()] }).to_string(), None);
        (issuer, signer)
    });
    let token = |issuer: &str, signer: &Signer| {
        signer.token(&json!({ "iss": issuer, "token_use": "access", "client_id": "client1", "sub": "s",
            "exp": at(300).unix_seconds() }))
    };
    let trusting = |builder: TrustedIssuerBuilder| {
        Verifier::builder().trust(builder.build().unwrap()).fetch(fetch.clone()).build().unwrap()
    };
    let verifier = trusting(described(&["us-west-2"]).unwrap());
    // What not every pool has is asked for when a token needs it.
    assert!(verifier.warm(at(0)).await[0].fresh);
    assert_eq!(fetch.asked(), [keys(original)]);
    for (issuer, signer) in &signers {
        let accepted = explained(&verifier, &token(issuer, signer), at(0)).await.outcome.unwrap();
        assert_eq!(accepted.issuer(), original, "one issuer to rules");
        for (other, _) in signers.iter().filter(|(other, _)| other != issuer) {
            let outcome = explained(&verifier, &token(other, signer), at(0)).await.outcome;
            assert_eq!(code(&outcome), "token_bad_signature", "{issuer} {other}");
        }
    }
    for other in [
        "https://issuer-cognito-idp.us-west-2.amazonaws.com/us-east-1_AbCdEf123",
        "https://cognito-idp.eu-west-1.amazonaws.com/us-east-1_AbCdEf123",
        "https://issuer-cognito-idp.us-east-1.amazonaws.com/us-east-1_Other",
        "https://issuer.cognito-idp.us-east-1.amazonaws.com/us-east-1_AbCdEf123",
        "https://issuer-cognito-idp.us-east-1.amazonaws.com/us-east-1_AbCdEf123/",
    ] {
        let outcome = explained(&verifier, &token(other, &signers[0].1), at(0)).await.outcome;
        assert_eq!(code(&outcome), "issuer_unknown", "{other}");
    }
    let without = trusting(described(&[]).unwrap());
    assert_eq!(code(&without.verify(&token(replica, &signers[2].1), at(0)).await), "issuer_unknown");
    // Keys of one's own are for all its names; a name given beside the preset has been in it ever
    // since.
    let inline = KeySource::InlineJwks(json!({ "keys": [signers[2].1.jwk()] }).to_string());
    let own = trusting(described(&[]).unwrap().keys(inline));
    for issuer in [original, updated] {
        assert_eq!(code(&own.verify(&token(issuer, &signers[2].1), at(0)).await), "ok", "{issuer}");
    }
    let named = trusting(described(&[]).unwrap().also_known_as(updated));
    assert_eq!(code(&named.verify(&token(updated, &signers[1].1), at(0)).await), "ok");
    for bad in ["us-east-1", "", "us/west", "us-west-2.evil.example", ".."] {
        assert!(matches!(described(&[bad]), Err(TrustError::PresetId { .. })), "{bad}");
    }
    let other = preset(Preset::Auth0, "a.example");
    assert!(Preset::Auth0.replicas(other, "a.example", &["us-west-2".to_owned()]).is_err());
}

#[tokio::test]
async fn an_issuer_that_a_pool_does_not_have_is_unknown_and_not_asked_for_by_every_token() {
    let issuer = "https://issuer-cognito-idp.us-east-1.amazonaws.com/us-east-1_AbCdEf123";
    let keys = format!("{issuer}/.well-known/jwks.json");
    let builder = preset(Preset::Cognito, "us-east-1_AbCdEf123").audiences(["client1"]).build().unwrap();
    let fetch = Arc::new(FakeFetch::default());
    let verifier = Verifier::builder().trust(builder).fetch(fetch.clone()).build().unwrap();
    let signer = Signer::with("k1", Algorithm::RS256);
    let token = signer.token(&json!({ "iss": issuer, "token_use": "access", "client_id": "client1",
        "exp": at(3600).unix_seconds() }));
    fetch.refuse(&keys, 403);
    for (when, fetches) in [(0, 1), (2, 1), (100, 1), (299, 1), (300, 2), (301, 2)] {
        let outcome = explained(&verifier, &token, at(when)).await.outcome;
        assert_eq!((code(&outcome), fetch.count()), ("issuer_unknown", fetches), "at {when}");
    }
    // A server that is down says nothing of the kind.
    fetch.fail(&keys);
    assert_eq!(code(&verifier.verify(&token, at(600)).await), "keys_unavailable");
    // The pool is switched to it.
    fetch.on(&keys, &json!({ "keys": [signer.jwk()] }).to_string(), None);
    assert_eq!(code(&verifier.verify(&token, at(602)).await), "ok");
    // What is for every token of an issuer has to be there.
    assert_eq!(verifier.warm(at(602)).await.remove(0).failure.unwrap().code(), "fetch_status");
}

#[tokio::test]
async fn auth0() {
    let keys = "https://tenant.eu.auth0.com/.well-known/jwks.json";
    let builder = preset(Preset::Auth0, "tenant.eu.auth0.com").audiences(["https://api.example"]);
    let provider = Provider::new(builder, None, keys);
    let claims = json!({ "iss": "https://tenant.eu.auth0.com/", "sub": "auth0|1", "azp": "c", "scope": "openid",
        "aud": ["https://api.example", "https://tenant.eu.auth0.com/userinfo"] });
    let misses = [
        (json!({ "iss": "https://tenant.eu.auth0.com" }), "issuer_unknown"),
        (json!({ "aud": "c" }), "claim_mismatch"),
        (json!({ "aud": null, "azp": "https://api.example" }), "claim_missing"),
    ];
    provider.assert(claims, &misses).await;
    assert_eq!(provider.fetch.asked(), [keys]);
}

#[tokio::test]
async fn okta_custom_authorization_server() {
    let issuer = "https://dev-1.okta.com/oauth2/default";
    let well_known = format!("{issuer}/.well-known/openid-configuration");
    let keys = format!("{issuer}/v1/keys");
    let builder = preset(Preset::Okta, issuer).audiences(["api://default"]);
    let provider = Provider::new(builder, Some((&well_known, issuer)), &keys);
    let claims =
        json!({ "iss": issuer, "aud": "api://default", "cid": "c", "uid": "u", "scp": ["a"], "ver": 1 });
    provider.assert(claims, &[(json!({ "aud": "c" }), "claim_mismatch")]).await;
    assert_eq!(provider.fetch.asked(), [well_known, keys]);
}

#[tokio::test]
async fn entra_single_tenant() {
    let issuer = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    let well_known = format!("{issuer}/.well-known/openid-configuration");
    let keys = format!("https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys");
    let builder = preset(Preset::Entra, TENANT).audiences(["app-id"]);
    let provider = Provider::new(builder, Some((&well_known, &issuer)), &keys);
    let claims = json!({ "iss": issuer, "aud": "app-id", "tid": TENANT, "oid": "o", "ver": "2.0" });
    let misses = [
        (json!({ "tid": "other" }), "claim_mismatch"),
        (json!({ "iss": format!("https://sts.windows.net/{TENANT}/") }), "issuer_unknown"),
        (json!({ "aud": "00000003-0000-0000-c000-000000000000" }), "claim_mismatch"),
    ];
    provider.assert(claims.clone(), &misses).await;
    assert_eq!(provider.fetch.asked(), [well_known, keys.clone()]);

    // Its document has keys of others too: one that is another tenant's verifies nothing of this
    // one.
    let other = "11111111-2222-3333-4444-555555555555";
    let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
    for (owner, expected) in [
        (template.to_owned(), "ok"),
        (issuer.clone(), "ok"),
        (template.replace("{tenantid}", other), "key_of_another_issuer"),
        ("https://login.example".to_owned(), "key_of_another_issuer"),
    ] {
        let builder = preset(Preset::Entra, TENANT).audiences(["app-id"]);
        let well_known = format!("{issuer}/.well-known/openid-configuration");
        let provider = Provider::new(builder, Some((&well_known, &issuer)), &keys);
        let mut jwk = provider.signer.jwk();
        jwk["issuer"] = json!(owner);
        provider.fetch.on(&keys, &json!({ "keys": [jwk] }).to_string(), None);
        assert_eq!(provider.outcome(&claims, json!({})).await, expected, "{owner}");
    }
}

#[tokio::test]
async fn entra_multi_tenant_takes_listed_tenants_alone_and_keys_only_of_their_issuer() {
    let other = "11111111-2222-3333-4444-555555555555";
    let well_known = "https://login.microsoftonline.com/organizations/v2.0/.well-known/openid-configuration";
    let keys = "https://login.microsoftonline.com/organizations/discovery/v2.0/keys";
    let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
    let issuer = |tenant: &str| template.replace("{tenantid}", tenant);
    let builder = || preset(Preset::Entra, "organizations").audiences(["app-id"]);
    assert_eq!(builder().build().unwrap_err(), TrustError::NoTenants { issuer: template.into() });
    assert!(matches!(builder().tenants(["contoso.com"]).build().unwrap_err(), TrustError::BadTenant { .. }));

    let provider = Provider::new(builder().tenants([TENANT, other]), Some((well_known, template)), keys);
    let key_of = |owner: &str| {
        let mut jwk = provider.signer.jwk();
        jwk["issuer"] = json!(owner);
        json!({ "keys": [jwk] }).to_string()
    };
    provider.fetch.on(keys, &key_of(template), Some(60));
    let claims = json!({ "iss": issuer(TENANT), "aud": "app-id", "tid": TENANT });
    let misses = [
        (json!({ "iss": issuer(other) }), "claim_mismatch"),
        (json!({ "tid": null }), "claim_missing"),
        (json!({ "iss": issuer("99999999-2222-3333-4444-555555555555") }), "issuer_unknown"),
        (json!({ "iss": template }), "issuer_unknown"),
    ];
    provider.assert(claims.clone(), &misses).await;
    let second = provider.outcome(&claims, json!({ "iss": issuer(other), "tid": other })).await;
    assert_eq!(second, "ok");

    // A key that belongs to one tenant does not verify another's tokens.
    let provider = Provider { now: at(100), ..provider };
    provider.fetch.on(
        keys,
        &{
            let mut jwk = provider.signer.jwk();
            jwk["issuer"] = json!(issuer(other));
            json!({ "keys": [jwk] }).to_string()
        },
        None,
    );
    assert_eq!(provider.outcome(&claims, json!({})).await, "key_of_another_issuer");
    assert_eq!(provider.outcome(&claims, json!({ "iss": issuer(other), "tid": other })).await, "ok");
}

#[tokio::test]
async fn google_with_and_without_scheme() {
    let well_known = "https://accounts.google.com/.well-known/openid-configuration";
    let keys = "https://www.googleapis.com/oauth2/v3/certs";
    let client = "1234-abc.apps.googleusercontent.com";
    let provider = Provider::new(
        preset(Preset::Google, client),
        Some((well_known, "https://accounts.google.com")),
        keys,
    );
    let claims = json!({ "iss": "https://accounts.google.com", "aud": client, "azp": client, "sub": "1" });
    let misses = [
        (json!({ "aud": "5678-def.apps.googleusercontent.com" }), "claim_mismatch"),
        (json!({ "sub": null }), "claim_missing"),
        (json!({ "iss": "http://accounts.google.com" }), "issuer_unknown"),
    ];
    provider.assert(claims.clone(), &misses).await;
    assert_eq!(provider.outcome(&claims, json!({ "iss": "accounts.google.com" })).await, "ok");
}

#[tokio::test]
async fn github_actions_trusts_one_owner_by_id() {
    let issuer = "https://token.actions.githubusercontent.com";
    let well_known = format!("{issuer}/.well-known/openid-configuration");
    let keys = format!("{issuer}/.well-known/jwks");
    let builder = preset(Preset::GithubActions, "583231").audiences(["https://issuer.example"]);
    let provider = Provider::new(builder, Some((&well_known, issuer)), &keys);
    let claims = json!({ "iss": issuer, "aud": "https://issuer.example", "repository": "octocat/r",
        "repository_owner": "octocat", "repository_owner_id": "583231", "repository_id": "1296269",
        "sub": "repo:octocat/r:ref:refs/heads/main", "runner_environment": "github-hosted" });
    let misses = [
        (json!({ "repository_owner_id": "1" }), "claim_mismatch"),
        (json!({ "repository_owner_id": 583_231 }), "claim_mismatch"),
        (json!({ "repository_owner_id": null }), "claim_missing"),
        (json!({ "aud": "https://github.com/octocat" }), "claim_mismatch"),
    ];
    provider.assert(claims, &misses).await;
}

#[tokio::test]
async fn aws_sts_kubernetes_and_countersign_are_discovered() {
    for (which, issuer) in [
        (Preset::AwsSts, "https://0a1b2c3d-0000-1111-2222-333344445555.tokens.sts.global.api.aws"),
        (Preset::Kubernetes, "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE"),
        (Preset::Countersign, "https://auth.example/jwt-server"),
    ] {
        let well_known = format!("{issuer}/.well-known/openid-configuration");
        let keys = format!("{issuer}/keys");
        let builder = preset(which, issuer).audiences(["me"]);
        let provider = Provider::new(builder, Some((&well_known, issuer)), &keys);
        let claims = json!({ "iss": issuer, "aud": ["me"], "sub": "system:serviceaccount:ns:name" });
        provider.assert(claims, &[(json!({ "aud": ["you"] }), "claim_mismatch")]).await;
        assert_eq!(provider.fetch.asked(), [well_known, keys], "{issuer}");
    }
}

#[tokio::test]
async fn tokens_of_a_countersign_verify_whatever_it_signs_with() {
    let issuer = "https://auth.example";
    let builder = preset(Preset::Countersign, issuer).audiences(["me"]).build().unwrap();
    let fetch = Arc::new(FakeFetch::default());
    let public = || Algorithm::ALL.into_iter().filter(|algorithm| !algorithm.is_symmetric());
    let signers: Vec<Signer> = public().map(|one| Signer::with(one.name(), one)).collect();
    let keys: Vec<Value> = signers.iter().map(Signer::jwk).collect();
    let (well_known, url) = (format!("{issuer}/.well-known/openid-configuration"), format!("{issuer}/keys"));
    fetch.on(&well_known, &json!({ "issuer": issuer, "jwks_uri": url }).to_string(), None);
    fetch.on(&url, &json!({ "keys": keys }).to_string(), None);
    let verifier = Verifier::builder().trust(builder).fetch(fetch).build().unwrap();
    assert_eq!(signers.len(), 11);
    for signer in &signers {
        let token = signer.token(&json!({ "iss": issuer, "aud": "me", "exp": at(60).unix_seconds() }));
        assert_eq!(code(&verifier.verify(&token, at(0)).await), "ok", "{}", signer.kid);
    }
}

#[test]
fn ids_that_would_change_an_address_are_refused() {
    for (which, id) in [
        (Preset::Firebase, "a/b"),
        (Preset::Firebase, ""),
        (Preset::Cognito, "eu-west-1"),
        (Preset::Cognito, "evil.example/_x"),
        (Preset::Cognito, "eu-west-1_a/../b"),
        (Preset::Auth0, "tenant.auth0.com/x"),
        (Preset::Auth0, "user@evil.example"),
        (Preset::Auth0, "a..b"),
        (Preset::Okta, "https://dev-1.okta.com"),
        (Preset::Okta, "http://dev-1.okta.com/oauth2/default"),
        (Preset::Okta, "https://dev-1.okta.com/oauth2/a/b"),
        (Preset::Entra, "contoso.onmicrosoft.com"),
        (Preset::Entra, "72F988BF-86F1-41AF-91AB-2D7CD011DB47"),
        (Preset::Google, "a b"),
        (Preset::GithubActions, "octocat"),
        (Preset::GithubActions, ""),
        (Preset::AwsSts, "http://tokens.example"),
        (Preset::Kubernetes, "kubernetes"),
        (Preset::Countersign, "https://a.example/?q"),
    ] {
        assert!(matches!(which.builder(id), Err(TrustError::PresetId { .. })), "{which:?} {id:?}");
    }
}

#[test]
fn presets_are_found_by_name_and_do_not_build_without_an_audience() {
    for preset in Preset::ALL {
        assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
        assert!(TrustError::UnknownPreset("x".into()).to_string().contains(preset.name()));
    }
    assert_eq!("Firebase".parse::<Preset>(), Err(TrustError::UnknownPreset("Firebase".into())));
    let issuer = preset(Preset::GithubActions, "1").build();
    assert!(matches!(issuer.unwrap_err(), TrustError::NoAudiences { .. }));
}
