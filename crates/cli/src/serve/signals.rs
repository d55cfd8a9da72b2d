//! Signals: which of them stop the server, which reload it, and which do nothing.
//!
//! SIGTERM and SIGQUIT drain and stop, Ctrl-C (SIGINT) stops without draining, SIGHUP reloads. The
//! others that would end the process by default are told in the log and do nothing, so that a habit
//! (`kill -USR1` after log rotation) ends no authority. SIGXFSZ is among them: a write above the
//! file size limit then fails with EFBIG, which the store reports, instead of killing the process.
//! SIGPIPE is ignored by Rust's runtime.

use crate::failure::{Outcome, internal};
use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How the server is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    /// The signal that said so.
    pub(super) signal: &'static str,
    /// Whether others are still sending requests, and are to see that it goes: nobody sits at a
    /// terminal and waits.
    pub(super) drains: bool,
}

impl Stop {
    const fn by(signal: &'static str, drains: bool) -> Asked {
        Asked::Stop(Self { signal, drains })
    }
}

/// What somebody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Stop(Stop),
    Reload,
}

/// Signals that neither stop nor reload. They are caught from the first moment on, also while the
/// server starts.
#[derive(Debug)]
pub(super) struct Harmless {
    hangup: Signal,
    user1: Signal,
    user2: Signal,
    alarm: Signal,
    file_size: Signal,
}

impl Harmless {
    /// From here on none of them ends the process.
    pub(super) fn install() -> Outcome<Self> {
        Ok(Self {
            hangup: caught(SignalKind::hangup())?,
            user1: caught(SignalKind::user_defined1())?,
            user2: caught(SignalKind::user_defined2())?,
            alarm: caught(SignalKind::alarm())?,
            file_size: caught(SignalKind::from_raw(Number::XFSZ.as_raw()))?,
        })
    }
}

/// All signals that are caught.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
    harmless: Harmless,
}

fn caught(kind: SignalKind) -> Outcome<Signal> {
    signal(kind).map_err(internal)
}

impl Signals {
    /// From here on those that stop the server no longer end the process by themselves.
    pub(super) fn install(harmless: Harmless) -> Outcome<Self> {
        Ok(Self {
            terminate: caught(SignalKind::terminate())?,
            quit: caught(SignalKind::quit())?,
            interrupt: caught(SignalKind::interrupt())?,
            harmless,
        })
    }

    /// The next one that asks for something.
    pub(super) async fn asked(&mut self) -> Asked {
        loop {
            let harmless = &mut self.harmless;
            let told = tokio::select! {
                _ = self.terminate.recv() => return Stop::by("SIGTERM", true),
                _ = self.quit.recv() => return Stop::by("SIGQUIT", true),
                _ = self.interrupt.recv() => return Stop::by("SIGINT", false),
                _ = harmless.hangup.recv() => return Asked::Reload,
                _ = harmless.user1.recv() => "SIGUSR1",
                _ = harmless.user2.recv() => "SIGUSR2",
                _ = harmless.alarm.recv() => "SIGALRM",
                _ = harmless.file_size.recv() => {
                    tracing::error!("SIGXFSZ: a file could not grow beyond the limit of this process (LimitFSIZE, ulimit -f)");
                    continue;
                }
            };
            tracing::info!(
                "{told} was ignored; SIGTERM stops this server and SIGHUP reloads its configuration"
            );
        }
    }

    /// The next one that asks to stop.
    pub(super) async fn stop(&mut self) -> Stop {
        loop {
            match self.asked().await {
                Asked::Stop(stop) => return stop,
                Asked::Reload => tracing::warn!("SIGHUP was ignored: this server is reloading or stopping"),
            }
        }
    }
}
