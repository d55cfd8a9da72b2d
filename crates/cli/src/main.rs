//! The binary `countersign`: reads the command line, runs one command and turns its outcome into an
//! exit code.
//!
//! Exit codes are those of `failure::Exit`; they say what the command came to, whatever became of
//! its output. The environment is read once, here, and passed down, so that nothing depends on it
//! in secret.

mod address;
mod args;
mod authority;
mod checks;
mod client_entry;
mod commands;
mod config;
mod failure;
mod files;
mod hints;
mod journal;
mod kms;
mod output;
mod pasted;
mod remote;
mod rotation;
mod scaffold;
mod serve;
mod stores;

use args::Args;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use countersign_settings::{Environment, log};
use failure::{Exit, internal};
use rustix::process::Signal;
use std::{process::ExitCode, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// How long the end of the program waits for a log that cannot be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let environment = Environment::of_process();
    // Lambda starts `bootstrap` without arguments.
    let is_function = std::env::args_os().nth(1).is_none() && serve::is_function(&environment);
    let command = args::help::of(Args::command());
    let matches = match is_function {
        true => command.try_get_matches_from(["countersign", "serve"]),
        false => command.try_get_matches(),
    };
    let read = |matches: ArgMatches| Ok((words(&matches), Args::from_arg_matches(&matches)?));
    let exit = match matches.and_then(read) {
        Ok((words, args)) => {
            journal::begin(by(&words, &environment), words);
            run(args, &environment)
        }
        Err(why) if why.use_stderr() => {
            // What was typed could not be read, so neither could this option.
            let json = std::env::args_os().any(|argument| argument == "--json");
            failure::report_usage(why.to_string().trim_end(), json)
        }
        // --help and --version.
        Err(text) => {
            output::line(text.to_string().trim_end());
            Exit::Done
        }
    };
    output::exit_code(exit).into()
}

/// The words of the command, without what is given to it: `keys activate`.
fn words(matches: &ArgMatches) -> String {
    match matches.subcommand() {
        Some((name, below)) => format!("{name} {}", words(below)).trim_end().to_owned(),
        None => String::new(),
    }
}

/// What this process is to the audit.
fn by(words: &str, environment: &Environment) -> &'static str {
    match words {
        "serve" if serve::is_function(environment) => "function",
        "serve" => "server",
        _ => "command",
    }
}

fn run(args: Args, environment: &Environment) -> Exit {
    let json = args.json;
    hints::begin(args.config.as_deref());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return failure::report(&internal(format!("no async runtime: {why}")), json),
    };
    let outcome = runtime.block_on(async {
        // Caught, a write beyond the file size limit fails like one on a full disk instead of
        // ending the program.
        let _caught = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map_err(internal)?;
        commands::run(args, environment).await
    });
    log::flush(LAST_WORDS);
    // Not dropped: that takes tasks away one by one, and a driver's task panics when it finds
    // another of its own gone. All that a command waits for is done.
    std::mem::forget(runtime);
    match outcome {
        Ok(exit) => exit,
        Err(why) => failure::report(&why.unless_away(environment), json),
    }
}
