//! `countersign sign`: mint a token on this machine. Anyone who runs it holds the keys, so no
//! client policy applies; the shape of the profile does, and the mint is recorded like any other.

use super::Context;
use crate::{
    args::SignArgs,
    authority::{self, Authority},
    config::JaasKey,
    failure::{Failure, Outcome, configuration, internal, refused, usage},
    files, output,
};
use countersign_issuer::{
    AudienceRequest, Caller, Clients, Ids, Issuer, IssuerSettings, IssuerUrl, JwksCertificates, MintPolicy,
    Patience, RequestError, RequestLimits, SignRequest, SignatureLimits, UPLOAD_PROFILE, UploadRequest,
    http::RateLimits,
};
use countersign_jose::MAX_TOKEN_BYTES;
use countersign_keyring::{LoadedKeyring, RingName};
use countersign_settings::log;
use countersign_store::{Clock, SystemClock};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub(super) async fn run(context: &Context<'_>, args: &SignArgs) -> Outcome {
    let claims = claims(&args.claims)?;
    let (issuer, first_audience, clock, longest) = issuer(context, args).await?;
    let depth = issuer.settings().limits.json_depth;
    let profile = args.profile.as_deref().map(Cow::Borrowed);
    let mut request =
        SignRequest::from_parts(&claims, None, profile, None, depth).map_err(|why| match why {
            RequestError::Json(_) if std::path::Path::new(args.claims.trim()).is_file() => {
                usage(format!("--claims {0} is a file and not JSON; write --claims @{0}", args.claims.trim()))
            }
            RequestError::Json(_) if args.claims.trim_start().starts_with("{'") => usage(format!(
                "--claims: {why}: JSON has double quotes around names and texts; write --claims '{{\"sub\":\"alice\"}}'"
            )),
            RequestError::Json(_) if args.claims.trim_start().starts_with('{') && !args.claims.contains('"') => {
                usage(format!(
                    "--claims: {why}: there is no double quote in it, and the shell may have taken them away; write --claims \
                     '{{\"sub\":\"alice\"}}', or --claims @FILE"
                ))
            }
            RequestError::WrongType(_) => usage("--claims must be a JSON object, like '{\"sub\":\"alice\"}'"),
            other => usage(format!("--claims: {other}")),
        })?;
    let upload = args.upload.as_deref().map(UploadRequest::parse).transpose();
    request.upload = upload.map_err(|why| usage(format!("--upload: {why}")))?;
    request.duration = args.lifetime;
    if args.lifetime.is_some_and(|lifetime| lifetime.as_secs() == 0) {
        return Err(usage("--lifetime must be at least 1s"));
    }
    let longest = longest_of(&issuer, args.profile.as_deref(), &longest);
    if args.lifetime.zip(longest).is_some_and(|(lifetime, longest)| lifetime > longest) {
        let longest = humantime::format_duration(longest.unwrap_or_default());
        return Err(usage(format!(
            "--lifetime: the ring signs tokens of {longest} at most, so that its keys can be retired; see rings.NAME.longest_token"
        )));
    }
    request.audience = match args.audience.as_slice() {
        [] if args.profile.as_deref().is_none_or(|p| matches!(p, "jwt" | UPLOAD_PROFILE)) => {
            let none = || usage("--audience is needed: no client in the configuration has an audience");
            Some(AudienceRequest::one(first_audience.ok_or_else(none)?))
        }
        [] => None,
        [one] => Some(AudienceRequest::one(one.clone())),
        many => Some(AudienceRequest::many(many.to_vec())),
    }
    .transpose()
    .map_err(|_| usage("--audience: give 1 to 20 audiences, none of them empty"))?;
    let policy = MintPolicy::operator();
    let ids = Ids { request: "command-line".to_owned(), ..Ids::random()? };
    let minted = issuer.mint(Caller::Operator(&policy), &request, clock.now(), &ids, None).await;
    let minted = minted.map_err(|why| {
        let why = Failure::from(why).in_words(in_options);
        let option = option_for(why.message());
        if option.is_empty() { why } else { why.and(option) }
    })?;
    if log::is_audit_broken() {
        let why = "the record of this token cannot be written to standard error, and no token leaves without one; mend it, or set log.audit = \"drop\"";
        return Err(internal(why));
    }
    if context.json {
        let body = serde_json::json!({
            "access_token": minted.token, "token_type": "Bearer",
            "expires_in": minted.expires_in.as_secs(), "kid": minted.kid,
        });
        output::line(&body.to_string());
    } else {
        output::line(&minted.token);
    }
    Ok(())
}

