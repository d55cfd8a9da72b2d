//! `countersign keys import`: private keys from a file, standard input, the environment or a
//! MongoDB collection, and keys that stay in KMS.
//!
//! What they are read from is told apart here, and what they are written in by `key_texts`. All
//! keys are read and checked before anything is written, and one change of the keyring brings all
//! of them in or none. A collection is read and nothing else; its URL comes by reference, so that
//! no password stands on a command line. Pinned by tests/e2e/test_keys_cli.py and
//! test_keys_from_mongodb.py.

use super::{
    Context,
    key_texts::{self, Read},
    reached::{self, Reached},
};
use crate::{
    args::KeySource,
    authority::Authority,
    config::{Config, RingConfig},
    failure::{Failure, Outcome, refused, usage},
    files, kms, output,
};
use countersign_jose::{Algorithm, KeyError};
use countersign_keyring::{Activation, Imported, ImportedKey, ImportedMaterial, Keyring, RingName};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// Where the keys are to go, and as what.
pub(super) struct Into {
    pub(super) ring: RingName,
    pub(super) kid: Option<String>,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) activation: Activation,
}

/// The keys at the place that is named.
async fn read(context: &Context<'_>, config: &Config, from: KeySource, into: &Into) -> Outcome<Vec<Read>> {
    let shown = match &from {
        KeySource { env: Some(name), .. } => name.clone(),
        KeySource { file: Some(file), .. } if file != "-" => file.clone(),
        _ => "standard input".to_owned(),
    };
    let text = match from {
        KeySource { kms: Some(name), .. } => {
            let service = config.kms.service().ok_or_else(|| usage(kms::NOT_BUILT_IN))?;
            let ring = config.rings.iter().find(|r| r.spec.name == into.ring).map(|r| r.spec.algorithm);
            let algorithm = into.algorithm.or(ring).ok_or_else(no_algorithm)?;
            let key = service.describe(&name, algorithm).await?;
            let material = ImportedMaterial::Remote { key, service };
            return Ok(vec![Read { material, kid: None, algorithm: Some(algorithm) }]);
        }
        KeySource { mongodb: Some(url), collection: Some(collection), .. } => {
            let documents = mongodb::documents(context, &url, &collection).await?;
            let found = key_texts::of_documents(&documents);
            return found.map_err(|why| why.about(format!("the collection {collection:?}")));
        }
        KeySource { env: Some(name), .. } => context
            .environment
            .get(&name)
            .ok_or_else(|| {
                usage(format!("the environment variable {name} {}", context.environment.why_missing(&name)))
            })?
            .to_owned(),
        KeySource { file: Some(file), .. } if file == "-" => {
            files::read_standard_input().map_err(|why| usage(format!("standard input: {why}")))?
        }
        KeySource { file: Some(file), .. } => {
            files::read_text(file.as_ref()).map_err(|why| unreadable(&file, &why))?
        }
        _ => return Err(usage("name a file, -, --env NAME, --kms KEY, or --mongodb with --collection")),
    };
    key_texts::of_text(&Zeroizing::new(text)).map_err(|why| why.about(shown))
}

#[cfg(feature = "mongodb")]
mod mongodb {
    use super::{Context, Outcome, Zeroizing, usage};
    use crate::{failure::configuration, stores};
    use countersign_jose::MAX_KEYS;
    use countersign_settings::SecretRef;
    use countersign_store::{Engine, ForeignLimits, MongoConfig, StoreUrl};

    /// As for files.
    const MAX_BYTES: usize = 4 * 1024 * 1024;

    /// The documents of a collection, as JSON.
    pub(super) async fn documents(
        context: &Context<'_>,
        typed: &str,
        collection: &str,
    ) -> Outcome<Zeroizing<Vec<String>>> {
        if typed.parse::<SecretRef>().is_err() {
            return Err(usage(
                "--mongodb takes a reference to the URL, env:NAME or file:PATH: a password on a command line is seen by all",
            ));
        }
        let folder = &context.environment.folder;
        let url: StoreUrl = stores::url(typed, folder, context.environment).await?.parse()?;
        if url.engine() != Engine::MongoDb {
            return Err(configuration(format!("{typed}: this is not the URL of a MongoDB database")));
        }
        let limits = ForeignLimits { documents: MAX_KEYS, bytes: MAX_BYTES };
        let config = MongoConfig::parse(&url, folder)?;
        Ok(Zeroizing::new(countersign_store::read_foreign_collection(config, collection, limits).await?))
    }
}

