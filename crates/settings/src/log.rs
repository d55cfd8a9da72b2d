//! The log: for people on a terminal, JSON lines otherwise; always on standard error.
//!
//! A command writes each record before it goes on. A server hands its records to a thread of their
//! own ([`start_queued`]), so that a log that cannot be written stops neither keys nor health; what
//! then happens to requests whose record must not be lost is up to the callers of
//! [`Log::has_room`]. A level that is misspelt is refused, because it would silence the log. The
//! form of the lines is in `line`, the queue in `queue`, what is summed up in `flood`.

mod flood;
mod line;
mod queue;

use crate::SettingsError;
pub use flood::UNAUTHENTICATED;
use flood::{Flood, Summarised, Summary};
use line::JsonLines;
use queue::{Kind, Queue};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tracing::Metadata;
pub use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::{
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

/// The target of the audit: one record for every token, and for every request for one that was
/// refused.
const AUDIT: &str = "countersign::audit";
/// The target of events whose only copy is in the log. They are kept as the audit is.
pub const EVENTS: &str = "countersign::webhooks::event";
/// The target of the gate's refusals.
const GATE: &str = "countersign::gate";

/// The settings of the log as they are typed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawLog {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a list like `info,countersign::audit=off`.
    pub level: String,
    /// What a server does about its audit while the log cannot be written, or not as fast as it
    /// grows: `wait` (`/sign` waits a second and then answers 503, so that no token leaves without
    /// a record) or `drop` (tokens are minted, and the records that are lost are counted in
    /// `countersign_log_lost`). Keys and health are answered in either case.
    pub audit: WhenFull,
    /// How many bytes of records a server keeps in memory until they are written, 65536 to 67108864. A crash loses them.
    pub queue_bytes: usize,
}

impl Default for RawLog {
    fn default() -> Self {
        Self { level: "info".into(), audit: WhenFull::Wait, queue_bytes: 1 << 20 }
    }
}

impl RawLog {
    /// Whether a log could be started with these settings.
    ///
    /// # Errors
    ///
    /// [`SettingsError::LogLevel`] and [`SettingsError::LogQueue`].
    pub fn check(&self) -> Result<(), SettingsError> {
        if !(1 << 16..=1 << 26).contains(&self.queue_bytes) {
            return Err(SettingsError::LogQueue { bytes: self.queue_bytes });
        }
        match parse(&self.level) {
            Some(_) => Ok(()),
            None => Err(SettingsError::LogLevel { level: self.level.clone() }),
        }
    }

    /// Whether no event whose only copy is in the log ([`EVENTS`]) is left out or thrown away by
    /// these settings.
    pub fn keeps_events(&self) -> bool {
        let is_written = |level: Targets| level.would_enable(EVENTS, &tracing::Level::INFO);
        self.audit == WhenFull::Wait && parse(&self.level).is_some_and(is_written)
    }
}

/// What becomes of audit records that there is no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// Nothing is done that could not be recorded.
    Wait,
    /// They are lost, and counted.
    Drop,
}

/// Starts logging at `level`: `info`, or a list like `info,countersign::audit=off`. Each record is
/// written at once.
///
/// # Errors
///
/// [`SettingsError::LogLevel`] when `level` is neither, [`SettingsError::LogStarted`] the second
/// time.
pub fn start(level: &str) -> Result<(), SettingsError> {
    start_below(&RawLog { level: level.to_owned(), ..RawLog::default() }, &[])
}

/// Starts logging as `raw` says, but some targets never above a level of their own, whatever `raw`
/// says of them or of their parts. Each record is written at once.
///
/// # Errors
///
/// As [`start`].
pub fn start_below(raw: &RawLog, most: &[(&str, LevelFilter)]) -> Result<(), SettingsError> {
    let queue = Arc::new(Queue::new(0));
    let sink = Sink { queue: Arc::clone(&queue), when_full: raw.audit, direct: true };
    install(&raw.level, most, sink, None)?;
    let _ = STARTED.set(Log { queue, when_full: raw.audit });
    Ok(())
}

/// Starts logging as `raw` says, on a thread of its own; otherwise like [`start_below`].
///
/// # Errors
///
/// As [`start`]; also [`SettingsError::LogStarted`] when there is no thread to be had, and
/// [`SettingsError::LogQueue`].
pub fn start_queued(raw: &RawLog, most: &[(&str, LevelFilter)]) -> Result<Log, SettingsError> {
    raw.check()?;
    let not_started = |why: io::Error| SettingsError::LogStarted { why: why.to_string() };
    // Another handle than that of the standard library, whose lock others would wait for while the
    // thread is stuck.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned().map_err(not_started)?);
    let queue = Arc::new(Queue::new(raw.queue_bytes));
    let woken = Arc::clone(&queue);
    let flood = Arc::new(Flood::new(uptime, move || woken.wake()));
    let sink = Sink { queue: Arc::clone(&queue), when_full: raw.audit, direct: false };
    install(&raw.level, most, sink, Some(Summarised(Arc::clone(&flood))))?;
    let log = Log { queue: Arc::clone(&queue), when_full: raw.audit };
    let _ = STARTED.set(log.clone());
    let chores = chores(Arc::clone(&queue), flood);
    let thread = std::thread::Builder::new().name("log".to_owned());
    thread.spawn(move || queue.run(stderr, chores)).map_err(not_started)?;
    Ok(log)
}

static STARTED: OnceLock<Log> = OnceLock::new();

