//! What runs besides the listener, and how a reload puts another configuration in its place.
//!
//! A reload builds everything anew first: configuration, sealing keys, keyring, issuer, gate. Only
//! then does it swap the whole, so a configuration that is bad in any way changes nothing and the
//! server goes on with the one it has. The store stays open, and counters go on. What a running
//! process cannot change (`Fixed`) is named.

use super::{
    audit_log::ServerLog,
    descriptors,
    endpoints::Endpoints,
    gate::{GateDoor, GateRoute},
    listener::Server,
    peer,
    refresh::Refresh,
    rotator,
    site::{self, Site},
};
use crate::{
    authority::{self, Authority},
    commands::Context,
    config::Config,
    failure::{Outcome, configuration},
    hints,
    rotation::Rotation,
    stores,
};
use countersign_gateway::settings::GateConfig;
use countersign_issuer::Issuer;
use countersign_keyring::LoadedKeyring;
use countersign_settings::Environment;
use std::{
    fmt::Display,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// Settings that are read once, when the process starts. The URL of the store is the one that is
/// meant, whatever reference leads to it, so this is never shown.
#[derive(Clone, PartialEq, Eq)]
struct Fixed([(&'static str, Zeroizing<String>); 6]);

impl Fixed {
    fn of(config: &Config, environment: &Environment) -> Outcome<Self> {
        let url = stores::fetched_url(&config.raw.store.url, &config.folder, environment)
            .map_err(|why| why.about("store.url"))?;
        let log = &config.raw.log;
        let text = |text: &dyn Display| Zeroizing::new(text.to_string());
        Ok(Self([
            ("issuer", text(&config.issuer)),
            ("store.url", url),
            ("server.listen", text(&config.listen)),
            ("log.level", text(&log.level)),
            ("log.audit", Zeroizing::new(format!("{:?}", log.audit))),
            ("log.queue_bytes", text(&log.queue_bytes)),
        ]))
    }

    /// The keys whose values differ.
    fn differing(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&other.0);
        pairs.filter(|(one, other)| one != other).map(|((key, _), _)| *key).collect()
    }
}

/// Tasks that work for one configuration; they end with it.
#[derive(Debug)]
struct Tasks([JoinHandle<()>; 2]);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// One configuration, built and not at work yet.
pub(super) struct Built {
    pub(super) site: Site,
    pub(super) drain: Duration,
    refresh: Refresh,
    rotation: Rotation,
    authority: Authority,
    fixed: Fixed,
}

/// What an issuer is built from.
pub(super) enum Origin<'a> {
    /// The first one of this process, with the log it writes to.
    Start(Arc<ServerLog>),
    /// One that takes the place of this one.
    Successor(&'a Issuer),
}

/// Builds all that answers requests.
pub(super) fn build(
    mut config: Config,
    authority: Authority,
    keyring: LoadedKeyring,
    origin: Origin<'_>,
    environment: &Environment,
) -> Outcome<Built> {
    let fixed = Fixed::of(&config, environment)?;
    let drain = config.drain;
    let mut limits = config.limits;
    limits.connections = descriptors::connections(limits.connections, descriptors::raise_limit());
    let (trusted_proxies, metrics_allow) = (config.trusted_proxies.clone(), config.metrics_allow.clone());
    let resource = config.gate.as_ref().and_then(|gate| gate.resource().cloned());
    config.warn();
    let gate = gate_door(&mut config, &authority);
    let (grants, webhook) = (config.grants.take(), config.webhook.take());
    let rotation = Rotation::new(&config, &authority);
    let refresh = Refresh::new(&config, &authority, keyring.clone(), rotation.clone());
    let clock = Arc::clone(&authority.clock);
    let issuer = Arc::new(match origin {
        Origin::Start(log) => authority::issuer(config, keyring, clock)?
            .with_audit_log(log)
            .with_store_times(authority.store_times()),
        Origin::Successor(before) => authority::issuer_after(Some(before), config, keyring, clock)?,
    });
    if gate.route().is_some() {
        issuer.metrics().expect_decisions();
    }
    report_profiles_without_key(&issuer);
    refresh.shorten_max_age(&issuer);
    let endpoints = Endpoints::new(&issuer, metrics_allow.clone(), grants, webhook, &authority, resource);
    let http = site::http(&limits);
    let untrusted_proxies = peer::UntrustedProxies::default();
    let site =
        Site { issuer, endpoints, gate, limits, trusted_proxies, untrusted_proxies, metrics_allow, http };
    Ok(Built { site, drain, refresh, rotation, authority, fixed })
}

pub(super) fn report_profiles_without_key(issuer: &Issuer) {
    for (profile, why) in issuer.profiles_without_key() {
        tracing::warn!(profile, "{}", hints::carry(&why.to_string()));
    }
}

/// The gate, where proxies may ask it.
fn gate_door(config: &mut Config, authority: &Authority) -> GateDoor {
    let issuer_path = config.issuer.path().to_owned();
    match config.gate.take().and_then(GateConfig::into_forward_auth) {
        Some(forward_auth) => GateDoor::Open(Box::new(GateRoute {
            forward_auth,
            clock: Arc::clone(&authority.clock),
            issuer_path,
        })),
        None => {
            // Where the issuer's own path has that name, requests for it are for the issuer.
            let told = issuer_path.split('/').any(|segment| segment == "gate");
            GateDoor::Shut { issuer_path, told: AtomicBool::new(told) }
        }
    }
}

/// The configuration at work.
pub(super) struct Running {
    pub(super) server: Arc<Server>,
    pub(super) drain: Duration,
    authority: Authority,
    fixed: Fixed,
    tasks: Tasks,
}

impl Running {
    /// Puts the first configuration to work.
    pub(super) fn start(built: Built) -> Self {
        let Built { site, drain, refresh, rotation, authority, fixed } = built;
        let tasks = tasks(refresh, rotation, &authority, &site.issuer);
        Self { server: Arc::new(Server::new(site)), drain, authority, fixed, tasks }
    }

    /// Reads the configuration again. Whatever is wrong with it is told in the log, and nothing
    /// changes.
    pub(super) async fn reload(&mut self, context: &Context<'_>) {
        match self.build_again(context).await {
            Ok(built) => {
                let Built { mut site, drain, refresh, rotation, authority, fixed } = built;
                site.follow(&self.server.site());
                self.tasks = tasks(refresh, rotation, &authority, &site.issuer);
                self.server.replace(site);
                (self.drain, self.authority, self.fixed) = (drain, authority, fixed);
                tracing::info!("{} was read again and is in use", context.location.shown());
            }
            Err(why) => {
                tracing::error!("the configuration was not reloaded and the old one stays in use: {why}")
            }
        }
    }

    async fn build_again(&self, context: &Context<'_>) -> Outcome<Built> {
        let config = crate::config::load(&context.location, context.environment, context.http).await?;
        let differing = self.fixed.differing(&Fixed::of(&config, context.environment)?);
        if !differing.is_empty() {
            let keys = differing.join(", ");
            return Err(configuration(format!("{keys}: another value needs a restart")));
        }
        let site = self.server.site();
        let authority = self.authority.again(&config, context.environment).await?;
        // As the watch of the store does: what it would not take over now is not to be built upon
        // either.
        let now = authority.clock.now();
        let served = site.issuer.keyring();
        let reloaded = authority.keyring.reload_since(&served, &config.needs(), now, config.skew, now).await;
        if let Some(why) = reloaded.problem {
            return Err(why.into());
        }
        let keyring = authority.load(&config).await?;
        build(config, authority, keyring, Origin::Successor(&site.issuer), context.environment)
    }
}

fn tasks(refresh: Refresh, rotation: Rotation, authority: &Authority, issuer: &Arc<Issuer>) -> Tasks {
    Tasks([
        tokio::spawn(refresh.run(Arc::clone(issuer))),
        tokio::spawn(rotator::run(rotation, Arc::clone(&authority.clock), Arc::clone(issuer))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_issuer::HttpIssuer;
    use std::path::Path;

    const START: &str = r#"
issuer = "https://issuer.example"
store.url = "shared-file:url"
server.listen = "127.0.0.1:1"
log = { level = "info", audit = "wait", queue_bytes = 65536 }
"#;

    fn fixed(folder: &Path, text: &str) -> Outcome<Fixed> {
        let (file, environment) = (folder.join("countersign.toml"), Environment::default());
        std::fs::write(&file, text).unwrap();
        Fixed::of(&crate::config::load_file(&file, &environment, HttpIssuer::LoopbackOnly)?, &environment)
    }

    #[test]
    fn settings_that_need_a_restart_are_named_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let url = |text: &str| std::fs::write(folder.path().join("url"), text).unwrap();
        url("sqlite:a.db");
        let start = fixed(folder.path(), START).unwrap();
        for (old, new, keys) in [
            ("", "", &[][..]),
            ("issuer.example", "other.example", &["issuer"]),
            ("127.0.0.1:1", "127.0.0.1:2", &["server.listen"]),
            (r#""info""#, r#""info,countersign::audit=off""#, &["log.level"]),
            (r#""wait""#, r#""drop""#, &["log.audit"]),
            ("65536", "65537", &["log.queue_bytes"]),
            ("shared-file:url", "sqlite:b.db", &["store.url"]),
            // Another way to the same store.
            ("shared-file:url", "sqlite:a.db", &[]),
            (r#", audit = "wait", queue_bytes = 65536"#, "", &["log.queue_bytes"]),
            (
                START,
                "issuer = 'https://a.example'\nserver.listen = '127.0.0.1:2'\nlog.level = 'warn'\nlog.audit = 'drop'",
                &["issuer", "store.url", "server.listen", "log.level", "log.audit", "log.queue_bytes"],
            ),
            // Taken over by a reload.
            ("issuer =", "tokens.backdate = '1s'\nissuer =", &[]),
        ] {
            let now = fixed(folder.path(), &START.replace(old, new)).unwrap();
            assert_eq!(start.differing(&now), keys, "{new}");
        }
        url("sqlite:b.db");
        assert_eq!(
            start.differing(&fixed(folder.path(), START).unwrap()),
            ["store.url"],
            "behind its reference"
        );
        std::fs::remove_file(folder.path().join("url")).unwrap();
        assert!(fixed(folder.path(), START).is_err_and(|why| why.message().contains("store.url")));
    }
}
