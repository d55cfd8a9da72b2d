//! From a configuration to an issuer that can mint: store, sealing key, keyring, issuer, in that order.
//!
//! Nothing is written before everything that is there was found readable: a sealing key is made only when the store
//! holds no keys, and a first key only when those that are there open.

use crate::{
    config::{Config, SealingRef},
    failure::{Failure, Outcome, configuration, unwritable},
    files, kms, stores,
};
use countersign_issuer::{Issuer, IssuerSettings};
use countersign_jose::Timestamp;
use countersign_keyring::{LoadedKeyring, RingSpec, Sealing, SealingKey, StoredKeyring};
use countersign_settings::{Environment, SecretRef};
use countersign_store::{Clock, Store, SystemClock};
use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

/// What commands work with.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keyring: StoredKeyring,
    store: Arc<dyn Store>,
}

impl Authority {
    /// Opens store and sealing key; makes either where there is none yet.
    pub(crate) async fn open(config: &Config, environment: &Environment) -> Outcome<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        check_clock(clock.now())?;
        let store = stores::of(config, environment, Arc::clone(&clock)).await?;
        Self::over(store, clock, config, environment).await
    }

    /// The same store with what another configuration says of sealing keys and services.
    pub(crate) async fn again(&self, config: &Config, environment: &Environment) -> Outcome<Self> {
        Self::over(Arc::clone(&self.store), Arc::clone(&self.clock), config, environment).await
    }

    async fn over(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        config: &Config,
        environment: &Environment,
    ) -> Outcome<Self> {
        make_sealing_key(config, store.as_ref()).await?;
        let sealing = sealing(config, environment)?;
        Ok(Self { clock, keyring: keyring(config, Arc::clone(&store), sealing), store })
    }

    /// Makes the first keys where there are none, and loads all.
    pub(crate) async fn load(&self, config: &Config) -> Outcome<LoadedKeyring> {
        let specs: Vec<RingSpec> = config.rings.iter().map(|ring| ring.spec.clone()).collect();
        let keyring = self.keyring.ensure(&specs, self.clock.now()).await?;
        self.warn_if_the_clock_went_back().await?;
        for spec in &specs {
            let active = keyring.ring(&spec.name).and_then(|ring| ring.active());
            if let Some(signer) = active.filter(|s| s.algorithm() != spec.algorithm && spec.make_first_key) {
                tracing::warn!(
                    ring = spec.name.as_str(),
                    kid = signer.kid(),
                    "the active key signs with {}, not {} as rings.{}.algorithm says; the setting counts for new keys",
                    signer.algorithm(),
                    spec.algorithm,
                    spec.name,
                );
            }
        }
        Ok(keyring)
    }

    /// A key from the future means that the clock was set back: tokens minted now may be refused as expired.
    async fn warn_if_the_clock_went_back(&self) -> Outcome {
        let soon = self.clock.now().plus(Duration::from_secs(300));
        let (keyring, _) = self.keyring.read().await?;
        let mut keys = keyring.rings().flat_map(|(_, ring)| ring.keys());
        if let Some(key) = keys.find(|key| key.created_at > soon) {
            tracing::warn!(kid = key.kid, "this key was made in the future; check the clock of this machine");
        }
        Ok(())
    }
}

/// No token minted before this program was written can be right: the clock was never set.
pub(crate) fn check_clock(now: Timestamp) -> Outcome {
    const YEAR_2026: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);
    if now < YEAR_2026 {
        let why =
            "the clock of this machine is before 2026; set it, or every token is expired when it is minted";
        return Err(configuration(why));
    }
    Ok(())
}

/// Adds what is in no store: the JaaS key of the environment.
pub(crate) fn with_environment_keys(config: &Config, keyring: LoadedKeyring) -> LoadedKeyring {
    match &config.jaas_key {
        Some(key) => keyring.with_ring(key.ring.clone(), Arc::clone(&key.signer)),
        None => keyring,
    }
}

/// Puts the issuer together.
pub(crate) fn issuer(config: Config, keyring: LoadedKeyring, clock: Arc<dyn Clock>) -> Outcome<Issuer> {
    issuer_after(None, config, keyring, clock)
}