#[cfg(not(feature = "mongodb"))]
mod mongodb {
    use super::{Context, Outcome, Zeroizing, usage};

    pub(super) async fn documents(_: &Context<'_>, _: &str, _: &str) -> Outcome<Zeroizing<Vec<String>>> {
        Err(usage(
            "this build does not read MongoDB; build it with --features mongodb, or import what mongoexport writes",
        ))
    }
}

/// What stands where a file is named may be a reference, as the configuration takes it.
fn unreadable(file: &str, why: &std::io::Error) -> Failure {
    let hint = match file.split_once(':') {
        Some(("env", name)) => format!("; to read the variable {name}, write --env {name}"),
        Some(("file" | "shared-file", path)) => format!("; write {path}, without what stands before it"),
        Some(("arn", _)) | Some(("alias", _)) => format!("; a key that stays in KMS is --kms {file}"),
        _ if file.starts_with("alias/") => format!("; a key that stays in KMS is --kms {file}"),
        _ => String::new(),
    };
    usage(format!("{file}: {why}{hint}"))
}

fn no_algorithm() -> Failure {
    refused("key_no_algorithm", KeyError::NoAlgorithm)
}

/// Brings keys in: all of them or none. Everything is read and checked before anything is written.
pub(super) async fn run(context: &Context<'_>, from: KeySource, into: Into) -> Outcome {
    let config = context.load().await?;
    config.ring(&into.ring)?;
    let keys = read(context, &config, from, &into).await?;
    let Into { ring, kid, algorithm, activation } = into;
    let is_named = algorithm.is_some();
    if keys.len() > 1 && (kid.is_some() || activation == Activation::Now) {
        return Err(usage("--kid and --activate are for one key, but there are several; leave them out"));
    }
    let mut imported = Vec::new();
    for read in keys {
        let algorithm = algorithm.or(read.algorithm).or_else(|| usual(&config, &ring, &read.material));
        let algorithm = algorithm.ok_or_else(no_algorithm)?;
        let key = ImportedKey { kid: kid.clone().or(read.kid), algorithm, material: read.material };
        let signer = key.signer().map_err(|why| refused(why.code(), why))?;
        refuse_another_kind(config.ring(&ring)?, algorithm)?;
        config.ring(&ring)?.check_taken(algorithm)?;
        // A key that the ring's profile cannot sign with would stop the next start.
        for profile in config.profiles.iter().filter(|profile| *profile.ring() == ring) {
            profile.check_signer(signer.as_ref()).map_err(|why| refused("profile_refuses_key", why))?;
        }
        imported.push(key);
    }
    refuse_two_of_one_name(&imported)?;
    let authority = Authority::open(&config, context.environment).await?;
    let before = authority.keyring.read().await?;
    warn_of_twins(&before, &imported);
    let had_active = before.ring(&ring).is_some_and(|ring| ring.active().is_some());
    let report = authority.keyring.import(&ring, &imported, activation, authority.clock.now()).await?;
    let settings = config.rings.iter().find(|r| r.spec.name == ring);
    if let Some(settings) = settings.filter(|_| report.iter().any(|key| key.changed)) {
        let algorithms: BTreeSet<_> = imported.iter().map(|key| key.algorithm).collect();
        let rings = settings.spec.algorithm;
        for algorithm in algorithms {
            settings.warn_of_refusals(algorithm);
            if algorithm != rings && !is_named {
                tracing::warn!(
                    ring = ring.as_str(),
                    "signs with {rings}, and a key that came in is for {algorithm}: verifiers are shown both; give such keys a ring \
                     of their own (--ring), or say with --algorithm {algorithm} that it is meant"
                );
            }
        }
    }
    if let Some(policy) = settings
        && activation == Activation::Now
        && had_active
        && report.iter().any(|key| key.changed)
    {
        // With --activate it is one key.
        let reached = Reached::of(&config, &ring, imported.first().map(|key| key.algorithm));
        let instead = match reached {
            Reached::Published => {
                "; without --activate, `countersign keys activate` waits until they know it"
            }
            Reached::Jaas | Reached::ByHand => "",
        };
        let refuses = reached.who_refuses(policy.rotation.propagation);
        tracing::warn!(ring = ring.as_str(), "signs at once: {refuses}{instead}");
    }
    let keyring = authority.keyring.read().await?;
    let state = |kid: &str| {
        let found = keyring.find(kid);
        found.map(|(ring, key)| reached::state(&config, ring, key)).unwrap_or_default()
    };
    if context.json {
        let rows = report.iter().map(|Imported { kid, changed }| {
            serde_json::json!({ "ring": ring, "kid": kid, "state": state(kid), "changed": changed })
        });
        output::line(&serde_json::json!({ "keys": rows.collect::<Vec<_>>() }).to_string());
        return Ok(());
    }
    for Imported { kid, changed } in &report {
        let verb = if *changed { "imported" } else { "already there" };
        output::line(&format!("{verb}: key {kid} in ring {ring}, {}", state(kid)));
    }
    Ok(())
}

