//! The binary `countersign`: reads the command line, runs one command and turns its outcome into an exit code.
//!
//! Exit codes: 0 done, 1 refused (a token, a check), 2 usage, 78 bad configuration, 70 internal (sysexits.h).
//! The environment is read once, here, and passed down, so that nothing depends on it in secret.

mod args;
mod authority;
mod checks;
mod commands;
mod config;
mod failure;
mod files;
mod kms;
mod output;
mod rotation;
mod scaffold;
mod serve;
mod stores;

use args::Args;
use clap::Parser;
use countersign_settings::Environment;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    let json = args.json;
    let environment = Environment::of_process();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return failure::report(&failure::internal(format!("no async runtime: {why}")), json),
    };
    match runtime.block_on(commands::run(args, &environment)) {
        Ok(code) => code,
        Err(why) => failure::report(&why, json),
    }
}
