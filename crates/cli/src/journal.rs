//! The audit of the keys: one record for every change of a key that this process makes, with who
//! made it.
//!
//! Target `countersign::audit`, `decision = "key_changed"`. It says names, states, algorithm and
//! fingerprints, never key material. On a terminal the commands of `keys` print no record unless
//! `--verbose` asks for it; anywhere else they write each before their result, and a server always
//! does. Pinned by tests/e2e/test_key_audit.py.

use countersign_keyring::{Journal, KeyChange, Outcome, What};
use std::sync::{Arc, OnceLock};

/// What this process is, as far as the audit is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Author {
    /// `server`, `function` or `command`.
    pub(crate) by: &'static str,
    /// The words of the command: `keys activate`.
    pub(crate) command: String,
    /// The account it runs as.
    pub(crate) user: String,
    /// The account that somebody logged in with, where it is another (`sudo`).
    pub(crate) login: Option<String>,
}

/// There is one author for each process.
static AUTHOR: OnceLock<Author> = OnceLock::new();

/// Says who changes keys from now on. Only the first call counts.
pub(crate) fn begin(by: &'static str, command: String) {
    let uid = rustix::process::geteuid().as_raw();
    let login = std::fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| login_uid(&text));
    let names = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = |uid| account(&names, uid).map_or_else(|| uid.to_string(), str::to_owned);
    let login = login.filter(|login| *login != uid).map(name);
    let _ = AUTHOR.set(Author { by, command, user: name(uid), login });
}

/// What the kernel noted when somebody logged in; the highest number stands for nobody.
fn login_uid(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}

/// The name of an account in the form of passwd(5).
fn account(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// Writes the records.
#[derive(Debug)]
struct Audit {
    reason: Option<&'static str>,
}

/// What records changes; `reason` says why they are made where that is not the command itself.
pub(crate) fn of(reason: Option<&'static str>) -> Arc<dyn Journal> {
    Arc::new(Audit { reason })
}

impl Journal for Audit {
    fn changed(&self, change: &KeyChange, outcome: Outcome) {
        let KeyChange { kid, place, what, from, to } = change;
        let (from_ring, sealing_key) = match what {
            What::Moved { from } => (Some(from.as_str()), None),
            What::Resealed { sealing_key } => (None, Some(sealing_key.as_str())),
            What::Added | What::State | What::Revoked | What::Removed => (None, None),
            What::TimesCorrected | What::LossAccepted => (None, None),
        };
        let author = AUTHOR.get();
        tracing::info!(
            target: "countersign::audit",
            decision = "key_changed",
            change = what.name(),
            ring = place.as_ref().map(|(ring, _)| ring.as_str()),
            kid,
            alg = place.as_ref().map(|(_, algorithm)| tracing::field::display(algorithm)),
            from = from.unwrap_or("none"),
            to = to.unwrap_or("none"),
            from_ring,
            sealing_key,
            by = author.map_or("command", |author| author.by),
            command = author.map(|author| author.command.as_str()),
            user = author.map(|author| author.user.as_str()),
            login = author.and_then(|author| author.login.as_deref()),
            reason = self.reason,
            outcome = match outcome {
                Outcome::Made => "made",
                Outcome::Unknown => "unknown",
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_named_as_passwd_names_it() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\n\n:x:7:\nbroken\nalice:x:1000:1000::/home/alice:/bin/sh\n";
        for (uid, name) in [(0, Some("root")), (1000, Some("alice")), (7, None), (100, None)] {
            assert_eq!(account(passwd, uid), name);
        }
    }

    #[test]
    fn nobody_has_logged_in_where_the_kernel_says_so() {
        for (text, uid) in
            [("4294967295", None), ("1000", Some(1000)), ("0\n", Some(0)), ("", None), ("x", None)]
        {
            assert_eq!(login_uid(text), uid, "{text:?}");
        }
    }
}
