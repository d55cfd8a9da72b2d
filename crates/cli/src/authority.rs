//! From a configuration to an issuer that can mint: store, sealing key, keyring, issuer, in that
//! order.
//!
//! Nothing is written before everything that is there was found readable, and nothing is made where
//! there may have been something: a store, a sealing key and a keyring are made when the
//! configuration is, or when somebody says that they never existed. A store that is lost, mistyped
//! or not mounted looks just like a new one, and would otherwise silently become another authority
//! (docs/decisions/0023).

use crate::{
    config::{Config, SealingRef},
    failure::{Failure, Outcome, configuration, no_keyring, unwritable},
    files, hints, journal,
    stores::{self, FirstKeys, TimedStore},
};
use countersign_issuer::{
    Issuer, IssuerSettings, Patience,
    http::{RingPlan, StoreTimes},
};
use countersign_jose::Timestamp;
#[cfg(feature = "lambda")]
use countersign_keyring::KeyringError;
use countersign_keyring::{
    FutureTime, Keyring, LoadedKeyring, RingName, RingSpec, Sealing, SealingKey, StoredKeyring,
};
use countersign_settings::{Environment, SecretRef};
#[cfg(feature = "lambda")]
use countersign_store::StoreError;
use countersign_store::{Clock, Store, SystemClock};
use std::{path::Path, sync::Arc, time::Duration};

/// What commands work with.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keyring: StoredKeyring,
    store: Arc<dyn Store>,
    store_times: StoreTimes,
}

impl Authority {
    /// Opens store and sealing key of an authority that has its keys, or is to make the first ones
    /// as its configuration says.
    pub(crate) async fn open(config: &Config, environment: &Environment) -> Outcome<Self> {
        Self::open_or(config.first_keys, config, environment).await
    }

    /// Opens store and sealing key, and makes either where none exists yet: somebody has said that
    /// there never were any.
    pub(crate) async fn open_new(config: &Config, environment: &Environment) -> Outcome<Self> {
        Self::open_or(FirstKeys::Create, config, environment).await
    }

    async fn open_or(first_keys: FirstKeys, config: &Config, environment: &Environment) -> Outcome<Self> {
        Self::open_by(Arc::new(SystemClock), first_keys, config, environment).await
    }

    /// The same by another clock.
    pub(crate) async fn open_by(
        clock: Arc<dyn Clock>,
        first_keys: FirstKeys,
        config: &Config,
        environment: &Environment,
    ) -> Outcome<Self> {
        check_clock(clock.now())?;
        if first_keys == FirstKeys::Create {
            check_seals(config, environment).await?;
        }
        let Some(store) = stores::of(config, environment, first_keys, Arc::clone(&clock)).await? else {
            return Err(missing_keyring(config));
        };
        let (store, times) = TimedStore::over(store);
        Self::over((store, times), first_keys, clock, config, environment).await
    }

    /// The same store with what another configuration says of sealing keys and services. Its
    /// keyring has to be there still.
    pub(crate) async fn again(&self, config: &Config, environment: &Environment) -> Outcome<Self> {
        let store = (Arc::clone(&self.store), self.store_times.clone());
        let clock = Arc::clone(&self.clock);
        let mut again = Self::over(store, FirstKeys::Refuse, clock, config, environment).await?;
        again.keyring = again.keyring.with_memory_of(&self.keyring);
        Ok(again)
    }

    async fn over(
        (store, store_times): (Arc<dyn Store>, StoreTimes),
        first_keys: FirstKeys,
        clock: Arc<dyn Clock>,
        config: &Config,
        environment: &Environment,
    ) -> Outcome<Self> {
        // Read before one is made: no sealing key is made beside another that cannot be read.
        for also in &config.sealing_also {
            if let SealingRef::Secret(secret) = also {
                sealing_key(config, environment, "sealing.also", secret)?;
            }
        }
        check_sealing_key(config, store.as_ref(), first_keys).await?;
        let sealing = sealing(config, environment)?;
        Ok(Self { clock, keyring: keyring(config, Arc::clone(&store), sealing), store, store_times })
    }

    /// Where everything that is remembered is.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// How long the operations of that store take.
    pub(crate) fn store_times(&self) -> StoreTimes {
        self.store_times.clone()
    }

