//! `countersign verify`: the verdict on a token. Exit code 0 when it is to be accepted, 1 with the reason when not.
//!
//! What was not checked, because nothing was said to expect, is said in the verdict.

use super::Context;
use crate::{
    args::VerifyArgs,
    authority::{self, Authority},
    failure::{Failure, Outcome, refused, usage},
    fetch, files, output,
};
use countersign_jose::{
    Algorithm, KeySet, MAX_TOKEN_BYTES, Policy, PublicKey, TokenError, Unverified, Verified, VerifyingKey,
    json,
};
use countersign_store::{Clock, SystemClock};
use countersign_verifier::KeyUrl;
use serde_json::value::RawValue;

pub(super) async fn run(context: &Context<'_>, args: &VerifyArgs) -> Outcome {
    let text = match args.token.as_str() {
        "-" => files::read_standard_input().map_err(|why| usage(format!("standard input: {why}")))?,
        token => token.to_owned(),
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(usage("there is no token; give one, or - and the token on standard input"));
    }
    if text.len() > MAX_TOKEN_BYTES {
        return Err(reject(&TokenError::TooLong));
    }
    let token = Unverified::parse(text).map_err(|why| reject(&why))?;
    let (keys, issuer) = keys(context, args, token.unverified_kid()).await?;
    if keys.keys().is_empty() {
        let why = keys.skipped().first().map_or_else(String::new, |why| format!(" ({why})"));
        return Err(refused("no_usable_key", format!("there is no key to verify with{why}")));
    }
    let mut policy = Policy::new().leeway(args.leeway);
    if let Some(issuer) = &issuer {
        policy = policy.issuer(issuer);
    }
    if !args.audience.is_empty() {
        policy = policy.audiences(args.audience.iter().cloned());
    }
    let signed = keys.verify(token).map_err(|why| reject(&why))?;
    let verified = signed.check(&policy, SystemClock.now()).map_err(|why| reject(&why))?;
    let mut unchecked = Vec::new();
    if issuer.is_none() {
        unchecked.push("iss");
    }
    if args.audience.is_empty() {
        unchecked.push("aud");
    }
    print(context, &verified, &unchecked)
}

fn reject(why: &TokenError) -> Failure {
    refused(why.code(), format!("refused: {why}"))
}

fn print(context: &Context<'_>, verified: &Verified, unchecked: &[&str]) -> Outcome {
    // As they were signed: numbers of any size stay what they are.
    let claims: &RawValue =
        verified.claims().map_err(|_| refused("token_claims_malformed", "the claims are not JSON"))?;
    if context.json {
        #[derive(serde::Serialize)]
        struct Verdict<'a> {
            valid: bool,
            algorithm: &'static str,
            kid: Option<&'a str>,
            unchecked: &'a [&'a str],
            claims: &'a RawValue,
        }
        let verdict = Verdict {
            valid: true,
            algorithm: verified.algorithm().name(),
            kid: verified.kid(),
            unchecked,
            claims,
        };
        output::line(&serde_json::to_string(&verdict).map_err(crate::failure::internal)?);
        return Ok(());
    }
    let kid = verified.kid().unwrap_or("none");
    output::line(&format!("valid: signed with {} by key {kid}", verified.algorithm()));
    if !unchecked.is_empty() {
        let hint = "name what you expect with --issuer and --audience";
        output::line(&format!("not checked: {} ({hint})", unchecked.join(", ")));
    }
    output::line(claims.get());
    Ok(())
}

/// The keys to verify with, and the issuer to expect: named, discovered, or our own.
async fn keys(
    context: &Context<'_>,
    args: &VerifyArgs,
    kid: Option<&str>,
) -> Outcome<(KeySet, Option<String>)> {
    match (&args.jwks, &args.issuer) {
        (Some(source), issuer) if fetch::is_url(source) => {
            Ok((parse_set(&fetch::get(source).await?, source, args.algorithm)?, issuer.clone()))
        }
        (Some(source), issuer) => {
            let text =
                files::read_text(source.as_ref()).map_err(|why| usage(format!("--jwks {source}: {why}")))?;
            Ok((from_file(&text, source, kid, args.algorithm)?, issuer.clone()))
        }
        (None, Some(issuer)) => Ok((discover(issuer, args.algorithm).await?, Some(issuer.clone()))),
        (None, None) => own(context).await,
    }
}

