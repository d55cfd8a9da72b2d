//! The one place that writes to standard output and standard error. A closed pipe ends the program quietly.

use std::io::{self, Write};

/// A line on standard output.
pub(crate) fn line(text: &str) {
    if writeln!(io::stdout().lock(), "{text}").is_err() {
        // Nobody reads any more (`countersign keys list | head -1`).
        std::process::exit(0);
    }
}

/// A line on standard error.
pub(crate) fn error_line(text: &str) {
    // With standard error gone there is no one left to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
