//! `countersign verify`: the verdict on a token. Exit code 0 when it is to be accepted, 1 with the
//! reason when not.
//!
//! Whose tokens are believed comes from the arguments or the configuration, and is asked of the
//! crate `verifier`. What was not checked, because nothing was said to expect, is said in the
//! verdict. `explain` asks in the same way.

use super::Context;
use crate::{
    args::VerifyArgs,
    authority::{self, Authority},
    failure::{Failure, Outcome, refused, usage},
    files, output,
    pasted::Pasted,
};
use countersign_jose::{
    Algorithm, Jwk, KeyError, KeySet, SymmetricKey, TokenError, Verified, VerifyingKey, quoted, shown_json,
};
use countersign_settings::SecretRef;
use countersign_store::{Clock, SystemClock};
use countersign_verifier::{
    Check, Fault, FetchError, FetchLimits, KeySource, MAX_KEY_BYTES, Preset, TrustedIssuer,
    TrustedIssuerBuilder, Verifier, VerifyError,
};
use serde_json::value::RawValue;

pub(super) async fn run(context: &Context<'_>, args: &VerifyArgs) -> Outcome {
    let asked = Asked::read(context, args).await?;
    let now = SystemClock.now();
    let accepted = match asked.verifier.verify(&asked.token, now).await {
        Ok(accepted) => accepted,
        Err(why) => {
            let checks = asked.verifier.explain(&asked.token, now).await.checks;
            return Err(refusal(&why).and(&both_values(&why, &checks)).and(&whose_keys(&why, args)));
        }
    };
    asked.tell_of_what_was_around();
    print(context, accepted.verified(), &asked.unchecked)
}

/// A token, and who is to be believed.
pub(super) struct Asked {
    pub(super) token: String,
    /// What was taken off around it.
    around: Vec<String>,
    pub(super) verifier: Verifier,
    /// Claims that nothing is expected of.
    pub(super) unchecked: Vec<&'static str>,
}

impl Asked {
    /// What the arguments ask.
    pub(super) async fn read(context: &Context<'_>, args: &VerifyArgs) -> Outcome<Self> {
        let pasted = Pasted::read(&args.token)?;
        let (described, any_issuer) = match &args.alb {
            Some(arn) => (load_balancer(context, arn, args).await?, false),
            None => {
                let keys = Keys::of(context, args).await?;
                let any_issuer = keys.issuer.is_none();
                (described(keys, args), any_issuer)
            }
        };
        let unchecked = [("iss", any_issuer), ("aud", args.audience.is_empty())];
        let unchecked = unchecked.into_iter().filter_map(|(claim, open)| open.then_some(claim)).collect();
        let limits = FetchLimits { max_bytes: MAX_KEY_BYTES, ..FetchLimits::default() };
        let trusted = described.build().map_err(usage)?;
        let verifier = Verifier::builder().trust(trusted).fetch_limits(limits).build().map_err(usage)?;
        Ok(Self { token: pasted.token, around: pasted.around, verifier, unchecked })
    }

    /// Others may take the token only without what stood around it.
    pub(super) fn tell_of_what_was_around(&self) {
        if !self.around.is_empty() {
            output::error_line(&format!(
                "note: taken off before reading the token: {}",
                self.around.join(", ")
            ));
        }
    }
}

fn described(keys: Keys, args: &VerifyArgs) -> TrustedIssuerBuilder {
    let builder = match keys.issuer {
        Some(issuer) => TrustedIssuer::builder(issuer),
        None => TrustedIssuer::dangerously_of_any_issuer(keys.from),
    };
    with_audiences(builder.keys(keys.source).algorithms(keys.algorithms), args)
}

/// A load balancer, with its own keys or those that are given.
async fn load_balancer(context: &Context<'_>, arn: &str, args: &VerifyArgs) -> Outcome<TrustedIssuerBuilder> {
    let builder = Preset::AwsAlb.builder(arn).map_err(|why| usage(format!("--alb: {why}")))?;
    let builder = builder.load_balancer_issuer(args.issuer.clone().unwrap_or_default());
    let builder = match &args.jwks {
        None => builder,
        Some(_) => {
            let Keys { source, .. } = Keys::of(context, args).await?;
            builder.keys(source)
        }
    };
    Ok(with_audiences(builder, args))
}