    /// Reads an authority that has everything it needs: one look at the store's mark, one at the
    /// keyring and its marks. `None` where something is missing, which is then for
    /// [`Authority::open_by`] to make, or to say what it is.
    #[cfg(feature = "lambda")]
    pub(crate) async fn read(
        clock: Arc<dyn Clock>,
        config: &Config,
        environment: &Environment,
    ) -> Outcome<Option<(Self, LoadedKeyring)>> {
        check_clock(clock.now())?;
        let url = stores::url(&config.raw.store.url, &config.folder, environment).await;
        let url = url.map_err(|why| why.about("store.url"))?;
        let store = match countersign_store::open_existing(&url, &config.folder, Arc::clone(&clock)).await {
            Ok(store) => store,
            Err(why @ StoreError::Unavailable { .. }) => return Err(why.into()),
            Err(_) => return Ok(None),
        };
        let Ok(sealing) = sealing(config, environment) else { return Ok(None) };
        let (store, store_times) = TimedStore::over(store);
        let keyring = keyring(config, Arc::clone(&store), sealing);
        let authority = Self { clock, keyring, store, store_times };
        let now = authority.clock.now();
        let loaded = match authority.keyring.load_to_mint(&config.needs(), now).await {
            Ok(loaded) => loaded,
            Err(why @ KeyringError::Store(StoreError::Unavailable { .. })) => return Err(why.into()),
            Err(_) => return Ok(None),
        };
        let signs = |spec: &RingSpec| loaded.ring(&spec.name).is_some_and(|ring| ring.active().is_some());
        let mut specs = config.rings.iter().map(|ring| &ring.spec);
        if !loaded.records().is_stored() || !specs.all(|spec| signs(spec) || !spec.make_first_key) {
            return Ok(None);
        }
        Ok(Some((authority, loaded)))
    }

    /// Makes the first keys of rings that have none, and loads all. The log tells which were made.
    pub(crate) async fn load(&self, config: &Config) -> Outcome<LoadedKeyring> {
        let (keyring, made) = self.load_and_tell(config).await?;
        for FirstKey { ring, kid } in &made {
            tracing::warn!(
                ring = ring.as_str(),
                kid,
                "made the first key of this ring; if it had keys before, stop every server and restore the store from a backup"
            );
        }
        let signs = |ring: &RingName| keyring.ring(ring).is_some_and(|ring| ring.active().is_some());
        let empty = config.rings.iter().map(|ring| &ring.spec).filter(|spec| !signs(&spec.name));
        for spec in empty.filter(|spec| spec.algorithm.is_symmetric()) {
            tracing::warn!(
                ring = spec.name.as_str(),
                "has no key to sign with: `countersign keys prepare --ring {} --show-secret` makes a secret, and shows it for its verifiers",
                spec.name
            );
        }
        Ok(keyring)
    }

    /// The same, and says which keys were made.
    pub(crate) async fn load_and_tell(&self, config: &Config) -> Outcome<(LoadedKeyring, Vec<FirstKey>)> {
        let specs: Vec<RingSpec> = config.rings.iter().map(|ring| ring.spec.clone()).collect();
        let before = self.keyring.read().await?;
        self.keyring.ensure(&specs, self.clock.now()).await?;
        // Before a token is minted under today's policy, the keys say for how long that needs them.
        let keyring = self.keyring.load_to_mint(&config.needs(), self.clock.now()).await?;
        let active =
            config.rings.iter().filter_map(|ring| Some((ring, keyring.ring(&ring.spec.name)?.active()?)));
        let made = active
            .filter(|(_, signer)| before.find(signer.kid()).is_none())
            .map(|(ring, signer)| {
                ring.warn_of_refusals(signer.algorithm());
                FirstKey { ring: ring.spec.name.clone(), kid: signer.kid().to_owned() }
            })
            .collect();
        report_future_times(keyring.records(), config.skew, self.clock.now());
        for remark in keyring.records().remarks() {
            tracing::warn!("{}", hints::carry(&remark.to_string()));
        }
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
        Ok((keyring, made))
    }
}

/// A key that was made for a ring without one.
#[derive(Debug)]
pub(crate) struct FirstKey {
    pub(crate) ring: RingName,
    pub(crate) kid: String,
}

