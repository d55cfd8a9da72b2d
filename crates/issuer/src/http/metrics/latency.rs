//! How long things take: answers to requests, operations of the store, signatures. Histograms with
//! one set of buckets.
//!
//! A route is a pattern of a closed list, whatever path was asked for, and a status is its class,
//! so that no caller makes a series. Histograms of routes are there once such an answer was given;
//! those of the store and of signatures from the start.

use crate::IssuerUrl;
use countersign_jose::Algorithm;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

/// The upper ends of the buckets in seconds: from a document in memory to a store that times out.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

type Histograms<Labels> = Family<Labels, Histogram, fn() -> Histogram>;

fn family<Labels: Clone + std::hash::Hash + Eq>() -> Histograms<Labels> {
    Family::new_with_constructor(histogram)
}

/// What paths are counted as. The last one is everything else.
const ROUTES: [&str; 22] = [
    "/sign",
    "/token",
    "/uploads",
    "/revoke",
    "/introspect",
    "/authorize",
    "/gate",
    "/webhooks/jaas",
    "/public-keys",
    "/healthz",
    "/readyz",
    "/metrics",
    "/asap/{key}",
    "/.well-known/jwks.json",
    "/.well-known/jwks-rsa.json",
    "/.well-known/x509.json",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-protected-resource",
    "/.well-known/revoked.jwt",
    "/.well-known/{other}",
    OTHER,
];
const OTHER: &str = "{other}";

/// The pattern of a path, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route(usize);

impl Route {
    /// The pattern of a path, at the root or below the issuer's path.
    pub fn of(path: &str, issuer: &IssuerUrl) -> Self {
        let at = |route: &str| ROUTES.iter().position(|known| *known == route);
        let number = |path: &str| {
            at(path).or_else(|| match path {
                _ if path.starts_with("/gate/") => at("/gate"),
                _ if path.starts_with("/asap/") => at("/asap/{key}"),
                // RFC 8414 §3.1 and RFC 9728 §3.1 put a path behind the well-known part.
                _ if path.starts_with("/.well-known/oauth-authorization-server/") => {
                    at("/.well-known/oauth-authorization-server")
                }
                _ if path.starts_with("/.well-known/oauth-protected-resource/") => {
                    at("/.well-known/oauth-protected-resource")
                }
                _ if path.starts_with("/.well-known/") => at("/.well-known/{other}"),
                _ => None,
            })
        };
        let below = path.strip_prefix(issuer.path());
        Self(below.and_then(number).or_else(|| number(path)).unwrap_or(ROUTES.len() - 1))
    }

    fn name(self) -> &'static str {
        ROUTES.get(self.0).copied().unwrap_or(OTHER)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: &'static str,
}

/// Classes of status by their first digit.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// How long answers take, by route and class of status.
#[derive(Debug)]
pub(super) struct RequestTimes {
    family: Histograms<RequestLabels>,
    /// Those that are there, so that no request looks one up by its labels.
    known: [[OnceLock<Histogram>; CLASSES.len()]; ROUTES.len()],
}

impl RequestTimes {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let family = family();
        let help = "How long answers took, from the head of a request to the head of its answer";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, family.clone());
        Self { family, known: std::array::from_fn(|_| std::array::from_fn(|_| OnceLock::new())) }
    }

    pub(super) fn took(&self, route: Route, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        let Some(known) = self.known.get(route.0).and_then(|classes| classes.get(class)) else { return };
        let made = || {
            let status = CLASSES.get(class).copied().unwrap_or_default();
            self.family.get_or_create_owned(&RequestLabels { route: route.name(), status })
        };
        known.get_or_init(made).observe(took.as_secs_f64());
    }
}

/// What is done with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the operations of `Store`")]
pub enum StoreOperation {
    Get,
    Put,
    Delete,
    List,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

/// How long operations of the store take, whatever comes of them.
#[derive(Debug, Clone)]
pub struct StoreTimes {
    family: Histograms<OperationLabels>,
    by_operation: Arc<[Histogram; 4]>,
}

impl Default for StoreTimes {
    fn default() -> Self {
        let family = family();
        let by_operation = ["get", "put", "delete", "list"]
            .map(|operation| family.get_or_create_owned(&OperationLabels { operation }));
        Self { family, by_operation: Arc::new(by_operation) }
    }
}

impl StoreTimes {
    /// Notes an operation that has ended.
    pub fn took(&self, operation: StoreOperation, took: Duration) {
        let [get, put, delete, list] = self.by_operation.as_ref();
        let histogram = match operation {
            StoreOperation::Get => get,
            StoreOperation::Put => put,
            StoreOperation::Delete => delete,
            StoreOperation::List => list,
        };
        histogram.observe(took.as_secs_f64());
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "How long operations of the store took, whatever came of them";
        registry.register_with_unit("store_operation_duration", help, Unit::Seconds, self.family.clone());
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignatureLabels {
    alg: &'static str,
}

/// How long signatures take, by algorithm.
#[derive(Debug)]
pub(super) struct SignatureTimes(Histograms<SignatureLabels>);

impl SignatureTimes {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let family = family();
        let help = "How long signatures took, without the time that requests waited for their turn";
        registry.register_with_unit("signature_duration", help, Unit::Seconds, family.clone());
        Self(family)
    }

    /// From now on there is a series for this algorithm.
    pub(super) fn expect(&self, algorithm: Algorithm) {
        drop(self.0.get_or_create(&SignatureLabels { alg: algorithm.name() }));
    }

    pub(super) fn took(&self, algorithm: Algorithm, took: Duration) {
        self.0.get_or_create(&SignatureLabels { alg: algorithm.name() }).observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HttpIssuer;

    #[test]
    fn a_path_is_one_of_few_patterns_whatever_is_asked_for() {
        let issuer = |text| IssuerUrl::parse(text, HttpIssuer::LoopbackOnly).unwrap();
        let (root, below) = (issuer("https://a.example"), issuer("https://a.example/auth"));
        for (path, name) in [
            ("/sign", "/sign"),
            ("/sign/", OTHER),
            ("/", OTHER),
            ("", OTHER),
            ("/gate", "/gate"),
            ("/gate/nginx", "/gate"),
            ("/gatekeeper", OTHER),
            ("/asap/0123.pem", "/asap/{key}"),
            ("/.well-known/jwks.json", "/.well-known/jwks.json"),
            ("/.well-known/oauth-authorization-server/auth", "/.well-known/oauth-authorization-server"),
            ("/.well-known/oauth-protected-resource/api", "/.well-known/oauth-protected-resource"),
            ("/.well-known/security.txt", "/.well-known/{other}"),
            ("/{other}", OTHER),
            ("/wp-admin", OTHER),
        ] {
            assert_eq!(Route::of(path, &root).name(), name, "{path}");
            assert_eq!(Route::of(path, &below).name(), name, "{path} at the root of an issuer with a path");
            let path = format!("/auth{path}");
            assert_eq!(Route::of(&path, &below).name(), name, "{path}");
        }
        assert_eq!(Route::of("/authsign", &below).name(), OTHER);
    }
}