fn with_audiences(builder: TrustedIssuerBuilder, args: &VerifyArgs) -> TrustedIssuerBuilder {
    let builder = builder.leeway(args.leeway);
    if args.audience.is_empty() {
        return builder.dangerously_accept_any_audience();
    }
    let mut audiences = args.audience.clone();
    audiences.sort();
    audiences.dedup();
    builder.audiences(audiences)
}

/// The keys to verify with.
struct Keys {
    source: KeySource,
    /// Where they are from, for messages.
    from: String,
    /// Whose tokens they sign; `None`: anybody's.
    issuer: Option<String>,
    algorithms: Vec<Algorithm>,
}

impl Keys {
    /// Named, discovered, or our own.
    async fn of(context: &Context<'_>, args: &VerifyArgs) -> Outcome<Self> {
        let issuer = args.issuer.clone();
        if let Some(reference) = &args.secret {
            return Self::secret(context, reference, issuer, args.algorithm);
        }
        match (&args.jwks, &args.issuer) {
            (Some(url), _) if is_url(url) => {
                let source = KeySource::KeyDocument(url.clone());
                Ok(Self { source, from: url.clone(), issuer, algorithms: published(args.algorithm) })
            }
            (Some(file), _) => {
                let text =
                    files::read_text(file.as_ref()).map_err(|why| usage(format!("--jwks {file}: {why}")))?;
                let (source, algorithms) = from_file(&text, file, args.algorithm)?;
                Ok(Self { source, from: file.clone(), issuer, algorithms })
            }
            (None, Some(url)) => {
                let algorithms = published(args.algorithm);
                Ok(Self { source: KeySource::Discovery, from: url.clone(), issuer, algorithms })
            }
            (None, None) => Self::own(context).await,
        }
    }

    /// A shared secret.
    fn secret(
        context: &Context<'_>,
        reference: &str,
        issuer: Option<String>,
        algorithm: Option<Algorithm>,
    ) -> Outcome<Self> {
        let about = |why: &dyn std::fmt::Display| usage(format!("--secret: {why}"));
        let parsed: SecretRef = reference.parse().map_err(|why| about(&why))?;
        let secret =
            parsed.read(&context.environment.folder, context.environment).map_err(|why| about(&why))?;
        // An editor puts a line end behind a secret, which is not part of it.
        let text = secret.trim_end_matches(['\r', '\n']);
        let (secret, own) = match text.trim_start().starts_with('{') {
            true => {
                let jwk = Jwk::parse(text.as_bytes()).map_err(|why| about(&why))?;
                let own = jwk.algorithm();
                let none = "this JWK holds no shared secret (`kty` `oct`); give keys with --jwks";
                (jwk.into_symmetric_key().ok_or_else(|| about(&none))?, own)
            }
            false => (SymmetricKey::new(text.as_bytes().to_vec().into()), None),
        };
        let algorithm = algorithm.or(own).unwrap_or(Algorithm::HS256);
        if !algorithm.is_symmetric() {
            return Err(usage(format!("--secret is for HS256, HS384 and HS512, and not for {algorithm}")));
        }
        let (source, from) = (KeySource::HmacSecret(secret), reference.to_owned());
        Ok(Self { source, from, issuer, algorithms: vec![algorithm] })
    }