/// The same in the place of one that was at work before.
pub(crate) fn issuer_after(
    before: Option<&Issuer>,
    config: Config,
    keyring: LoadedKeyring,
    clock: Arc<dyn Clock>,
) -> Outcome<Issuer> {
    let keyring = with_environment_keys(&config, keyring);
    let settings = IssuerSettings {
        issuer: config.issuer,
        clients: config.clients,
        profiles: config.profiles,
        unpublished_rings: config.unpublished_rings,
        jwks_max_age: config.jwks_max_age,
        jwks_certificates: config.jwks_certificates,
        backdate: config.backdate,
        limits: config.limits.request,
        rates: config.rates,
        max_stale: config.max_stale,
        max_stale_signing: config.max_stale_signing,
    };
    Ok(match before {
        Some(before) => before.successor(settings, keyring, clock)?,
        None => Issuer::new(settings, keyring, clock)?,
    })
}

/// The keyring of a store, with the service that keeps keys.
pub(crate) fn keyring(config: &Config, store: Arc<dyn Store>, sealing: Sealing) -> StoredKeyring {
    let keyring = StoredKeyring::new(store, sealing);
    match kms::service(config) {
        Some(service) => keyring.with_service(service),
        None => keyring,
    }
}

/// Makes the sealing key, if it is a file that is not there and there is nothing yet that was sealed with it.
async fn make_sealing_key(config: &Config, store: &dyn Store) -> Outcome {
    let SealingRef::Secret(SecretRef::File(path)) = &config.sealing else { return Ok(()) };
    let path = config.folder.join(path);
    if path.exists() {
        return Ok(());
    }
    // The file is made before the first key: keys without it are real only if it is still not there now.
    let has_keys = StoredKeyring::exists(store).await?;
    if !has_keys {
        create_sealing_key(&path)?;
    } else if !path.exists() {
        let why = "the sealing key is missing, but the store holds keys sealed with it; put the file back from a backup (nothing was changed)";
        return Err(configuration(why).about(format!("sealing.key {}", config.sealing)));
    }
    Ok(())
}

/// What the configuration says of sealing keys: those that are at hand are read, KMS is asked when it is needed.
pub(crate) fn sealing(config: &Config, environment: &Environment) -> Outcome<Sealing> {
    let key = |setting: &str, secret: &SecretRef| -> Outcome<Arc<SealingKey>> {
        let about = |why: Failure| why.about(format!("{setting} {secret}"));
        if let SecretRef::File(path) = secret {
            warn_if_readable_by_others(&config.folder.join(path));
        }
        let text = secret.read(&config.folder, environment).map_err(|why| about(configuration(why)))?;
        SealingKey::from_text(&text).map(Arc::new).map_err(|why| about(configuration(why)))
    };
    let mut sealing = match &config.sealing {
        SealingRef::Secret(secret) => Sealing::new(key("sealing.key", secret)?),
        SealingRef::Kms(name) => Sealing::wrapped(kms::data_keys(config, name)?),
    };
    for also in &config.sealing_also {
        sealing = match also {
            SealingRef::Secret(secret) => sealing.also(key("sealing.also", secret)?),
            SealingRef::Kms(name) => sealing.also_wrapped(kms::data_keys(config, name)?),
        };
    }
    Ok(sealing)
}

/// Makes a sealing key file, unless another process just did.
pub(crate) fn create_sealing_key(path: &Path) -> Outcome<files::Created> {
    let (_, text) = SealingKey::generate().map_err(crate::failure::internal)?;
    files::create(path, format!("{}\n", text.as_str()).as_bytes())
        .map_err(|why| unwritable(format!("the sealing key {}", path.display()), &why))
}

fn warn_if_readable_by_others(path: &Path) {
    let mode = std::fs::metadata(path).map(|meta| meta.permissions().mode() & 0o077);
    if mode.is_ok_and(|others| others != 0) {
        tracing::warn!("other users can read the sealing key {}; run: chmod 600 {0}", path.display());
    }
}
