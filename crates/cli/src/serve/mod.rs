//! `countersign serve`: read the configuration, build everything, then bind and run; stop without cutting anyone off.

mod audit_log;
mod gate;
mod listener;
mod peer;
mod refresh;
mod rotator;

use crate::{
    args::ServeArgs,
    authority::{self, Authority},
    commands::{CARRIERS, Context},
    config::Config,
    failure::{Outcome, configuration, internal},
    output,
    rotation::Rotation,
    scaffold,
};
use audit_log::ServerLog;
use countersign_issuer::http;
use countersign_settings::log::{self, Log, RawLog};
use gate::GateRoute;
use ipnet::IpNet;
use listener::Listener;
use refresh::Refresh;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

/// Where a server without a configuration listens.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

pub(crate) async fn run(context: &Context<'_>, args: &ServeArgs) -> Outcome {
    let started = if context.file().exists() { None } else { Some(first_run(context, args).await?) };
    let mut config = crate::config::load(context.file(), context.environment, context.http)?;
    let (log, first, bound) = match started {
        Some(FirstRun { log, client, socket }) => (log, client, Some(socket)),
        None => (log::start_queued(&config.raw.log, &CARRIERS)?, None, None),
    };
    let authority = Authority::open(&config, context.environment).await?;
    let keyring = authority.load(&config).await?;
    let socket = match bound {
        Some(socket) => socket,
        None => bind(args.listen.unwrap_or(config.listen)).await?,
    };
    let address = socket.local_addr().map_err(configuration)?;
    if config.issuer.loopback_port().is_some_and(|port| port != address.port()) {
        tracing::warn!("the issuer is {}, but this server listens on {address}", config.issuer);
    }
    let listener = Listener {
        limits: config.limits,
        trusted_proxies: config.trusted_proxies.clone(),
        metrics_allow: config.metrics_allow.clone(),
        gate: gate_route(&mut config, &authority),
    };
    let rotation = Rotation::new(&config, &authority);
    let refresh = Refresh {
        keyring: authority.keyring.clone(),
        every: config.refresh,
        jaas_key: config.jaas_key.clone(),
        rotation: rotation.clone(),
        clock: Arc::clone(&authority.clock),
    };
    let issuer = authority::issuer(config, keyring, Arc::clone(&authority.clock))?;
    let issuer = Arc::new(issuer.with_audit_log(Arc::new(ServerLog(log))));
    for profile in issuer.profiles_without_key() {
        tracing::warn!(
            profile,
            "this profile has no key to sign with; bring one in with `countersign keys import`"
        );
    }
    refresh.shorten_max_age(&issuer);
    // Before anyone is told that the server runs.
    let stop = StopSignal::install()?;
    announce(context, &issuer, address, first.as_ref());

    let metrics_allow = listener.metrics_allow.clone();
    let may_read_metrics = move |address: IpAddr| contains(&metrics_allow, address);
    let routes = http::Routes::new(Arc::clone(&issuer), Arc::new(may_read_metrics));
    let refresher = tokio::spawn(refresh.run(Arc::clone(&issuer)));
    let rotator = tokio::spawn(rotator::run(rotation, authority.clock));
    listener.run(socket, routes, issuer, stop.received()).await;
    refresher.abort();
    rotator.abort();
    tracing::info!("stopped");
    Ok(())
}

/// The gate, where proxies may ask it.
fn gate_route(config: &mut Config, authority: &Authority) -> Option<GateRoute> {
    let gate = config.gate.take()?;
    for warning in &gate.warnings {
        tracing::warn!("{warning}");
    }
    let issuer_path = config.issuer.path().to_owned();
    let forward_auth = gate.into_forward_auth()?;
    Some(GateRoute { forward_auth, clock: Arc::clone(&authority.clock), issuer_path })
}

/// What a server without a configuration has made.
struct FirstRun {
    log: Log,
    client: Option<scaffold::FirstClient>,
    socket: TcpListener,
}

/// Makes a configuration for the address that is really bound, so that the issuer's port is true.
async fn first_run(context: &Context<'_>, args: &ServeArgs) -> Outcome<FirstRun> {
    let log = log::start_queued(&RawLog::default(), &CARRIERS)?;
    let socket = bind(args.listen.unwrap_or(DEFAULT_LISTEN)).await?;
    let listen = socket.local_addr().map_err(configuration)?;
    let host = match listen.ip() {
        IpAddr::V6(ip) if ip.is_loopback() => "[::1]".to_owned(),
        _ => "127.0.0.1".to_owned(),
    };
    let plan = scaffold::Plan {
        file: context.file(),
        issuer: format!("http://{host}:{}", listen.port()),
        listen,
        algorithm: countersign_jose::Algorithm::RS256,
        http: context.http,
    };
    let client = scaffold::create(&plan, context.environment).await?;
    Ok(FirstRun { log, client, socket })
}

async fn bind(address: SocketAddr) -> Outcome<TcpListener> {
    TcpListener::bind(address).await.map_err(|why| match why.kind() {
        std::io::ErrorKind::AddrInUse => configuration(format!(
            "another program listens on {address}; stop it, or choose another address with --listen 127.0.0.1:PORT"
        )),
        _ => configuration(format!("can not listen on {address}: {why}")),
    })
}

fn announce(
    context: &Context<'_>,
    issuer: &countersign_issuer::Issuer,
    address: SocketAddr,
    first: Option<&scaffold::FirstClient>,
) {
    let url = &issuer.settings().issuer;
    let text = if context.json {
        let mut body =
            first.map_or_else(|| serde_json::json!({ "issuer": url.as_str() }), |first| first.json());
        if let Some(body) = body.as_object_mut() {
            body.insert("listen".into(), address.to_string().into());
        }
        body.to_string()
    } else {
        let next = match first {
            Some(first) => format!(
                "\nMade {}. Mint a first token (this secret is shown only once):\n  {}\n",
                context.file().display(),
                first.curl(),
            ),
            None => "Make a client with `countersign client new`; Ctrl-C stops the server.".to_owned(),
        };
        format!("issuer: {url}\nlistening on {address}\n{next}")
    };
    // The server does not depend on anyone reading this.
    if let Err(why) = output::try_line(&text) {
        let lost = if first.is_some() {
            "; make a client whose secret you see with `countersign client new`"
        } else {
            ""
        };
        tracing::warn!("standard output cannot be written: {why}; the server runs{lost}");
    }
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Ctrl-C, or SIGTERM from a supervisor.
struct StopSignal {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignal {
    /// From here on the two signals no longer end the process by themselves.
    fn install() -> Outcome<Self> {
        let install = |kind| signal(kind).map_err(internal);
        Ok(Self {
            interrupt: install(SignalKind::interrupt())?,
            terminate: install(SignalKind::terminate())?,
        })
    }

    /// Ends when one of them has come.
    async fn received(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