    /// Those of the configuration at hand.
    async fn own(context: &Context<'_>) -> Outcome<Self> {
        if !context.has_configuration() {
            return Err(usage(
                "say whose keys to verify with: --issuer URL or --jwks FILE|URL (there is no configuration here)",
            ));
        }
        let config = context.load().await?;
        let authority = Authority::open(&config, context.environment).await?;
        let keyring = authority::with_outside_keys(&config, authority.keyring.load().await?);
        let public = keyring.rings().flat_map(|(_, ring)| ring.public_keys());
        let keys = public.map(|published| {
            let jwk = &published.jwk;
            VerifyingKey::new(&jwk.key, jwk.algorithm, Some(jwk.kid.clone()))
        });
        let keys = keys.collect::<Result<Vec<_>, _>>().map_err(|why| refused(why.code(), why))?;
        let issuer = config.issuer.to_string();
        Ok(Self {
            source: usable(KeySet::from(keys))?,
            from: issuer.clone(),
            issuer: Some(issuer),
            algorithms: Algorithm::ALL.into(),
        })
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// What keys from the network may be for: a published secret is not a key. The assumed algorithm
/// comes first, since keys that name none are bound to the first that fits.
fn published(assumed: Option<Algorithm>) -> Vec<Algorithm> {
    let others = Algorithm::ALL.into_iter().filter(|algorithm| Some(*algorithm) != assumed);
    assumed.into_iter().chain(others).filter(|algorithm| !algorithm.is_symmetric()).collect()
}

fn from_file(text: &str, file: &str, assumed: Option<Algorithm>) -> Outcome<(KeySource, Vec<Algorithm>)> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let is_json = text.starts_with(['{', '[']);
    if is_json && text.contains("-----BEGIN CERTIFICATE") {
        return Ok((KeySource::InlineJwks(text.to_owned()), published(assumed)));
    }
    if is_json {
        let set = KeySet::parse(text.as_bytes(), assumed)
            .map_err(|why| refused("keys_malformed", format!("{file}: not a JWKS: {why}")))?;
        if set.keys().is_empty() && set.skipped().is_empty() {
            let why = format!(
                "there is no key to verify with: the set in {file} is empty; get the issuer's keys anew"
            );
            return Err(refused("no_usable_key", why));
        }
        return Ok((usable(set)?, Algorithm::ALL.into()));
    }
    let bad = |why: KeyError| match why {
        KeyError::NoKeyFound(_) => {
            refused("keys_malformed", format!("--jwks {file}: not a JWKS or PEM: {why}"))
        }
        why => usage(format!("--jwks {file}: {why}")),
    };
    let key = countersign_verifier::public_key(text).map_err(bad)?;
    let algorithm = assumed.or_else(|| Algorithm::default_for(key.kind()));
    let algorithm = algorithm.ok_or_else(|| bad(KeyError::NoAlgorithm))?;
    Ok((KeySource::InlinePem(text.to_owned()), vec![algorithm]))
}

fn usable(keys: KeySet) -> Outcome<KeySource> {
    if keys.keys().is_empty() {
        let why = keys.skipped().first().map_or_else(String::new, |skipped| format!(" ({})", skipped.why));
        return Err(refused("no_usable_key", format!("there is no key to verify with{why}")));
    }
    Ok(KeySource::Keys(keys))
}

/// The end of a token that is not accepted.
pub(super) fn refusal(why: &VerifyError) -> Failure {
    match why.fault() {
        Fault::Token => refused(code(why), format!("refused: {why}")).with("valid", false),
        Fault::Keys => refused(code(why), why),
    }
}

/// What was expected and what was found, cut and quoted, where the reason is that they differ: for
/// the holder of the token.
fn both_values(why: &VerifyError, checks: &[Check]) -> String {
    let Some(check) = checks.iter().find(|check| check.failed()) else { return String::new() };
    let differ = ["issuer", "kid", "iss", "aud", "sub", "typ", "exp", "nbf", "iat", "age"]
        .contains(&check.name.as_ref());
    if why.fault() != Fault::Token || !differ || check.found.is_empty() {
        return String::new();
    }
    let (expected, found) = (&check.expected, &check.found);
    let hint = match expected.trim_end_matches(['/', '"']) == found.trim_end_matches(['/', '"']) {
        true => "; they differ in the slash at the end",
        false => "; `countersign explain` shows every check",
    };
    format!(": expected {expected}, found {found}{hint}")
}

/// Where the keys are from that do not fit, where a file has them.
fn whose_keys(why: &VerifyError, args: &VerifyArgs) -> String {
    let Some(file) = args.jwks.as_deref().filter(|file| !is_url(file)) else { return String::new() };
    let what_to_do = match why {
        VerifyError::Token(TokenError::BadSignature) => {
            "it is another key than the issuer's, or the token was changed or cut"
        }
        VerifyError::Token(TokenError::NoKey) => {
            "get the issuer's keys anew, or it is a token of another issuer"
        }
        _ => return String::new(),
    };
    format!("; the keys are those of {file}: {what_to_do}")
}

/// The names scripts know the reasons by. With one issuer to expect, another one is a claim that
/// does not match.
pub(super) fn code(why: &VerifyError) -> &'static str {
    match why {
        VerifyError::NoIssuer => "claim_missing",
        VerifyError::UnknownIssuer | VerifyError::UnknownSigner => "claim_mismatch",
        VerifyError::AlgorithmNotAllowed { .. } => "token_algorithm_mismatch",
        VerifyError::KeysUnavailable { why, .. } => match why {
            FetchError::NotJson(_) | FetchError::NotAKeySet(_) | FetchError::ErrorDocument => {
                "keys_malformed"
            }
            FetchError::NoUsableKey => "no_usable_key",
            FetchError::DiscoveryNotJson(_) | FetchError::WrongIssuer | FetchError::JwksUri(_) => {
                "discovery_malformed"
            }
            FetchError::Connection(_)
            | FetchError::Access(_)
            | FetchError::Timeout(_)
            | FetchError::Status(_)
            | FetchError::Redirect
            | FetchError::TooLarge(_)
            | FetchError::ManyUnknownKids
            | FetchError::Interrupted => "keys_unavailable",
        },
        VerifyError::Token(_)
        | VerifyError::CertificateNotValid
        | VerifyError::KeyOfAnotherIssuer
        | VerifyError::Revoked
        | VerifyError::RevocationsUnavailable { .. } => why.code(),
    }
}

