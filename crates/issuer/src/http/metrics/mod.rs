//! What the issuer counts and measures, in the OpenMetrics text format that Prometheus reads.
//!
//! Labels come from closed lists of our own and from the names of rings in the configuration and
//! the keyring, never from a request, so their number is bounded. What is counted is there from the
//! start, at 0. Times are in `latency`, keys in `rings`. Every series is in docs/metrics.md, which
//! tests/e2e/test_metrics.py compares with a running server.

mod latency;
mod rings;

pub use latency::{Route, StoreOperation, StoreTimes};
pub use rings::RingPlan;

use super::HttpError;
use crate::{Concern, Issuer, LogFigures, MintError};
use countersign_jose::{Algorithm, Timestamp};
use latency::{RequestTimes, SignatureTimes};
use prometheus_client::{
    encoding::{
        EncodeLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use rings::{Rings, Sightings};
use std::{
    collections::BTreeSet,
    sync::{OnceLock, atomic::Ordering},
    time::Duration,
};

/// The counters of one issuer.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    minted: Family<MintedLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    responses: Family<ResponseLabels, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    /// The counter of the status that nearly every response has.
    ok: Counter,
    ready: Gauge,
    concerns: Family<ConcernLabels, Gauge>,
    log_lost: Family<LogLabels, Counter>,
    log_unwritten: Gauge,
    log_queue: Gauge,
    requests: RequestTimes,
    signatures: SignatureTimes,
    store: OnceLock<StoreTimes>,
    seen: Sightings,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LogLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MintedLabels {
    profile: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConcernLabels {
    concern: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResponseLabels {
    status: u16,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("countersign");
        let (minted, refused) = (Family::default(), Family::default());
        let (responses, ready) = (Family::<ResponseLabels, Counter>::default(), Gauge::default());
        let (decisions, concerns) = (Family::default(), Family::default());
        let (log_lost, log_unwritten, log_queue) = (Family::default(), Gauge::default(), Gauge::default());
        let ok = responses.get_or_create(&ResponseLabels { status: 200 }).clone();
        registry.register("tokens_minted", "Tokens minted", minted.clone());
        registry.register("tokens_refused", "Requests for a token that were refused", refused.clone());
        registry.register("http_responses", "HTTP responses by status", responses.clone());
        registry.register("gate_decisions", "Decisions of the gate by their code", decisions.clone());
        registry.register("ready", "1 while tokens can be minted with current keys", ready.clone());
        registry.register("concern", "1 while this is something to look at, as in /readyz", concerns.clone());
        let help = "Records that could not be logged, of the audit and others";
        registry.register("log_lost", help, log_lost.clone());
        let help = "Bytes of records not written yet";
        registry.register_with_unit("log_unwritten", help, Unit::Bytes, log_unwritten.clone());
        let help =
            "Bytes of records that are kept until they are written, at most; 0 where each is written at once";
        registry.register_with_unit("log_queue", help, Unit::Bytes, log_queue.clone());
        let requests = RequestTimes::new(&mut registry);
        let signatures = SignatureTimes::new(&mut registry);
        let metrics = Self {
            registry,
            minted,
            refused,
            responses,
            decisions,
            ok,
            ready,
            concerns,
            log_lost,
            log_unwritten,
            log_queue,
            requests,
            signatures,
            store: OnceLock::new(),
            seen: Sightings::default(),
        };
        metrics.expect_refusals(MintError::CODES.into_iter().chain(HttpError::CODES));
        metrics
    }

    /// From now on there is a series for each of these reasons.
    pub fn expect_refusals(&self, reasons: impl IntoIterator<Item = &'static str>) {
        for reason in reasons {
            drop(self.refused.get_or_create(&RefusedLabels { reason }));
        }
    }

    /// From now on there is a series for tokens of this profile.
    pub(crate) fn expect_profile(&self, profile: &'static str) {
        drop(self.minted.get_or_create(&MintedLabels { profile }));
    }

    /// From now on there is a series for signatures by this algorithm.
    pub(crate) fn expect_algorithm(&self, algorithm: Algorithm) {
        self.signatures.expect(algorithm);
    }

    /// From now on there is a series for what the gate lets in.
    pub fn expect_decisions(&self) {
        drop(self.decisions.get_or_create(&DecisionLabels { code: ALLOW }));
    }

    /// Shows how long operations of this store take, too. The first one counts.
    pub(crate) fn show_store(&self, times: StoreTimes) {
        let _ = self.store.set(times);
    }

    pub(crate) fn minted(&self, profile: &'static str) {
        self.minted.get_or_create(&MintedLabels { profile }).inc();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&RefusedLabels { reason }).inc();
    }

    pub(crate) fn signed(&self, algorithm: Algorithm, took: Duration) {
        self.signatures.took(algorithm, took);
    }

    /// Notes which keys were seen in the JWKS as the world sees it. Of keys that are not `known`
    /// nothing is remembered.
    pub(crate) fn saw(&self, seen: &BTreeSet<String>, at: Timestamp, known: impl Fn(&str) -> bool) {
        self.seen.note(seen, at, known);
    }

    /// Counts a response by its status. Called by the listener, which sees all of them.
    pub fn responded(&self, status: u16) {
        if status == 200 {
            self.ok.inc();
        } else {
            self.responses.get_or_create(&ResponseLabels { status }).inc();
        }
    }

    /// Counts a response to a request that could be read, and how long it took.
    pub fn answered(&self, route: Route, status: u16, took: Duration) {
        self.responded(status);
        self.requests.took(route, status, took);
    }

    /// Counts a decision of the gate: `allow`, or the code of a refusal.
    pub fn decided(&self, code: &'static str) {
        self.decisions.get_or_create(&DecisionLabels { code }).inc();
    }

    pub(crate) fn encode(&self, issuer: &Issuer) -> String {
        self.set(&issuer.concerns(), issuer.audit_log().figures());
        let keyring = issuer.keyring();
        let rings = Rings {
            keyring: &keyring,
            plans: issuer.plans(),
            unpublished: &issuer.settings().unpublished_rings,
            seen: &self.seen,
            now: issuer.now(),
        };
        let mut now = rings.registry();
        if let Some(store) = self.store.get() {
            store.register(&mut now);
        }
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &now))
            .and_then(|()| encode_eof(&mut text));
        text
    }

    fn set(&self, now: &[Concern], log: LogFigures) {
        self.ready.set((!now.iter().any(|concern| concern.ends_readiness())).into());
        for concern in Concern::ALL {
            let labels = ConcernLabels { concern: concern.code() };
            self.concerns.get_or_create(&labels).set(now.contains(&concern).into());
        }
        for (kind, lost) in [("audit", log.lost_audit), ("other", log.lost_other)] {
            let counter = self.log_lost.get_or_create(&LogLabels { kind });
            counter.inner().store(lost, Ordering::Relaxed);
        }
        self.log_unwritten.set(i64::try_from(log.unwritten_bytes).unwrap_or(i64::MAX));
        self.log_queue.set(i64::try_from(log.queue_bytes).unwrap_or(i64::MAX));
    }
}

/// The code of a decision that lets somebody in.
const ALLOW: &str = "allow";
