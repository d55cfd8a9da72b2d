//! One audit event for every mint and every refusal: who asked for what, and what became of it.
//!
//! Events go to the log under the target `countersign::audit`, one record each. A token appears only as its SHA-256;
//! claims, secrets and credentials never. Text that came from a caller is written as a quoted field, so a line break
//! in it can not make a second record.

use aws_lc_rs::digest;
use std::net::IpAddr;

/// What is recorded about one request for a token.
#[derive(Debug, Default)]
pub(crate) struct AuditEvent<'a> {
    /// The request's name, also in the response header `x-request-id`.
    pub(crate) request_id: &'a str,
    /// Where it came from; none on the command line.
    pub(crate) address: Option<IpAddr>,
    /// The client that proved who it is; `operator` on the command line.
    pub(crate) client: Option<&'a str>,
    /// The profile.
    pub(crate) profile: Option<&'a str>,
}

/// What a minted token leaves in the audit.
#[derive(Debug)]
pub(crate) struct MintedFacts<'a> {
    pub(crate) kid: &'a str,
    pub(crate) jti: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) expires_at: i64,
    pub(crate) token: &'a str,
}

impl AuditEvent<'_> {
    /// Records a mint.
    pub(crate) fn minted(&self, minted: &MintedFacts<'_>) {
        tracing::info!(
            target: "countersign::audit",
            decision = "minted",
            request_id = self.request_id,
            address = self.address.map(tracing::field::display),
            client = self.client,
            // Each client has one policy of its own, and it is named like the client.
            policy = self.client,
            profile = self.profile,
            kid = minted.kid,
            jti = minted.jti,
            subject = minted.subject,
            exp = minted.expires_at,
            token_sha256 = hex(digest::digest(&digest::SHA256, minted.token.as_bytes()).as_ref()),
        );
    }

    /// Records a refusal with its reason.
    pub(crate) fn refused(&self, code: &str, reason: &str) {
        tracing::warn!(
            target: "countersign::audit",
            decision = "refused",
            request_id = self.request_id,
            address = self.address.map(tracing::field::display),
            client = self.client,
            policy = self.client,
            profile = self.profile,
            code,
            reason,
        );
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default() as char;
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}
