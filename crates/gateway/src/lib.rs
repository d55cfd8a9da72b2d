//! The gate: who may do this, decided from the facts of a request and the verified claims of its
//! token.
//!
//! [`Gate`] is one function, `(RequestFacts, now) → Decision`. [`lambda`] puts the events of API
//! Gateway and AppSync around it, [`forward_auth`] the requests of nginx, Traefik, Caddy and Envoy,
//! [`settings`] reads all of it from a configuration. The crate links neither issuer nor keyring
//! nor store: anyone who takes over an authorizer does not even find code that signs.

mod claims;
mod context;
mod credential;
mod decision;
mod dpop;
mod facts;
pub mod forward_auth;
mod gate;
pub mod lambda;
mod path;
mod pattern;
mod resource;
mod route;
pub mod settings;

pub use context::ContextRules;
pub use credential::{Credential, CredentialError, CredentialSources, Scheme};
pub use decision::{Decision, Denial, Grant, Refusal, RefusalKind};
pub use dpop::{Dpop, DpopRefusal, MOST_PROOFS, Nonces};
pub use facts::RequestFacts;
pub use gate::Gate;
pub use path::{PathError, Target};
pub use pattern::{PathPattern, PatternError};
pub use resource::{Metadata, Resource};
pub use route::{Access, Requirement, Route, Unmet};
