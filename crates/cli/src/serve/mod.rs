//! `countersign serve`: read the configuration, build everything, then bind and run; reload; stop
//! without cutting anyone off.
//!
//! `running` is what a configuration is at work and how another takes its place, `listener` the
//! port and its connections, `signals` who asks for what. On AWS Lambda `function` takes their
//! place. Pinned by `tests/e2e/test_shutdown_and_limits.py` and its neighbours.

mod audit_log;
mod descriptors;
mod endpoints;
#[cfg(feature = "lambda")]
mod function;
mod gate;
mod link;
mod listener;
mod peer;
mod refresh;
mod request;
mod rotator;
mod running;
mod signals;
mod site;
mod started;
mod stream;
mod table;

use crate::{
    args::ServeArgs,
    authority::Authority,
    commands::{CARRIERS, Context},
    failure::{Outcome, configuration},
    files, hints, output, scaffold,
};
use audit_log::ServerLog;
use countersign_settings::{
    Environment,
    log::{self, Log, RawLog},
};
use running::{Origin, Running};
use signals::{Asked, Harmless, Signals};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::net::{TcpListener, TcpSocket};

/// Where a server without a configuration listens.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

pub(crate) async fn run(context: &Context<'_>, args: &ServeArgs) -> Outcome {
    if is_function(context.environment) {
        return as_function(context).await;
    }
    let harmless = Harmless::install()?;
    files::sweep(context.file());
    let started = if context.has_configuration() { None } else { Some(first_run(context, args).await?) };
    let config = crate::config::load(&context.location, context.environment, context.http).await?;
    let (log, first, bound) = match started {
        Some(FirstRun { log, client, socket }) => (log, client, Some(socket)),
        None => (log::start_queued(&config.raw.log, &CARRIERS)?, None, None),
    };
    let authority = Authority::open(&config, context.environment).await?;
    let keyring = authority.load(&config).await?;
    let socket = match bound {
        Some(socket) => socket,
        None => bind(args.listen.unwrap_or(config.listen))?,
    };
    let address = socket.local_addr().map_err(configuration)?;
    config.warn_of_other_port(address);
    let log = Arc::new(ServerLog(log));
    let place = started::Place::of(&config, context.environment, context.location.shown());
    let built = running::build(config, authority, keyring, Origin::Start(log), context.environment)?;
    let mut running = Running::start(built);
    // Before anyone is told that the server runs.
    let mut signals = Signals::install(harmless)?;
    announce(context, &running.server.site().issuer, address, first.as_ref());
    started::tell(&place, &running.server.site().issuer, &address.to_string());
    let door = running.server.open(socket);
    let stop = loop {
        match signals.asked().await {
            Asked::Stop(stop) => break stop,
            Asked::Reload => tokio::select! {
                () = running.reload(context) => {}
                stop = signals.stop() => break stop,
            },
        }
    };
    door.close(stop, running.drain, &mut signals).await;
    tracing::info!(signal = stop.signal, "stopped");
    Ok(())
}

/// Whether this process is a Lambda function, which gets its requests from the runtime API and not
/// on a port.
pub(crate) fn is_function(environment: &Environment) -> bool {
    environment.get("AWS_LAMBDA_RUNTIME_API").is_some()
}

#[cfg(feature = "lambda")]
async fn as_function(context: &Context<'_>) -> Outcome {
    function::run(context).await
}

#[cfg(not(feature = "lambda"))]
#[expect(clippy::unused_async, reason = "as it is where Lambda is known")]
async fn as_function(_: &Context<'_>) -> Outcome {
    Err(configuration(
        "AWS_LAMBDA_RUNTIME_API is set, and this program was built without AWS Lambda; use one that was built with --features lambda",
    ))
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
    let socket = bind(args.listen.unwrap_or(DEFAULT_LISTEN))?;
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
        key: None,
        clients: scaffold::FirstClients::One,
    };
    let made = scaffold::create(&plan, context.environment).await?;
    let client = made.and_then(|made| made.client);
    Ok(FirstRun { log, client, socket })
}

/// How much the kernel takes of answers that are not read. Enough for any document, and too little
/// to fill memory with.
const SEND_BUFFER: u32 = 64 * 1024;
/// Connections that wait in the kernel until they are accepted.
const BACKLOG: u32 = 1024;

fn bind(address: SocketAddr) -> Outcome<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A port that was just closed may be taken again.
        socket.set_reuseaddr(true)?;
        // Connections have it from the socket they are accepted on.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|why: std::io::Error| match why.kind() {
        std::io::ErrorKind::AddrInUse => configuration(format!(
            "another program listens on {address}; stop it, or choose another address with --listen 127.0.0.1:PORT"
        )),
        std::io::ErrorKind::PermissionDenied => configuration(format!(
            "cannot listen on {address}: {why}; ports below 1024 are for root, or for a unit with \
             AmbientCapabilities=CAP_NET_BIND_SERVICE: choose another with --listen {0}:8080, and put a proxy in front",
            host(address)
        )),
        std::io::ErrorKind::AddrNotAvailable => configuration(format!(
            "cannot listen on {address}: {why}; no network of this machine has this address (`ip address` shows which there are); \
             127.0.0.1:{0} is this machine alone, 0.0.0.0:{0} every network of it",
            address.port()
        )),
        _ => configuration(format!("cannot listen on {address}: {why}")),
    })
}

/// An IP address as it stands in front of a port.
fn host(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V6(ip) => format!("[{ip}]"),
        IpAddr::V4(ip) => ip.to_string(),
    }
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
            None if issuer.settings().clients.iter().next().is_none() => {
                hints::carry(
                    "Nobody may ask for tokens yet; make a client with `countersign client new`. Ctrl-C stops the server.",
                )
                .into_owned()
            }
            None => "Ctrl-C stops the server.".to_owned(),
        };
        format!("issuer: {url}\nlistening on {address}\n{next}")
    };
    // The server does not depend on anyone reading this.
    if let Err(why) = output::try_line(&text) {
        let lost = if first.is_some() {
            hints::carry("; make a client whose secret you see with `countersign client new`")
        } else {
            "".into()
        };
        tracing::warn!("standard output cannot be written: {why}; the server runs{lost}");
    }
}
