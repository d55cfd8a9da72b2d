//! `TrustedIssuer`: whose tokens are accepted, by which keys and algorithms, and what they must
//! say.
//!
//! Made by [`TrustedIssuerBuilder`], which refuses every description that would trust more than its
//! author meant: no audience, HMAC next to public keys, a multi-tenant issuer without its tenants.
//! What weakens a check has a name that says so and is listed in [`TrustedIssuer::warnings`].
//! [`Preset`](crate::Preset)s fill the builder in.

mod builder;
mod check;
mod fingerprint;
mod trust_error;

pub use builder::TrustedIssuerBuilder;
pub(crate) use check::is_guid;
pub use trust_error::TrustError;

use crate::{
    error::VerifyError,
    fetch::KeyServer,
    keys::{Format, LoadedKeys},
    remote::RefreshPolicy,
    revocation::RevocationSettings,
    source::KeyUrl,
};
use countersign_jose::{Algorithm, Policy, Unverified};
use std::{sync::Arc, time::Duration};

/// Stands for the tenant in the `iss` of a multi-tenant issuer (Microsoft Entra writes it so).
pub const TENANT_PLACEHOLDER: &str = "{tenantid}";

/// A foreign issuer whose tokens are accepted.
#[derive(Debug)]
pub struct TrustedIssuer {
    pub(crate) name: Arc<str>,
    pub(crate) identities: Vec<Identity>,
    pub(crate) source: Source,
    /// Where the keys of identities are that have their own.
    pub(crate) own_sources: Vec<Source>,
    /// The clients for which a load balancer's tokens may be, where it is one: `None` in it for
    /// any.
    pub(crate) load_balancer: Option<Clients>,
    /// What the server of the keys wants.
    pub(crate) key_server: Option<KeyServer>,
    pub(crate) refresh: RefreshPolicy,
    /// Where it says what it has revoked, and how often that is asked.
    pub(crate) revocations: Option<(KeyUrl, RevocationSettings)>,
    /// How far clocks may differ.
    pub(crate) leeway: Duration,
    algorithms: Vec<Algorithm>,
    fingerprint: String,
    warnings: Vec<String>,
}

/// The claim that names the client when there is no `aud` at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AudienceFallback {
    /// `client_id`: Cognito access tokens, RFC 9068 §2.2.
    ClientId,
    /// `cid`: Okta.
    Cid,
    /// `azp`: OpenID Connect Core §2, Keycloak.
    Azp,
}

impl AudienceFallback {
    /// The claim's name.
    pub const fn claim(self) -> &'static str {
        match self {
            Self::ClientId => "client_id",
            Self::Cid => "cid",
            Self::Azp => "azp",
        }
    }
}

/// One exact `iss` of an issuer, with the policy its tokens must meet.
#[derive(Debug)]
pub(crate) struct Identity {
    /// `None`: any issuer at all.
    pub(crate) iss: Option<String>,
    tenant: Option<String>,
    pub(crate) policy: Policy,
    /// Which of the issuer's `own_sources` has its keys; `None` for the issuer's.
    pub(crate) own_keys: Option<usize>,
}

/// Client ids of which a load balancer's token has to name one; `None` for any.
pub(crate) type Clients = Option<Vec<String>>;

impl Identity {
    /// Whether a key set's `issuer` member, in which the tenant may be a placeholder, means this
    /// identity.
    pub(crate) fn owns_keys_of(&self, owner: &str) -> bool {
        match (&self.iss, &self.tenant) {
            (Some(iss), Some(tenant)) => owner.replace(TENANT_PLACEHOLDER, tenant) == *iss,
            // Outside multi-tenant issuers the member means nothing.
            _ => true,
        }
    }
}

/// Where the keys are, checked.
#[derive(Debug)]
pub(crate) enum Source {
    Fixed(Arc<LoadedKeys>),
    Remote {
        url: KeyUrl,
        format: Format,
    },
    /// One key for each name, below this address.
    ByKid {
        url: KeyUrl,
    },
    Discovery {
        url: KeyUrl,
        issuer: String,
    },
}

impl TrustedIssuer {
    /// Describes the issuer whose tokens say exactly this `iss`. For a multi-tenant issuer it
    /// contains `{tenantid}`, and [`TrustedIssuerBuilder::tenants`] lists whose tokens are meant.
    pub fn builder(iss: impl Into<String>) -> TrustedIssuerBuilder {
        TrustedIssuerBuilder::new(iss.into())
    }

    /// Describes keys whose tokens are accepted whatever their `iss` says, or without one. Only
    /// where a verifier trusts nobody else, and only for replacing a system that never looked at
    /// `iss`. `name` appears in logs.
    pub fn dangerously_of_any_issuer(name: impl Into<String>) -> TrustedIssuerBuilder {
        TrustedIssuerBuilder::of_any_issuer(name.into())
    }

    /// The configured name: the (first) `iss`, a template for multi-tenant issuers.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether tokens with this `iss` are its tokens, by its name or by another that it has.
    pub fn is_called(&self, iss: &str) -> bool {
        self.identities.iter().any(|identity| identity.iss.as_deref() == Some(iss))
    }

    /// What an operator should be told at start: each check that was given up by name.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Stands for everything by which a token of it is believed: its names, its keys (or their
    /// address), and what its tokens must say. Another description has another one. A SHA-256 in
    /// base64url, of shared secrets too: words can be tried on it, so it is not for logs and
    /// stores.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The algorithms its tokens may be signed with.
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// What can be refused before any key is needed, so that such a token never causes a fetch.
    pub(crate) fn check_header(&self, token: &Unverified<'_>) -> Result<(), VerifyError> {
        let algorithm = token.unverified_algorithm();
        if self.algorithms.contains(&algorithm) {
            Ok(())
        } else {
            Err(VerifyError::AlgorithmNotAllowed { algorithm })
        }
    }
}
