//! The description of a trusted issuer as it is typed. `check` turns it into a `TrustedIssuer`.
//!
//! A method that weakens a check starts with `dangerously_`; nothing weakens one without being
//! called.

use super::AudienceFallback;
use crate::{fetch::KeyServer, remote::RefreshPolicy, revocation::RevocationSettings, source::KeySource};
use countersign_jose::Algorithm;
use serde_json::Value;
use std::time::Duration;

/// How far clocks may differ unless the description says otherwise.
const DEFAULT_LEEWAY: Duration = Duration::from_secs(10);

/// What is said of a load balancer beside its ARN, which is the name of the issuer.
#[derive(Debug)]
pub(super) struct LoadBalancer {
    pub(super) iss: Option<String>,
}

/// Describes a trusted issuer. `build` checks the description.
#[derive(Debug)]
#[must_use]
pub struct TrustedIssuerBuilder {
    pub(super) name: String,
    pub(super) any_issuer: bool,
    pub(super) aliases: Vec<String>,
    /// Further names whose tokens are verified with keys of their own.
    pub(super) siblings: Vec<(String, KeySource)>,
    pub(super) load_balancer: Option<LoadBalancer>,
    pub(super) tenants: Vec<String>,
    /// The tenant whose name is in `name`, where that is no template.
    pub(super) tenant: Option<String>,
    pub(super) keys: Option<KeySource>,
    pub(super) key_server: Option<KeyServer>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) audiences: Vec<String>,
    pub(super) any_audience: bool,
    pub(super) fallback: Option<AudienceFallback>,
    pub(super) typ: Option<String>,
    pub(super) required: Vec<(String, Option<Value>)>,
    pub(super) max_subject_chars: Option<usize>,
    pub(super) leeway: Duration,
    pub(super) ignore_expiry: bool,
    pub(super) fractional_dates: bool,
    pub(super) refresh: RefreshPolicy,
    pub(super) revocations: Option<RevocationSettings>,
}

impl TrustedIssuerBuilder {
    pub(super) fn new(iss: String) -> Self {
        Self {
            name: iss,
            any_issuer: false,
            aliases: Vec::new(),
            siblings: Vec::new(),
            load_balancer: None,
            tenants: Vec::new(),
            tenant: None,
            keys: None,
            key_server: None,
            algorithms: Vec::new(),
            audiences: Vec::new(),
            any_audience: false,
            fallback: None,
            typ: None,
            required: Vec::new(),
            max_subject_chars: None,
            leeway: DEFAULT_LEEWAY,
            ignore_expiry: false,
            fractional_dates: false,
            refresh: RefreshPolicy::default(),
            revocations: None,
        }
    }

    pub(super) fn of_any_issuer(name: String) -> Self {
        Self { any_issuer: true, ..Self::new(name) }
    }

    /// Another exact `iss` the same issuer uses (Google writes its own with and without
    /// `https://`).
    pub fn also_known_as(mut self, iss: impl Into<String>) -> Self {
        let iss = iss.into();
        // One that has keys of its own keeps them.
        if !self.siblings.iter().any(|(sibling, _)| *sibling == iss) {
            self.aliases.push(iss);
        }
        self
    }

    /// Another exact `iss` of the same issuer, with an address of its own for the keys of those
    /// tokens (Cognito has two). They are fetched when the first such token comes. Keys that
    /// replace the issuer's ([`keys`](Self::keys)) replace these too.
    pub fn also_issues_as(mut self, iss: impl Into<String>, keys: KeySource) -> Self {
        self.siblings.push((iss.into(), keys));
        self
    }

    /// The `iss` of a load balancer's tokens: the issuer that its action names
    /// ([`Preset::AwsAlb`](crate::Preset::AwsAlb)).
    pub fn load_balancer_issuer(mut self, iss: impl Into<String>) -> Self {
        if let Some(balancer) = &mut self.load_balancer {
            balancer.iss = Some(iss.into());
        }
        self
    }

    /// Tokens in the form of an AWS load balancer, which its ARN selects in place of an `iss`.
    /// Audiences are client ids.
    pub(crate) fn of_load_balancer(arn: &str) -> Self {
        Self { load_balancer: Some(LoadBalancer { iss: None }), ..Self::new(arn.to_owned()) }
    }

