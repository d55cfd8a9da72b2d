//! One file per command.

mod authorize;
mod client;
mod config;
mod decode;
mod exchange;
mod explain;
mod init;
mod keys;
pub(crate) mod publish;
mod sign;
mod store;
mod tokens;
mod verify;

use crate::{
    args::{Args, Command},
    config::{Config, Location},
    failure::{Exit, Outcome},
    serve,
};
use clap::CommandFactory;
use countersign_issuer::HttpIssuer;
use countersign_settings::{Environment, log};
use std::{io::IsTerminal, path::Path};

/// What libraries that carry requests with credentials may log at most: below that, AWS's client
/// shows whole requests and what they are signed with, and those under it what is on the wire.
pub(crate) const CARRIERS: [(&str, log::LevelFilter); 6] = [
    ("aws_", log::LevelFilter::WARN),
    ("h2", log::LevelFilter::WARN),
    ("hyper", log::LevelFilter::WARN),
    ("object_store", log::LevelFilter::WARN),
    ("reqwest", log::LevelFilter::WARN),
    ("rustls", log::LevelFilter::WARN),
];

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) json: bool,
    /// Whether records are wanted on a terminal, too.
    pub(crate) verbose: bool,
    pub(crate) http: HttpIssuer,
    pub(crate) location: Location,
}

impl Context<'_> {
    /// The configuration, with logging started as it says. Somebody at a terminal sees the result
    /// of a command and not its records, unless they are asked for; anywhere else they are written.
    pub(crate) async fn load(&self) -> Outcome<Config> {
        self.started(crate::config::load(&self.location, self.environment, self.http).await?)
    }

    /// A configuration that was read, with logging started as it says.
    pub(crate) fn started(&self, config: Config) -> Outcome<Config> {
        let mut log = config.raw.log.clone();
        log.level = self.quiet_level(&log.level);
        log::start_below(&log, &CARRIERS)?;
        Ok(config)
    }

    /// The level at which a terminal is shown no record of what it has asked for itself.
    pub(crate) fn quiet_level(&self, level: &str) -> String {
        let is_quiet = std::io::stderr().is_terminal() && !self.verbose;
        if is_quiet { format!("{level},countersign::audit=off") } else { level.to_owned() }
    }

    pub(crate) fn file(&self) -> &Path {
        self.location.file()
    }

    /// Whether there is a configuration to read: a file, or the environment alone.
    pub(crate) fn has_configuration(&self) -> bool {
        self.location.has_file() || self.location.is_environment()
    }
}

/// Runs the command that was asked for. What it has not said itself about its end is a `Failure`.
pub(crate) async fn run(args: Args, environment: &Environment) -> Outcome<Exit> {
    let context = Context {
        environment,
        json: args.json,
        verbose: args.verbose,
        http: if args.insecure_http_issuer { HttpIssuer::Insecure } else { HttpIssuer::LoopbackOnly },
        location: Location::find(args.config.as_deref(), environment),
    };
    match args.command {
        Command::Serve(args) => serve::run(&context, &args).await,
        Command::Init(args) => init::run(&context, &args).await,
        Command::Sign(args) => sign::run(&context, &args).await,
        Command::Verify(args) => verify::run(&context, &args).await,
        Command::Decode(args) => decode::run(&context, &args),
        Command::Authorize(args) => return authorize::run(&context, &args).await,
        Command::Explain(args) => return explain::run(&context, &args).await,
        Command::Keys(command) => keys::run(&context, command).await,
        Command::Store(command) => store::run(&context, &command).await,
        Command::Client(command) => client::run(&context, command).await,
        Command::Tokens(command) => tokens::run(&context, command).await,
        Command::Exchange(args) => return exchange::run(&context, &args).await,
        Command::Publish(args) => publish::run(&context, &args).await,
        Command::Config(command) => config::run(&context, &command).await,
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Args::command(), "countersign", &mut script);
            let script = String::from_utf8_lossy(&script);
            match context.json {
                true => crate::output::line(&serde_json::json!({ "script": script }).to_string()),
                false => crate::output::line(script.trim_end()),
            }
            Ok(())
        }
    }
    .map(|()| Exit::Done)
}
