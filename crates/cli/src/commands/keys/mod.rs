//! `countersign keys`: look at keys and move them along, export public ones, import private ones.

mod life;
mod list;

use super::Context;
use crate::{
    args::{ExportFormat, KeysCommand},
    authority::Authority,
    config::Config,
    failure::{Outcome, refused, usage},
    files, output,
};
use countersign_issuer::x509_map;
use countersign_jose::{Algorithm, Jwk, KeyError, PrivateKey, PublicJwk};
use countersign_keyring::{Activation, Certificate, ImportedKey, ImportedMaterial, KeyState, RingName};

pub(super) async fn run(context: &Context<'_>, command: KeysCommand) -> Outcome {
    match command {
        KeysCommand::List => list::run(context).await,
        KeysCommand::Prepare { ring } => life::prepare(context, &ring).await,
        KeysCommand::Publish { kid } => life::publish(context, &kid).await,
        KeysCommand::Activate { kid, force } => life::activate(context, &kid, force).await,
        KeysCommand::Retire { kid } => life::retire(context, &kid).await,
        KeysCommand::Revoke { kid } => life::revoke(context, &kid).await,
        KeysCommand::Rotate { once: _ } => life::rotate(context).await,
        KeysCommand::Export { public: _, format, ring } => export(context, format, ring.as_ref()).await,
        KeysCommand::Import { file, env, ring, kid, algorithm, activate } => {
            let text = match (file, env) {
                (_, Some(name)) => context
                    .environment
                    .get(&name)
                    .ok_or_else(|| usage(format!("the environment variable {name} is not set")))?
                    .to_owned(),
                (Some(file), None) if file == "-" => {
                    files::read_standard_input().map_err(|why| usage(format!("standard input: {why}")))?
                }
                (Some(file), None) => {
                    files::read_text(file.as_ref()).map_err(|why| usage(format!("{file}: {why}")))?
                }
                (None, None) => return Err(usage("name a file, - or --env NAME")),
            };
            let activation = if activate { Activation::Now } else { Activation::IfRingHasNone };
            import(context, &zeroize::Zeroizing::new(text), &ring, kid, algorithm, activation).await
        }
    }
}

async fn export(context: &Context<'_>, format: ExportFormat, ring: Option<&RingName>) -> Outcome {
    let config = context.load()?;
    let authority = Authority::open(&config, context.environment).await?;
    let (keyring, _) = authority.keyring.read().await?;
    let chosen = keyring.rings().filter(|(name, _)| ring.is_none_or(|ring| ring == *name));
    let keys: Vec<(PublicJwk, Option<&Certificate>)> = chosen
        .flat_map(|(_, ring)| ring.keys())
        // Nobody is to take one up again.
        .filter(|key| key.state != KeyState::Revoked)
        .filter_map(|key| Some((key.public_jwk()?, key.certificate())))
        .collect();
    if keys.is_empty() {
        return Err(refused("no_public_keys", "there are no public keys to export"));
    }
    match format {
        ExportFormat::Jwks => {
            let keys: Vec<_> = keys.iter().map(|(jwk, _)| jwk).collect();
            output::line(&serde_json::json!({ "keys": keys }).to_string());
        }
        ExportFormat::X509 => {
            for (jwk, _) in keys.iter().filter(|(_, certificate)| certificate.is_none()) {
                tracing::warn!(
                    kid = jwk.kid,
                    "this key has no certificate yet; it gets one at the next change of the keyring"
                );
            }
            let certified = keys.iter().filter_map(|(jwk, certificate)| Some((jwk, (*certificate)?)));
            output::line(&x509_map(certified));
        }
        ExportFormat::Pem => {
            for (jwk, _) in keys {
                output::line(jwk.key.to_pem().map_err(|why| refused(why.code(), why))?.trim_end());
            }
        }
    }
    Ok(())
}

/// A key that was read, with the name and algorithm it came with.
struct Read {
    material: ImportedMaterial,
    kid: Option<String>,
    algorithm: Option<Algorithm>,
}

