//! Which clients have which grants, and how those authenticate. What discovery says follows from it
//! and from nothing else.

use crate::{assertion::Assertions, exchange::ExchangeRule};
use countersign_issuer::{Clients, GrantType, Scope, TokenEndpoint};
use countersign_jose::Algorithm;
use std::collections::{BTreeMap, BTreeSet};

/// What one client may do at `POST /token`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientGrants {
    /// The grants it has.
    pub grants: BTreeSet<GrantType>,
    /// The scope of its tokens when it asks for none (RFC 6749 §3.3).
    pub default_scope: Option<Scope>,
}

/// The clients that have a grant.
#[derive(Debug)]
pub struct Grants {
    pub(crate) clients: BTreeMap<String, ClientGrants>,
    pub(crate) assertions: Option<Assertions>,
    pub(crate) rules: Vec<ExchangeRule>,
}

impl Grants {
    /// The grants of these clients, by id; `None` where no client has one. `assertions` are those that they sign to
    /// authenticate, `rules` say what they may exchange.
    pub fn new(
        clients: BTreeMap<String, ClientGrants>,
        assertions: Option<Assertions>,
        rules: Vec<ExchangeRule>,
    ) -> Option<Self> {
        let clients: BTreeMap<_, _> =
            clients.into_iter().filter(|(_, client)| !client.grants.is_empty()).collect();
        if clients.is_empty() { None } else { Some(Self { clients, assertions, rules }) }
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
        let mut auth_algorithms: BTreeSet<Algorithm> = BTreeSet::new();
        if let Some(assertions) = &self.assertions {
            auth_methods.push("private_key_jwt");
            auth_algorithms.extend(assertions.algorithms());
        }
        TokenEndpoint {
            grants: grants.into_iter().collect(),
            auth_methods,
            auth_algorithms: auth_algorithms.into_iter().collect(),
        }
    }

    /// Whether some client has this grant.
    pub(crate) fn offers(&self, grant: GrantType) -> bool {
        self.clients.values().any(|client| client.grants.contains(&grant))
    }
}