    /// Which tenant's name is in the issuer's, so that keys of a shared set that are another
    /// tenant's are not its keys.
    pub(crate) fn only_tenant(mut self, tenant: &str) -> Self {
        self.tenant = Some(tenant.to_owned());
        self
    }

    /// The tenants of a multi-tenant issuer whose tokens are accepted; `tid` must agree with `iss`.
    pub fn tenants<S: Into<String>>(mut self, tenants: impl IntoIterator<Item = S>) -> Self {
        self.tenants.extend(tenants.into_iter().map(Into::into));
        self
    }

    /// Where the keys come from. Replaces what a preset filled in.
    pub fn keys(mut self, source: KeySource) -> Self {
        self.keys = Some(source);
        for iss in std::mem::take(&mut self.siblings).into_iter().map(|(iss, _)| iss) {
            self.aliases.push(iss);
        }
        self
    }

    /// What the server of the keys wants, where they are at an address ([`KeySource::JwksUrl`],
    /// [`KeySource::X509Map`], [`KeySource::KeyDocument`]).
    pub fn key_server(mut self, server: KeyServer) -> Self {
        self.key_server = Some(server);
        self
    }

    /// The algorithms tokens may be signed with. Replaces what a preset filled in.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// Adds audiences, of which a token must name one exactly.
    pub fn audiences<S: Into<String>>(mut self, audiences: impl IntoIterator<Item = S>) -> Self {
        self.audiences.extend(audiences.into_iter().map(Into::into));
        self
    }

    /// Accepts tokens made for anyone. A token its holder gave to another service then opens this
    /// one too.
    pub fn dangerously_accept_any_audience(mut self) -> Self {
        self.any_audience = true;
        self
    }

    /// The claim compared with the audiences when a token has no `aud` at all.
    pub fn audience_fallback(mut self, claim: AudienceFallback) -> Self {
        self.fallback = Some(claim);
        self
    }

    /// Requires the claim `token_use` to be this (Cognito: `access` or `id`).
    pub fn token_use(self, value: &str) -> Self {
        self.require_value("token_use", Value::from(value))
    }

    /// Requires the header's `typ` (`at+jwt`).
    pub fn typ(mut self, typ: impl Into<String>) -> Self {
        self.typ = Some(typ.into());
        self
    }

    /// Requires a claim to be there, with any value but null. A name that begins with `/` is a JSON
    /// Pointer ([`ClaimName`](countersign_jose::ClaimName)).
    pub fn require(mut self, claim: impl Into<String>) -> Self {
        let claim = claim.into();
        if !self.required.iter().any(|(name, _)| *name == claim) {
            self.required.push((claim, None));
        }
        self
    }

    /// Requires a claim to have exactly this value. Replaces what a preset demanded of the same
    /// claim.
    pub fn require_value(mut self, claim: impl Into<String>, value: Value) -> Self {
        let claim = claim.into();
        self.required.retain(|(name, _)| *name != claim);
        self.required.push((claim, Some(value)));
        self
    }

    /// Requires a `sub` of 1 to `max` characters.
    pub fn max_subject_chars(mut self, max: usize) -> Self {
        self.max_subject_chars = Some(max);
        self
    }

    /// How far the clocks of issuer and verifier may differ: 10 s unless set, 10 minutes at most.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Accepts expired tokens and tokens without `exp`. A stolen token then works forever.
    pub fn dangerously_ignore_expiry(mut self) -> Self {
        self.ignore_expiry = true;
        self
    }

    /// Accepts `exp`, `nbf` and `iat` with a fraction of a second (RFC 7519 §2): `exp` and `iat`
    /// are rounded down, `nbf` up.
    pub fn accept_fractional_dates(mut self) -> Self {
        self.fractional_dates = true;
        self
    }

    /// How long fetched keys are kept and when they are fetched again.
    pub fn refresh(mut self, refresh: RefreshPolicy) -> Self {
        self.refresh = refresh;
        self
    }

    /// Refuses tokens that the issuer has revoked, by the list it signs (another Countersign).
    pub fn revocations(mut self, settings: RevocationSettings) -> Self {
        self.revocations = Some(settings);
        self
    }
}
