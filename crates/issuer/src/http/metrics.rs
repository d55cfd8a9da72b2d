//! What the issuer counts, in the OpenMetrics text format that Prometheus reads.
//!
//! Labels come from closed lists of our own, never from a request, so their number is bounded.

use crate::{Concern, LogFigures};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use std::sync::atomic::Ordering;

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
        let (log_lost, log_unwritten) = (Family::default(), Gauge::default());
        let ok = responses.get_or_create(&ResponseLabels { status: 200 }).clone();
        registry.register("tokens_minted", "Tokens minted", minted.clone());
        registry.register("tokens_refused", "Requests for a token that were refused", refused.clone());
        registry.register("http_responses", "HTTP responses by status", responses.clone());
        registry.register("gate_decisions", "Decisions of the gate by their code", decisions.clone());
        registry.register("ready", "1 while tokens can be minted with current keys", ready.clone());
        registry.register("concern", "1 while this is something to look at, as in /readyz", concerns.clone());
        let help = "Records that could not be logged, of the audit and others";
        registry.register("log_lost", help, log_lost.clone());
        registry.register("log_unwritten_bytes", "Bytes of records not written yet", log_unwritten.clone());
        Self { registry, minted, refused, responses, decisions, ok, ready, concerns, log_lost, log_unwritten }
    }

    pub(crate) fn minted(&self, profile: &'static str) {
        self.minted.get_or_create(&MintedLabels { profile }).inc();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&RefusedLabels { reason }).inc();
    }

    /// Counts a response by its status. Called by the listener, which sees all of them.
    pub fn responded(&self, status: u16) {
        if status == 200 {
            self.ok.inc();
        } else {
            self.responses.get_or_create(&ResponseLabels { status }).inc();
        }
    }

    /// Counts a decision of the gate: `allow`, or the code of a refusal.
    pub fn decided(&self, code: &'static str) {
        self.decisions.get_or_create(&DecisionLabels { code }).inc();
    }

    pub(crate) fn encode(&self, now: &[Concern], log: LogFigures) -> String {
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
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