async fn import(
    context: &Context<'_>,
    text: &str,
    ring: &RingName,
    kid: Option<String>,
    algorithm: Option<Algorithm>,
    activation: Activation,
) -> Outcome {
    // Everything is read and checked before anything is written, and all of it is written or nothing.
    let keys = read(text).map_err(|why| refused(why.code(), why))?;
    if keys.len() > 1 && (kid.is_some() || activation == Activation::Now) {
        return Err(usage("--kid and --activate are for one key, but there are several; leave them out"));
    }
    let config = context.load()?;
    let mut imported = Vec::new();
    for read in keys {
        let algorithm = algorithm.or(read.algorithm).or_else(|| usual(&config, ring, &read.material));
        let algorithm = algorithm.ok_or_else(|| refused("key_no_algorithm", KeyError::NoAlgorithm))?;
        let key = ImportedKey { kid: kid.clone().or(read.kid), algorithm, material: read.material };
        let signer = key.signer().map_err(|why| refused(why.code(), why))?;
        // A key that the ring's profile can not sign with would stop the next start.
        for profile in config.profiles.iter().filter(|profile| profile.ring() == ring) {
            profile.check_signer(&signer).map_err(|why| refused("profile_refuses_key", why))?;
        }
        imported.push(key);
    }
    let authority = Authority::open(&config, context.environment).await?;
    let had_active = authority.keyring.read().await?.0.ring(ring).is_some_and(|ring| ring.active().is_some());
    let report = authority.keyring.import(ring, &imported, activation, authority.clock.now()).await?;
    if let Some(policy) = config.rings.iter().find(|r| r.spec.name == *ring)
        && activation == Activation::Now
        && had_active
        && report.iter().any(|(_, changed)| *changed)
    {
        tracing::warn!(
            ring = ring.as_str(),
            "signs at once: verifiers that read the keys before refuse its tokens, for up to {}; without --activate, \
             `countersign keys activate` waits until they know it",
            humantime::format_duration(policy.rotation.propagation)
        );
    }
    let (keyring, _) = authority.keyring.read().await?;
    for (kid, changed) in report {
        let state = keyring.find(&kid).map(|(_, key)| key.state.name()).unwrap_or_default();
        if context.json {
            output::line(
                &serde_json::json!({ "ring": ring, "kid": kid, "state": state, "changed": changed })
                    .to_string(),
            );
        } else {
            let verb = if changed { "imported" } else { "already there" };
            output::line(&format!("{verb}: key {kid} in ring {ring}, {state}"));
        }
    }
    Ok(())
}

/// The ring's algorithm if the key fits it, else the usual one of its kind.
fn usual(config: &Config, ring: &RingName, key: &ImportedMaterial) -> Option<Algorithm> {
    let ImportedMaterial::Private(key) = key else { return None };
    let ring = config.rings.iter().find(|r| r.spec.name == *ring).map(|r| r.spec.algorithm);
    ring.filter(|a| a.key_kind() == key.kind()).or_else(|| Algorithm::default_for(key.kind()))
}

fn read(text: &str) -> Result<Vec<Read>, KeyError> {
    if text.contains("-----BEGIN") {
        let material = ImportedMaterial::Private(PrivateKey::from_pem(text)?);
        return Ok(vec![Read { material, kid: None, algorithm: None }]);
    }
    let text = text.trim();
    if !text.starts_with('{') {
        return Err(KeyError::NoKeyFound);
    }
    let jwks = Jwk::parse_set(text.as_bytes())?.into_iter().collect::<Result<Vec<_>, _>>()?;
    if jwks.is_empty() {
        return Err(KeyError::NoKeyFound);
    }
    jwks.into_iter()
        .map(|jwk| {
            let (kid, algorithm) = (jwk.kid().map(str::to_owned), jwk.algorithm());
            let material = if jwk.public_key().is_some() {
                ImportedMaterial::Private(jwk.into_private_key()?)
            } else {
                ImportedMaterial::Secret(jwk.into_symmetric_key().ok_or(KeyError::NotPrivate)?)
            };
            Ok(Read { material, kid, algorithm })
        })
        .collect()
}