/// A ring has key pairs or shared secrets. One among the other would come to verifiers in another
/// way than the ring says, or not at all.
fn refuse_another_kind(ring: &RingConfig, algorithm: Algorithm) -> Outcome {
    let (name, rings) = (&ring.spec.name, ring.spec.algorithm);
    let why = match (algorithm.is_symmetric(), rings.is_symmetric()) {
        (true, false) => format!(
            "a shared secret ({algorithm}) does not go into ring {name}, whose keys are key pairs ({rings}): it would be published \
             nowhere; declare a ring for it, [rings.NAME] with algorithm = \"{algorithm}\", and name that with --ring"
        ),
        (false, true) => format!(
            "a key pair ({algorithm}) does not go into ring {name}, whose keys are shared secrets ({rings}); name a ring of key \
             pairs with --ring"
        ),
        _ => return Ok(()),
    };
    Err(refused("ring_of_another_kind", why))
}

/// Tells of keys that are there already, under another name: they are one key, and who has one of
/// them has both.
fn warn_of_twins(keyring: &Keyring, imported: &[ImportedKey]) {
    for key in imported {
        let (Some(public), Ok(kid)) = (key.public(), key.name()) else { continue };
        if keyring.find(&kid).is_some() {
            continue;
        }
        let twins = keyring.rings().flat_map(|(ring, keys)| keys.keys().iter().map(move |key| (ring, key)));
        let twin = twins
            .filter(|(_, other)| other.kid != kid)
            .find(|(_, other)| other.public_key().as_ref() == Some(&public));
        if let Some((ring, twin)) = twin {
            tracing::warn!(
                kid,
                "the same key is there as {:?} (ring {ring}, {}): one key under two names; `countersign keys remove \
                 --signed-nothing {kid}` takes this one back",
                twin.kid,
                twin.state.name()
            );
        }
    }
}

/// A name is one key's; which two entries have it can be said here alone.
fn refuse_two_of_one_name(keys: &[ImportedKey]) -> Outcome {
    for (at, key) in keys.iter().enumerate() {
        let named = |other: &ImportedKey| other.kid.is_some() && other.kid == key.kid;
        let is_other = |other: &ImportedKey| other.public() != key.public();
        if let Some((before, _)) =
            keys.iter().take(at).enumerate().find(|(_, other)| named(other) && is_other(other))
        {
            let why = format!(
                "keys {} and {} of {} are two keys, and both are named {:?}; give one another kid",
                before + 1,
                at + 1,
                keys.len(),
                key.kid.as_deref().unwrap_or_default(),
            );
            return Err(refused("keyring_kid_taken", why));
        }
    }
    Ok(())
}

/// The ring's algorithm if the key fits it, else the usual one of its kind.
fn usual(config: &Config, ring: &RingName, key: &ImportedMaterial) -> Option<Algorithm> {
    let ring = config.rings.iter().find(|r| r.spec.name == *ring).map(|r| r.spec.algorithm);
    let ImportedMaterial::Private(key) = key else { return ring.filter(|ring| ring.is_symmetric()) };
    ring.filter(|a| a.key_kind() == key.kind()).or_else(|| Algorithm::default_for(key.kind()))
}