fn from_file(text: &str, source: &str, kid: Option<&str>, assumed: Option<Algorithm>) -> Outcome<KeySet> {
    if !text.contains("-----BEGIN") {
        return parse_set(text.as_bytes(), source, assumed);
    }
    let bad = |why| usage(format!("--jwks {source}: {why}"));
    let key = PublicKey::from_pem(text).map_err(bad)?;
    let algorithm = assumed.or_else(|| Algorithm::default_for(key.kind()));
    let algorithm = algorithm.ok_or_else(|| bad(countersign_jose::KeyError::NoAlgorithm))?;
    // A PEM file names no kid: the one key in it is meant, whatever the token calls it.
    Ok(KeySet::from(vec![VerifyingKey::new(&key, algorithm, kid.map(str::to_owned)).map_err(bad)?]))
}

fn parse_set(json: &[u8], source: &str, assumed: Option<Algorithm>) -> Outcome<KeySet> {
    KeySet::parse(json, assumed)
        .map_err(|why| refused("keys_malformed", format!("{source}: not a JWKS: {why}")))
}

/// OpenID Connect Discovery §4: the document must be for exactly the issuer that was asked for.
async fn discover(issuer: &str, assumed: Option<Algorithm>) -> Outcome<KeySet> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let bad = |why: String| refused("discovery_malformed", format!("{url}: {why}"));
    let body = fetch::get(&url).await?;
    let document = json::Object::parse(&body, json::DEFAULT_DEPTH).map_err(|why| bad(why.to_string()))?;
    let member = |name| document.string(name).map_err(|why| bad(why.to_string()));
    if member("issuer")?.as_deref() != Some(issuer) {
        return Err(bad(format!("the document is not for the issuer {issuer:?}")));
    }
    let jwks = member("jwks_uri")?.ok_or_else(|| bad("there is no `jwks_uri`".to_owned()))?;
    if !may_point_at(&url, &jwks) {
        return Err(bad("its `jwks_uri` points at this machine".to_owned()));
    }
    parse_set(&fetch::get(&jwks).await?, &jwks, assumed)
}

/// A document from elsewhere must not make this machine ask itself.
fn may_point_at(document: &str, jwks: &str) -> bool {
    let is_loopback = |url: &str| KeyUrl::parse(url).is_ok_and(|url| url.is_loopback());
    is_loopback(document) || !is_loopback(jwks)
}

/// The keys of the configuration at hand.
async fn own(context: &Context<'_>) -> Outcome<(KeySet, Option<String>)> {
    if !context.file().exists() {
        return Err(usage(
            "say whose keys to verify with: --issuer URL or --jwks FILE|URL (there is no configuration here)",
        ));
    }
    let config = context.load()?;
    let authority = Authority::open(&config, context.environment).await?;
    let keyring = authority::with_environment_keys(&config, authority.keyring.load().await?);
    let public = keyring.rings().flat_map(|(_, ring)| ring.public_keys());
    let keys = public.map(|jwk| VerifyingKey::new(&jwk.key, jwk.algorithm, Some(jwk.kid.clone())));
    let keys = keys.collect::<Result<Vec<_>, _>>().map_err(|why| refused(why.code(), why))?;
    Ok((KeySet::from(keys), Some(config.issuer.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_document_of_this_machine_may_point_at_this_machine() {
        let (remote, local) = ("https://a.example/x", "http://127.0.0.1:8080/x");
        assert!(may_point_at(remote, "https://keys.example/jwks"));
        assert!(may_point_at(local, "http://localhost:1/jwks"));
        assert!(may_point_at(local, "https://keys.example/jwks"));
        for jwks in [local, "https://localhost/jwks", "http://[::1]/jwks", "https://127.9.9.9/jwks"] {
            assert!(!may_point_at(remote, jwks), "{jwks}");
        }
    }
}
