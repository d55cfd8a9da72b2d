//! Which clients have which grants, and how those authenticate. What discovery says follows from it
//! and from nothing else.

use crate::{
    DpopSettings,
    assertion::Assertions,
    exchange::{ExchangeRule, ID_JAG_PROFILE},
    refresh::RefreshLimits,
    workload::Workloads,
};
use countersign_issuer::{Clients, GrantType, NO_AUTHENTICATION, Names, Scope, TokenEndpoint};
use countersign_jose::Algorithm;
use countersign_verifier::dpop::ALGORITHMS;
use std::collections::{BTreeMap, BTreeSet};

/// What one client may do at `POST /token`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientGrants {
    /// The grants it has.
    pub grants: BTreeSet<GrantType>,
    /// The scope of its tokens when it asks for none (RFC 6749 §3.3).
    pub default_scope: Option<Scope>,
    /// For which audiences it may ask what tokens are worth.
    pub introspect: Names,
    /// Whether it can prove who it is.
    pub kind: ClientKind,
    /// Whether it gets no token without a DPoP proof.
    pub dpop_bound: bool,
}

/// Whether a client can prove who it is (RFC 6749 §2.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientKind {
    /// By one of its credentials.
    #[default]
    Confidential,
    /// It runs where its users are, and has nothing to prove it with: its id alone is enough.
    Public,
}

impl ClientGrants {
    /// Whether it has this grant. What a public client gets is never its own: `client_credentials`
    /// would be worth a token to anybody.
    pub(crate) fn has(&self, grant: GrantType) -> bool {
        let is_own = grant == GrantType::ClientCredentials;
        self.grants.contains(&grant) && !(is_own && self.kind == ClientKind::Public)
    }

    /// Whether its refresh tokens are bound to the key of its DPoP proofs: those of a client that
    /// proves who it is are bound to the client (RFC 9449 §5).
    pub(crate) fn binds_refresh_tokens(&self) -> bool {
        self.is_public()
    }

    /// Whether its id is all there is to show.
    pub(crate) fn is_public(&self) -> bool {
        self.kind == ClientKind::Public
    }

    fn is_used(&self) -> bool {
        !self.grants.is_empty() || self.introspect != Names::default()
    }
}

/// The clients that have a grant, or may introspect.
#[derive(Debug)]
pub struct Grants {
    pub(crate) clients: BTreeMap<String, ClientGrants>,
    pub(crate) assertions: Option<Assertions>,
    pub(crate) workloads: Option<Workloads>,
    pub(crate) rules: Vec<ExchangeRule>,
    pub(crate) refresh: RefreshLimits,
    pub(crate) dpop: DpopSettings,
}

impl Grants {
    /// The grants of these clients, by id; `None` where no client has one. `assertions` are those
    /// that they sign to authenticate, `workloads` the tokens of their platforms that do the same,
    /// `rules` say what they may exchange, `refresh` how long they may go on with that, `dpop` how
    /// their proofs are judged.
    pub fn new(
        clients: BTreeMap<String, ClientGrants>,
        assertions: Option<Assertions>,
        workloads: Option<Workloads>,
        rules: Vec<ExchangeRule>,
        refresh: RefreshLimits,
        dpop: DpopSettings,
    ) -> Option<Self> {
        let clients: BTreeMap<_, _> = clients.into_iter().filter(|(_, client)| client.is_used()).collect();
        let is_empty = clients.is_empty();
        (!is_empty).then_some(Self { clients, assertions, workloads, rules, refresh, dpop })
    }

    /// What is on: for discovery.
    pub fn offered(&self, clients: &Clients) -> TokenEndpoint {
        let grants: BTreeSet<GrantType> =
            self.clients.values().flat_map(|client| client.grants.iter().copied()).collect();
        let has_secret =
            |id: &String| clients.find(id).is_some_and(|client| !client.secret_hashes.is_empty());
        let mut auth_methods = Vec::new();
        if self.clients.keys().any(has_secret) {
            auth_methods.extend(["client_secret_basic", "client_secret_post"]);
        }
        // On the wire both are `client_assertion`, and there is no other name for the second.
        let mut auth_algorithms: BTreeSet<Algorithm> = BTreeSet::new();
        if self.assertions.is_some() || self.workloads.is_some() {
            auth_methods.push("private_key_jwt");
            auth_algorithms.extend(self.assertions.iter().flat_map(Assertions::algorithms));
            auth_algorithms.extend(self.workloads.iter().flat_map(Workloads::algorithms));
        }
        if self.clients.values().any(|client| client.kind == ClientKind::Public) {
            auth_methods.push(NO_AUTHENTICATION);
        }
        let introspects = self.clients.values().any(|client| client.introspect != Names::default());
        let takes_id_jags = self.rules.iter().any(ExchangeRule::takes_id_jags);
        TokenEndpoint {
            introspects,
            dpop_algorithms: ALGORITHMS.to_vec(),
            grant_profiles: takes_id_jags.then_some(ID_JAG_PROFILE).into_iter().collect(),
            grants: grants.into_iter().collect(),
            auth_methods,
            auth_algorithms: auth_algorithms.into_iter().collect(),
        }
    }

    /// Whether this client's id is all there is to show.
    pub(crate) fn is_public(&self, client: &str) -> bool {
        self.clients.get(client).is_some_and(ClientGrants::is_public)
    }

    /// Whether tokens of a platform say that somebody is this client.
    pub(crate) fn is_workload(&self, client: &str) -> bool {
        self.workloads.as_ref().is_some_and(|workloads| workloads.are_of(client))
    }

    /// Whether some client has this grant.
    pub(crate) fn offers(&self, grant: GrantType) -> bool {
        self.clients.values().any(|client| client.grants.contains(&grant))
    }
}
