//! The one place that writes to standard output and standard error.
//!
//! What a command has to say and what became of its saying are two things. A command prints what it
//! has and goes on; the first thing that could not be written is kept, and [`exit_code`] turns it
//! into the program's end, for every command alike: a success becomes a failure, a failure stays
//! the failure it is. A pipe that was closed is no error, because anyone who closed it has read
//! enough (`countersign keys list | head -1`); the outcome then has its own exit code. Pinned by
//! `tests/e2e/test_exit_codes.py`.

use crate::failure::Exit;
use std::{
    io::{self, Write},
    sync::OnceLock,
};

/// The first thing that went wrong with standard output.
static BROKEN: OnceLock<io::Error> = OnceLock::new();

/// A line on standard output.
pub(crate) fn line(text: &str) {
    if BROKEN.get().is_none()
        && let Err(why) = try_line(text)
    {
        let _ = BROKEN.set(why);
    }
}

/// A line on standard output that nothing depends on.
pub(crate) fn try_line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// A number with what it is of, in the singular or in the plural that an `s` makes.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A line on standard error.
pub(crate) fn error_line(text: &str) {
    // With standard error gone there is no one left to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// How the program ends whose command ended so, now that all is printed.
pub(crate) fn exit_code(outcome: Exit) -> Exit {
    let Some(why) = BROKEN.get().filter(|why| why.kind() != io::ErrorKind::BrokenPipe) else {
        return outcome;
    };
    error_line(&format!("countersign: standard output cannot be written: {why}"));
    match outcome {
        Exit::Done => Exit::Internal,
        other => other,
    }
}
