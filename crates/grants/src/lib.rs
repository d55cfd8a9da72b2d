//! `POST /token`: who asks, by which grant, for what; the token itself is the issuer's to mint.
//!
//! A request is walked in one direction: bytes → parameters (`form`) → authenticated client
//! (`client_auth`, `assertion`) → what the grant asks for (`client_credentials`; `jwt_bearer` and
//! `token_exchange` by the rules of `exchange`) → the issuer's admission and mint, the same as for
//! `POST /sign` → response (`endpoint`). No client has a grant unless its entry says so, and where
//! none has, there is no such route. Specifications: RFC 6749 §2.3, §3.2, §4.4 and §5; RFC 7521 §4
//! and RFC 7523; RFC 8693; RFC 8707 §2; RFC 9068.

mod assertion;
mod client_auth;
mod client_credentials;
mod endpoint;
mod error;
mod exchange;
mod form;
mod jwt_bearer;
mod request;
mod seen;
mod settings;
mod target;
mod token_exchange;

pub use assertion::{AssertionKeys, Assertions};
pub use endpoint::TokenRoute;
pub use exchange::{ExchangeRule, Once, Provider, ProviderError, RuleSettings};
pub use settings::{ClientGrants, Grants};
