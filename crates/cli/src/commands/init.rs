//! `countersign init`: the configuration, store, sealing key and first client, without serving.

use super::Context;
use crate::{
    args::InitArgs,
    failure::{Outcome, refused, usage},
    output, scaffold,
};
use countersign_issuer::IssuerUrl;
use countersign_settings::log;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(super) async fn run(context: &Context<'_>, args: &InitArgs) -> Outcome {
    log::start("warn")?;
    scaffold::refuse_existing(context.file())?;
    if args.algorithm.is_symmetric() {
        return Err(usage(
            "an issuer whose keys are published needs an asymmetric algorithm, like RS256 or ES256",
        ));
    }
    let issuer = args.issuer.clone().unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    let parsed = IssuerUrl::parse(&issuer, context.http).map_err(|why| usage(format!("--issuer: {why}")))?;
    let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), parsed.loopback_port().unwrap_or(8080));
    let plan = scaffold::Plan {
        file: context.file(),
        issuer,
        listen,
        algorithm: args.algorithm,
        http: context.http,
    };
    let Some(client) = scaffold::create(&plan, context.environment).await? else {
        return Err(refused("already_there", "another program made the configuration at the same moment"));
    };
    if context.json {
        output::line(&client.json().to_string());
    } else {
        output::line(&format!(
            "Made {}.\nissuer: {}\n\nStart it with `countersign serve`, then mint a token (this secret is shown only once):\n  {}",
            context.file().display(),
            client.issuer,
            client.curl(),
        ));
    }
    Ok(())
}