/// What nothing was expected of, if anything.
pub(super) fn not_checked(unchecked: &[&str]) -> Option<String> {
    let options: Vec<&str> =
        unchecked.iter().map(|claim| if *claim == "iss" { "--issuer" } else { "--audience" }).collect();
    let (claims, options) = (unchecked.join(", "), options.join(" and "));
    (!unchecked.is_empty()).then(|| format!("not checked: {claims} (name what you expect with {options})"))
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
        let verdict = serde_json::to_string(&verdict).map_err(crate::failure::internal)?;
        output::line(&shown_json(&verdict));
        return Ok(());
    }
    output::line(&format!(
        "valid: signed with {} by key {}",
        verified.algorithm(),
        shown_kid(verified.kid())
    ));
    if let Some(line) = not_checked(unchecked) {
        output::line(&line);
    }
    output::line(&shown_json(claims.get()));
    Ok(())
}

/// A name as it is where it is a plain one, else as JSON: it comes out of the token.
fn shown_kid(kid: Option<&str>) -> String {
    match kid {
        None => "none".to_owned(),
        Some(kid) if !kid.is_empty() && kid.bytes().all(|byte| byte.is_ascii_graphic()) => kid.to_owned(),
        Some(kid) => quoted(kid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_algorithm_named_comes_first_and_no_secret_is_taken_from_the_network() {
        for assumed in [None, Some(Algorithm::PS256), Some(Algorithm::Ed25519), Some(Algorithm::HS256)] {
            let algorithms = published(assumed);
            assert_eq!(algorithms.len(), 11, "{assumed:?}");
            assert!(!algorithms.iter().any(|algorithm| algorithm.is_symmetric()));
            let first = assumed.filter(|a| !a.is_symmetric()).unwrap_or(Algorithm::RS256);
            assert_eq!(algorithms.first(), Some(&first));
        }
    }

    #[test]
    fn a_kid_is_shown_as_it_is_only_where_it_is_plain() {
        for (kid, shown) in [
            (None, "none"),
            (Some("L2fa-_.:/x"), "L2fa-_.:/x"),
            (Some(""), r#""""#),
            (Some("none of these"), r#""none of these""#),
            (
                Some("\u{1b}]0;PWN\u{7}\u{1b}[2J\nvalid: forged"),
                r#""\u001b]0;PWN\u0007\u001b[2J\nvalid: forged""#,
            ),
            (Some("\u{9b}2J\u{202e}x"), r#""\u009b2J\u202ex""#),
        ] {
            assert_eq!(shown_kid(kid), shown, "{kid:?}");
        }
    }

    #[test]
    fn a_file_without_a_usable_key_is_refused_with_the_reason() {
        let of = |text: &str| from_file(text, "keys", None).unwrap_err().message().to_owned();
        assert!(of(r#"{"keys":[]}"#).contains("no key to verify with"));
        assert!(of(r#"{"keys":[{"kty":"unheard-of"}]}"#).contains("no key to verify with ("));
        assert!(of("{").contains("keys: not a JWKS"));
        assert!(of("<html>").contains("it is a web page"));
        assert!(of("-----BEGIN PUBLIC KEY-----\n").contains("--jwks keys: "));
    }
}
