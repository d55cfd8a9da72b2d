//! The statements of the SQL engines: the same text on SQLite and on Postgres.
//!
//! Every change is one statement whose `WHERE` carries the expectation, so the engine's own locks
//! make it a compare-and-set. Versions are made by the writer, so none needs `RETURNING`. SQLite
//! lets one writer in at a time. Postgres runs them at READ COMMITTED: a statement that waited for
//! another's change of the row looks at its `WHERE` again, on the row as it is then, so no
//! expectation is ever judged by what was there before. Only conditions on the row itself are
//! looked at again, which is why [`SWEEP`] says twice what it removes.
//!
//! The engines' `schema.rs` make the table. Keys are compared byte by byte there.

/// `$1` key, `$2` now.
pub(crate) const GET: &str = "SELECT version, bytes, expires_at FROM documents \
     WHERE key = $1 AND (expires_at IS NULL OR expires_at > $2)";

/// `$1` key, `$2` version, `$3` bytes, `$4` expiry, `$5` now. An expired document counts as absent
/// and is replaced in place.
pub(crate) const CREATE: &str = "INSERT INTO documents (key, version, bytes, expires_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (key) DO UPDATE SET version = excluded.version, bytes = excluded.bytes, \
     expires_at = excluded.expires_at WHERE documents.expires_at <= $5";

/// As [`CREATE`], and `$6` the version that has to be there.
pub(crate) const REPLACE: &str = "UPDATE documents SET version = $2, bytes = $3, expires_at = $4 \
     WHERE key = $1 AND version = $6 AND (expires_at IS NULL OR expires_at > $5)";

/// `$1` key, `$2` version.
pub(crate) const DELETE: &str = "DELETE FROM documents WHERE key = $1 AND version = $2";

/// `$1` key, `$2` now.
pub(crate) const IS_LIVE: &str =
    "SELECT 1 FROM documents WHERE key = $1 AND (expires_at IS NULL OR expires_at > $2)";

/// `$1` prefix, `$2` its end, `$3` now. A range and not `LIKE`: no wildcards, and the index is
/// used.
pub(crate) const LIST: &str = "SELECT key FROM documents WHERE key >= $1 AND key < $2 \
     AND (expires_at IS NULL OR expires_at > $3) ORDER BY key";

/// Where the keys that start with `prefix` end: all bytes of a key are below 0x7F.
pub(crate) fn end_of(prefix: &str) -> String {
    format!("{prefix}\u{7f}")
}

/// `$1` cutoff, `$2` how many. Without the second condition on the expiry, Postgres would remove a
/// document that took an expired one's place after the inner `SELECT` had found that.
pub(crate) const SWEEP: &str = "DELETE FROM documents WHERE expires_at <= $1 AND key IN \
     (SELECT key FROM documents WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
