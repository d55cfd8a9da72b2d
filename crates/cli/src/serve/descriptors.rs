//! Open files: the process takes all it may have, and connections never use up the last ones.
//!
//! A server without a free descriptor can neither connect to its store again nor read its sealing
//! key, so some are kept back for everything that is not a connection of a client (`RESERVE`). The
//! limit is the kernel's `RLIMIT_NOFILE`; nothing here lowers it. Called once at start and on each
//! reload.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for store, log, key documents of others and the files of the configuration.
const RESERVE: usize = 64;

/// Raises the soft limit to the hard one and returns what the process may have open; `None` is no
/// limit.
pub(super) fn raise_limit() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = match limit.current == limit.maximum || setrlimit(Resource::Nofile, raised).is_ok() {
        true => limit.maximum,
        false => limit.current,
    };
    now.map(|files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// How many connections there may be with `files` open files, if `wanted` is the setting. Fewer
/// than wanted is told.
pub(super) fn connections(wanted: usize, files: Option<usize>) -> usize {
    let Some(files) = files else { return wanted };
    // With very few files half of them has to do.
    let most = files.saturating_sub(RESERVE).max(files / 2).max(1);
    if wanted <= most {
        return wanted;
    }
    tracing::warn!(
        "limits.connections is {wanted}, but this process may open only {files} files (RLIMIT_NOFILE), of which {} are \
         kept for the store and the log; {most} connections are allowed: raise LimitNOFILE or ulimit -n, or lower \
         limits.connections",
        files - most
    );
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_store() {
        for (wanted, files, expected) in [
            (1024, None, 1024),
            (1024, Some(20_000), 1024),
            (1024, Some(1088), 1024),
            (1024, Some(1087), 1023),
            (1024, Some(1024), 960),
            (1024, Some(64), 32),
            (1024, Some(1), 1),
            (2, Some(64), 2),
        ] {
            assert_eq!(connections(wanted, files), expected, "{wanted} of {files:?}");
        }
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let files = raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(files.map(|files| files as u64), limit.maximum);
    }
}
