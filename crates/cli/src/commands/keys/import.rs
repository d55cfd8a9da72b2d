//! `countersign keys import`: private keys from files and variables, and keys that stay in KMS. All of it or nothing.

use super::Context;
use crate::{
    authority::Authority,
    config::Config,
    failure::{Failure, Outcome, refused, usage},
    files, kms, output,
};
use countersign_jose::{Algorithm, Jwk, KeyError, PrivateKey};
use countersign_keyring::{Activation, ImportedKey, ImportedMaterial, RingName};
use zeroize::Zeroizing;

/// A key that was read, with the name and algorithm it came with.
struct Read {
    material: ImportedMaterial,
    kid: Option<String>,
    algorithm: Option<Algorithm>,
}

/// Where the key is to come from.
pub(super) enum Source {
    File(String),
    Variable(String),
    Kms(String),
}

/// Where the key is to go, and as what.
pub(super) struct Into {
    pub(super) ring: RingName,
    pub(super) kid: Option<String>,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) activation: Activation,
}

impl Source {
    /// The text of a file or a variable; `None` for a key that stays where it is.
    fn text(&self, context: &Context<'_>) -> Outcome<Option<Zeroizing<String>>> {
        let text = match self {
            Self::Kms(_) => return Ok(None),
            Self::Variable(name) => context
                .environment
                .get(name)
                .ok_or_else(|| usage(format!("the environment variable {name} is not set")))?
                .to_owned(),
            Self::File(file) if file == "-" => {
                files::read_standard_input().map_err(|why| usage(format!("standard input: {why}")))?
            }
            Self::File(file) => {
                files::read_text(file.as_ref()).map_err(|why| usage(format!("{file}: {why}")))?
            }
        };
        Ok(Some(Zeroizing::new(text)))
    }

    /// Everything is read and checked before anything is written.
    async fn keys(&self, context: &Context<'_>, config: &Config, into: &Into) -> Outcome<Vec<Read>> {
        if let Some(text) = self.text(context)? {
            return read(&text).map_err(|why| refused(why.code(), why));
        }
        let Self::Kms(name) = self else { return Ok(Vec::new()) };
        let service = kms::service(config).ok_or_else(|| usage(kms::NOT_BUILT_IN))?;
        let ring = config.rings.iter().find(|r| r.spec.name == into.ring).map(|r| r.spec.algorithm);
        let algorithm = into.algorithm.or(ring).ok_or_else(no_algorithm)?;
        let key = service.describe(name, algorithm).await?;
        let material = ImportedMaterial::Remote { key, service };
        Ok(vec![Read { material, kid: None, algorithm: Some(algorithm) }])
    }
}

fn no_algorithm() -> Failure {
    refused("key_no_algorithm", KeyError::NoAlgorithm)
}

pub(super) async fn run(context: &Context<'_>, source: Source, into: Into) -> Outcome {
    let config = context.load()?;
    let keys = source.keys(context, &config, &into).await?;
    let Into { ring, kid, algorithm, activation } = into;
    if keys.len() > 1 && (kid.is_some() || activation == Activation::Now) {
        return Err(usage("--kid and --activate are for one key, but there are several; leave them out"));
    }
    let mut imported = Vec::new();
    for read in keys {
        let algorithm = algorithm.or(read.algorithm).or_else(|| usual(&config, &ring, &read.material));
        let algorithm = algorithm.ok_or_else(no_algorithm)?;
        let key = ImportedKey { kid: kid.clone().or(read.kid), algorithm, material: read.material };
        let signer = key.signer().map_err(|why| refused(why.code(), why))?;
        // A key that the ring's profile can not sign with would stop the next start.
        for profile in config.profiles.iter().filter(|profile| *profile.ring() == ring) {
            profile.check_signer(signer.as_ref()).map_err(|why| refused("profile_refuses_key", why))?;
        }
        imported.push(key);
    }
    let authority = Authority::open(&config, context.environment).await?;
    let had_active =
        authority.keyring.read().await?.0.ring(&ring).is_some_and(|ring| ring.active().is_some());
    let report = authority.keyring.import(&ring, &imported, activation, authority.clock.now()).await?;
    if let Some(policy) = config.rings.iter().find(|r| r.spec.name == ring)
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