/// A message about the members of a request, in the words of the command line.
fn in_options(message: &str) -> String {
    let message =
        message.replace("`metadata.audience`", "--audience").replace("`metadata.duration`", "--lifetime");
    message.replace("`data.", "`").replace("`data`", "--claims")
}

/// The option that a claim is set by, where a refusal is about one.
fn option_for(why: &str) -> &'static str {
    match () {
        () if why.contains("claim `aud`") => "; give it with --audience",
        () if why.contains("claim `exp`") => "; say with --lifetime how long the token lives",
        () => "",
    }
}

fn claims(argument: &str) -> Outcome<String> {
    let read = match argument.strip_prefix('@') {
        Some(file) => {
            files::read_text(file.as_ref()).map_err(|why| usage(format!("--claims @{file}: {why}")))
        }
        None if argument == "-" => {
            files::read_standard_input().map_err(|why| usage(format!("--claims -: {why}")))
        }
        None => Ok(argument.to_owned()),
    };
    let text = read?;
    if text.trim().is_empty() { Err(usage("--claims is empty; give a JSON object")) } else { Ok(text) }
}

/// The longest token of each ring.
type Longest = BTreeMap<RingName, Duration>;

fn longest_of(issuer: &Issuer, profile: Option<&str>, longest: &Longest) -> Option<Duration> {
    let name = profile.unwrap_or("jwt");
    let profile = issuer.settings().profiles.iter().find(|profile| profile.name() == name)?;
    longest.get(profile.ring()).copied()
}

async fn issuer(
    context: &Context<'_>,
    args: &SignArgs,
) -> Outcome<(Issuer, Option<String>, Arc<dyn Clock>, Longest)> {
    // The three JaaS variables are enough by themselves: no configuration, no store.
    if !context.has_configuration() && args.profile.as_deref() == Some("jaas") {
        log::start(&context.quiet_level("info"))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        authority::check_clock(clock.now())?;
        let key = JaasKey::from_environment(context.environment)?.ok_or_else(|| {
            configuration("profile jaas needs JAAS_APP_ID, JAAS_API_KID and PRIVATE_KEY in the environment, or a configuration")
        })?;
        return Ok((jaas_issuer(key, Arc::clone(&clock))?, None, clock, Longest::new()));
    }
    let config = context.load().await?;
    let authority = Authority::open(&config, context.environment).await?;
    let keyring = authority.load(&config).await?;
    let first_audience = config.first_audience.clone();
    let clock = Arc::clone(&authority.clock);
    let longest =
        config.rings.iter().map(|ring| (ring.spec.name.clone(), ring.rotation.longest_token)).collect();
    Ok((authority::issuer(config, keyring, Arc::clone(&clock))?, first_audience, clock, longest))
}

fn jaas_issuer(key: JaasKey, clock: Arc<dyn Clock>) -> Outcome<Issuer> {
    let settings = IssuerSettings {
        // Not used: JaaS tokens have `iss` "chat".
        issuer: IssuerUrl::parse("https://8x8.vc", countersign_issuer::HttpIssuer::LoopbackOnly)
            .map_err(internal)?,
        clients: Clients::default(),
        profiles: vec![Arc::new(key.profile)],
        unpublished_rings: BTreeSet::new(),
        jwks_max_age: Duration::ZERO,
        jwks_certificates: JwksCertificates::Left,
        backdate: Duration::ZERO,
        limits: RequestLimits { body_bytes: 0, json_depth: 16, token_bytes: MAX_TOKEN_BYTES },
        rates: RateLimits::default(),
        signatures: SignatureLimits { at_once: 1, waiting: 1 },
        token_endpoint: None,
        // Nothing is read from a store.
        patience: Patience {
            max_stale: Duration::ZERO,
            max_stale_signing: Duration::MAX,
            skew: Duration::MAX,
            clock_settles: Duration::MAX,
        },
    };
    let keyring = LoadedKeyring::default().with_ring(key.ring, key.signer);
    Issuer::new(settings, keyring, clock).map_err(|why| refused("jaas_key", why))
}