/// Waits until all that was logged is written, `within` at most. For the end of a program; `false`
/// when records are left.
pub fn flush(within: Duration) -> bool {
    STARTED.get().is_none_or(|log| log.queue.flush(within))
}

/// Whether a record of the audit was lost that must not be. For commands, which log before they
/// hand anything out.
pub fn is_audit_broken() -> bool {
    STARTED.get().is_some_and(|log| log.when_full == WhenFull::Wait && log.lost().0 > 0)
}

/// How many records of the audit were lost that must not be. For callers that log before they hand
/// something out, time and again.
pub fn audit_lost() -> u64 {
    let log = STARTED.get().filter(|log| log.when_full == WhenFull::Wait);
    log.map_or(0, |log| log.lost().0)
}

/// A log that is written by a thread of its own.
#[derive(Debug, Clone)]
pub struct Log {
    queue: Arc<Queue>,
    when_full: WhenFull,
}

impl Log {
    /// Whether something may be done now that has to be recorded. Its record is then taken, however
    /// full the queue is by then.
    pub fn has_room(&self) -> bool {
        self.when_full == WhenFull::Drop || self.queue.has_room()
    }

    /// Ends when [`Log::has_room`].
    pub async fn room(&self) {
        if self.when_full == WhenFull::Wait {
            self.queue.room().await;
        }
    }

    /// How many records of the audit, and how many others, were lost because the queue was full.
    pub fn lost(&self) -> (u64, u64) {
        self.queue.lost()
    }

    /// How many bytes of records are kept until they are written, at most.
    pub fn queue_bytes(&self) -> usize {
        self.queue.max_bytes()
    }

    /// Bytes of records that are not written yet.
    pub fn unwritten(&self) -> usize {
        self.queue.unwritten()
    }
}

/// Where lines go.
#[derive(Debug, Clone)]
struct Sink {
    queue: Arc<Queue>,
    when_full: WhenFull,
    direct: bool,
}

impl Sink {
    fn push(&self, kind: Kind, line: &[u8]) {
        if !self.direct {
            self.queue.push(kind, line);
        } else if io::stderr().lock().write_all(line).is_err() {
            self.queue.count_lost(kind);
        }
    }

    fn kind(&self, metadata: &Metadata<'_>) -> Kind {
        match self.when_full {
            _ if metadata.target() != AUDIT && metadata.target() != EVENTS => Kind::Other,
            WhenFull::Wait if metadata.name() != UNAUTHENTICATED => Kind::Admitted,
            WhenFull::Wait | WhenFull::Drop => Kind::Audit,
        }
    }
}

fn install(
    level: &str,
    most: &[(&str, LevelFilter)],
    sink: Sink,
    flood: Option<Summarised>,
) -> Result<(), SettingsError> {
    let filter = parse(level).ok_or_else(|| SettingsError::LogLevel { level: level.to_owned() })?;
    let most = Targets::new().with_default(LevelFilter::TRACE).with_targets(most.iter().copied());
    let registry = tracing_subscriber::registry().with(filter).with(most).with(flood);
    let started = if io::stderr().is_terminal() {
        registry.with(fmt::layer().with_writer(ForPeople(sink)).with_target(false)).try_init()
    } else {
        registry.with(JsonLines(sink)).try_init()
    };
    started.map_err(|why: TryInitError| SettingsError::LogStarted { why: why.to_string() })
}

/// Makes the writer of one record in the form for people.
struct ForPeople(Sink);

impl<'a> MakeWriter<'a> for ForPeople {
    type Writer = Record<'a>;

    fn make_writer(&'a self) -> Record<'a> {
        Record { sink: &self.0, kind: Kind::Other }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Record<'a> {
        Record { sink: &self.0, kind: self.0.kind(metadata) }
    }
}

/// Takes one record, which comes as a whole.
struct Record<'a> {
    sink: &'a Sink,
    kind: Kind,
}

impl Write for Record<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.sink.push(self.kind, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the thread does besides: it sums up what was held back, and tells what was lost once it can
/// be told.
fn chores(queue: Arc<Queue>, flood: Arc<Flood>) -> impl FnMut() -> Option<Duration> {
    let mut told = (0, 0);
    move || {
        let (summaries, again) = flood.due();
        for Summary { target, refusals, codes, addresses } in summaries {
            let about = "more refusals than are logged one by one";
            // The target of an event is a constant.
            if target == AUDIT {
                tracing::warn!(target: AUDIT, decision = "refused", refusals, codes, addresses, "{about}");
            } else {
                tracing::info!(target: GATE, decision = "deny", refusals, codes, addresses, "{about}");
            }
        }
        let lost = queue.lost();
        if lost != told && queue.unwritten() == 0 {
            let (audit, other) = (lost.0 - told.0, lost.1 - told.1);
            tracing::error!(audit, other, "records of the log were lost, because it could not be written");
            told = lost;
        }
        again
    }
}

#[expect(clippy::disallowed_methods, reason = "how often something is logged decides nothing else")]
fn uptime() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// `Targets` takes any word for the name of a target, so a misspelt level would silence the log,
/// the audit included.
fn parse(level: &str) -> Option<Targets> {
    let is_level = |word: &str| !word.trim().is_empty() && word.trim().parse::<LevelFilter>().is_ok();
    let well_formed = level.split(',').all(|item| match item.split_once('=') {
        Some((target, level)) => !target.trim().is_empty() && is_level(level),
        None => is_level(item),
    });
    level.parse().ok().filter(|_| well_formed)
}

#[cfg(test)]
mod tests;
