//! One audit event for every mint and every refusal: who asked for what, and what became of it.
//!
//! Events go to the log under the target `countersign::audit`, one record each. A token appears
//! only as its SHA-256; claims, secrets and credentials never. Text that came from a caller is
//! written as a quoted field, so a line break in it cannot make a second record.
//!
//! A token leaves only after its record was handed to the log: the log is asked for room
//! ([`AuditLog`]) before anything is signed. Refusals of callers that have not proved who they are
//! can be had by anybody at any rate; they have a name of their own, by which the log sums them up.

use crate::grant::{ShownToken, ShownTokens};
use crate::upload::ObjectName;
use async_trait::async_trait;
use aws_lc_rs::digest;
use countersign_jose::hex;
use std::{fmt::Debug, net::IpAddr};

/// The log that the audit goes to, as far as minting depends on it.
#[async_trait]
pub trait AuditLog: Debug + Send + Sync {
    /// Whether a record would be taken now, and one that follows from what is begun now later on.
    fn has_room(&self) -> bool;

    /// Waits for room, for as long as a request may wait; `false` when there is no room.
    async fn wait_for_room(&self) -> bool;

    /// What the metrics show of the log.
    fn figures(&self) -> LogFigures;
}

/// What is counted of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogFigures {
    /// Records of the audit that were lost.
    pub lost_audit: u64,
    /// Other records that were lost.
    pub lost_other: u64,
    /// Bytes of records that are not written yet.
    pub unwritten_bytes: u64,
    /// How many bytes of them are kept, at most; 0 where each is written at once.
    pub queue_bytes: u64,
}

/// A log that writes each record before it goes on, and so always has room.
#[derive(Debug)]
pub(crate) struct Immediate;

#[async_trait]
impl AuditLog for Immediate {
    fn has_room(&self) -> bool {
        true
    }

    async fn wait_for_room(&self) -> bool {
        true
    }

    fn figures(&self) -> LogFigures {
        LogFigures::default()
    }
}

/// What is recorded about one request for a token.
#[derive(Debug, Default)]
pub(crate) struct AuditEvent<'a> {
    /// The request's name, also in the response header `x-request-id`.
    pub(crate) request_id: &'a str,
    /// Where it came from; none on the command line.
    pub(crate) address: Option<IpAddr>,
    /// The client that proved who it is; `operator` on the command line.
    pub(crate) client: Option<&'a str>,
    /// The grant it came by; none for `POST /sign` and the command line.
    pub(crate) grant: Option<&'a str>,
    /// The profile.
    pub(crate) profile: Option<&'a str>,
    /// The rule of exchange by which it was granted.
    pub(crate) rule: Option<&'a str>,
    /// Who acts for the subject, the one that acts now first.
    pub(crate) actors: &'a [String],
    /// The tokens that were shown.
    pub(crate) shown: ShownTokens<'a>,
}

/// What a minted token leaves in the audit.
#[derive(Debug)]
pub(crate) struct MintedFacts<'a> {
    pub(crate) kid: &'a str,
    pub(crate) jti: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) expires_at: i64,
    /// The object that the token lets somebody write.
    pub(crate) object: Option<&'a ObjectName>,
    pub(crate) token: &'a str,
}

impl AuditEvent<'_> {
    /// Records a mint.
    pub(crate) fn minted(&self, minted: &MintedFacts<'_>) {
        let hash = hex(digest::digest(&digest::SHA256, minted.token.as_bytes()).as_ref());
        tracing::info!(
            target: "countersign::audit",
            decision = "minted",
            request_id = self.request_id,
            address = self.address.map(tracing::field::display),
            client = self.client,
            // Each client has one policy of its own, and it is named like the client.
            policy = self.client,
            grant = self.grant,
            profile = self.profile,
            rule = self.rule,
            kid = minted.kid,
            jti = minted.jti,
            subject = minted.subject,
            actor = self.actors.first(),
            actors = self.actors(),
            exp = minted.expires_at,
            object = minted.object.map(tracing::field::display),
            client_token = self.shown.client.map(named),
            subject_token = self.shown.subject.map(named),
            actor_token = self.shown.actor.map(named),
            token_sha256 = hash,
        );
    }

    /// The whole chain of actors as a list in JSON, where one acts.
    fn actors(&self) -> Option<String> {
        (!self.actors.is_empty()).then(|| serde_json::Value::from(self.actors).to_string())
    }

    /// Records what a rule that is only tried says.
    pub(crate) fn judged(&self, subject: Option<&str>, refusal: Option<&str>) {
        tracing::info!(
            target: "countersign::audit",
            decision = "judged",
            request_id = self.request_id,
            address = self.address.map(tracing::field::display),
            client = self.client,
            grant = self.grant,
            rule = self.rule,
            outcome = if refusal.is_none() { "accepted" } else { "refused" },
            subject,
            actor = self.actors.first(),
            actors = self.actors(),
            reason = refusal,
        );
    }

    /// Records a revocation: of what, and how far it reaches.
    pub(crate) fn revoked(&self, reach: &str, name: &str) {
        tracing::warn!(
            target: "countersign::audit",
            decision = "revoked",
            request_id = self.request_id,
            address = self.address.map(tracing::field::display),
            client = self.client,
            reach,
            name,
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
            grant = self.grant,
            profile = self.profile,
            rule = self.rule,
            actor = self.actors.first(),
            client_token = self.shown.client.map(named),
            subject_token = self.shown.subject.map(named),
            actor_token = self.shown.actor.map(named),
            code,
            reason,
        );
    }

    /// Records the refusal of a caller that has not proved who it is, or asks too often: by itself,
    /// or in a sum.
    pub(crate) fn refused_unauthenticated(&self, code: &str, reason: &str) {
        tracing::warn!(
            // The name that the log knows such records by.
            name: "unauthenticated",
            target: "countersign::audit",
            decision = "refused",
            request_id = self.request_id,
            address = self.address.map(tracing::field::display),
            grant = self.grant,
            code,
            reason,
        );
    }
}

/// The most characters of a name in a token.
const LONGEST_NAME: usize = 256;

/// What a token is called, as an object in JSON.
fn named(token: &ShownToken) -> String {
    let cut = |text: &String| text.chars().take(LONGEST_NAME).collect::<String>();
    let ShownToken { iss, sub, jti } = token;
    let names = [("iss", iss), ("sub", sub), ("jti", jti)];
    let known =
        names.into_iter().filter_map(|(name, value)| Some((name.to_owned(), cut(value.as_ref()?).into())));
    serde_json::Value::Object(known.collect()).to_string()
}
