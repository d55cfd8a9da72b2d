//! One file per command.

mod authorize;
mod client;
mod config;
mod explain;
mod init;
mod keys;
pub(crate) mod publish;
mod sign;
mod store;
mod verify;

use crate::{
    args::{Args, Command},
    config::Config,
    failure::{Exit, Outcome},
    remote, serve,
};
use clap::CommandFactory;
use countersign_issuer::HttpIssuer;
use countersign_settings::{Environment, log};
use std::path::{Path, PathBuf};

/// What libraries that carry requests with credentials may log at most: below that, AWS's client shows whole requests and what
/// they are signed with, and those under it what is on the wire.
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
    pub(crate) http: HttpIssuer,
    pub(crate) file: PathBuf,
}

impl Context<'_> {
    /// The configuration, with logging started as it says.
    pub(crate) async fn load(&self) -> Outcome<Config> {
        let config = crate::config::load(&self.file, self.environment, self.http).await?;
        log::start_below(&config.raw.log, &CARRIERS)?;
        Ok(config)
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Whether there is a configuration to read. One on AWS is taken to be there.
    pub(crate) fn has_file(&self) -> bool {
        remote::is_remote(&self.file) || self.file.exists()
    }
}

/// Runs the command that was asked for. What it has not said itself about its end is a `Failure`.
pub(crate) async fn run(args: Args, environment: &Environment) -> Outcome<Exit> {
    let context = Context {
        environment,
        json: args.json,
        http: if args.insecure_http_issuer { HttpIssuer::Insecure } else { HttpIssuer::LoopbackOnly },
        file: crate::config::locate(args.config.as_deref(), environment),
    };
    match args.command {
        Command::Serve(args) => serve::run(&context, &args).await,
        Command::Init(args) => init::run(&context, &args).await,
        Command::Sign(args) => sign::run(&context, &args).await,
        Command::Verify(args) => verify::run(&context, &args).await,
        Command::Authorize(args) => return authorize::run(&context, &args).await,
        Command::Explain(args) => return explain::run(&context, &args).await,
        Command::Keys(command) => keys::run(&context, command).await,
        Command::Store(command) => store::run(&context, &command).await,
        Command::Client(command) => client::run(&context, command),
        Command::Publish(args) => publish::run(&context, &args).await,
        Command::Config(command) => config::run(&context, &command).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "countersign", &mut script);
            crate::output::line(String::from_utf8_lossy(&script).trim_end());
            Ok(())
        }
    }
    .map(|()| Exit::Done)
}