/// A time that has not come yet: this clock is behind, or that of the machine which wrote it was
/// ahead.
pub(crate) fn report_future_times(keyring: &Keyring, skew: Duration, now: Timestamp) {
    for FutureTime { kid, name, at, .. } in keyring.future_times(skew, now) {
        tracing::error!(
            kid,
            "times in the future: {name} of this key is {at}, and the clock of this machine shows {now}; set the clock, or if it is \
             right run {}",
            hints::carry("`countersign keys correct-times`")
        );
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

/// Adds what is in no store.
pub(crate) fn with_outside_keys(config: &Config, keyring: LoadedKeyring) -> LoadedKeyring {
    let keys = config.outside_keys.iter();
    keys.fold(keyring, |keyring, key| keyring.with_ring(key.ring.clone(), Arc::clone(&key.signer)))
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
    let keyring = with_outside_keys(&config, keyring);
    let kept = config.rings.iter().map(|ring| ring.rotation.keep_retired);
    let clock_settles = kept.max().unwrap_or(config.max_stale_signing);
    let plans = config.rings.iter().map(|ring| {
        let plan = RingPlan { policy: ring.rotation, makes_keys: ring.spec.make_first_key };
        (ring.spec.name.clone(), plan)
    });
    let plans = plans.collect();
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
        patience: Patience {
            max_stale: config.max_stale,
            max_stale_signing: config.max_stale_signing,
            skew: config.skew,
            clock_settles,
        },
        signatures: config.signatures,
        token_endpoint: config.token_endpoint,
    };
    let issuer = match before {
        Some(before) => before.successor(settings, keyring, clock)?,
        None => Issuer::new(settings, keyring, clock)?,
    };
    Ok(issuer.with_plans(plans))
}

/// The keyring of a store, with the service that keeps keys.
pub(crate) fn keyring(config: &Config, store: Arc<dyn Store>, sealing: Sealing) -> StoredKeyring {
    let keyring = StoredKeyring::new(store, sealing).with_journal(journal::of(None));
    match config.kms.service() {
        Some(service) => keyring.with_service(service),
        None => keyring,
    }
}

/// Before a store of a file is made: whether the key of KMS that is to seal it does so. Of one that
/// cannot, nothing would be left but an empty file that looks like a store.
async fn check_seals(config: &Config, environment: &Environment) -> Outcome {
    let SealingRef::Kms(name) = &config.sealing else { return Ok(()) };
    let url = stores::url(&config.raw.store.url, &config.folder, environment).await;
    let url = url.map_err(|why| why.about("store.url"))?;
    match countersign_store::file_of(&url, &config.folder) {
        Some(file) if !file.exists() => {
            let seals = config.kms.data_keys(name)?.generate().await;
            seals.map(drop).map_err(|why| Failure::from(why).about(format!("sealing.key {}", config.sealing)))
        }
        _ => Ok(()),
    }
}

/// Looks for the keyring, and for the sealing key if that is a file. What is missing is made
/// together, or not at all.
async fn check_sealing_key(config: &Config, store: &dyn Store, first_keys: FirstKeys) -> Outcome {
    let file = match &config.sealing {
        SealingRef::Secret(SecretRef::File(path)) => Some(config.folder.join(path)),
        SealingRef::Secret(_) | SealingRef::Kms(_) => None,
    };
    if let Some(path) = &file {
        files::sweep(path);
    }
    // Looked for first: the process that makes both makes the file before the first key, so that
    // keys without it are real.
    let has_file = file.as_ref().is_none_or(|path| path.exists());
    if StoredKeyring::exists(store).await? {
        if !has_file && file.is_some_and(|path| !path.exists()) {
            let why = "the sealing key is missing, but the store holds keys sealed with it; put the file back from a backup (nothing was changed)";
            return Err(configuration(why).about(format!("sealing.key {}", config.sealing)));
        }
        return Ok(());
    }
    if first_keys == FirstKeys::Refuse {
        return Err(missing_keyring(config));
    }
    match file {
        Some(path) if !has_file => create_sealing_key(&path).map(|_| ()),
        _ => Ok(()),
    }
}

/// What is said where a keyring has to be, and none is.
pub(crate) fn missing_keyring(config: &Config) -> Failure {
    let why = "there is no keyring, and nothing was changed. If there was one, the store is lost, mistyped or not mounted: restore it from a \
               backup, or correct store.url. If this authority is new, make its first keys with `countersign keys init`, or where nobody \
               is at a terminal with store.first_keys = \"create\"";
    no_keyring(why).about(format!("store.url {}", stores::shown(&config.raw.store.url)))
}

/// One sealing key that is at hand.
pub(crate) fn sealing_key(
    config: &Config,
    environment: &Environment,
    setting: &str,
    secret: &SecretRef,
) -> Outcome<Arc<SealingKey>> {
    let about = |why: Failure| why.about(format!("{setting} {secret}"));
    let text = secret.read(&config.folder, environment).map_err(|why| about(configuration(why)))?;
    SealingKey::from_text(&text).map(Arc::new).map_err(|why| about(configuration(why)))
}

/// What the configuration says of sealing keys: those that are at hand are read, KMS is asked when
/// it is needed.
pub(crate) fn sealing(config: &Config, environment: &Environment) -> Outcome<Sealing> {
    let key = |setting, secret| sealing_key(config, environment, setting, secret);
    let mut sealing = match &config.sealing {
        SealingRef::Secret(secret) => Sealing::new(key("sealing.key", secret)?),
        SealingRef::Kms(name) => Sealing::wrapped(config.kms.data_keys(name)?),
    };
    for also in &config.sealing_also {
        sealing = match also {
            SealingRef::Secret(secret) => sealing.also(key("sealing.also", secret)?),
            SealingRef::Kms(name) => sealing.also_wrapped(config.kms.data_keys(name)?),
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
