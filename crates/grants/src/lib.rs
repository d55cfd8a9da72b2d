//! `POST /token`: who asks, by which grant, for what; the token itself is the issuer's to mint. And
//! what becomes of tokens afterwards: `POST /revoke`, `POST /introspect` and the list of what is
//! revoked.
//!
//! A request is walked in one direction: bytes → parameters (`form`) → authenticated client
//! (`client_auth`, `assertion`, `workload`) → the key it proves to hold (`dpop`) → what the grant
//! asks for (`client_credentials`; `jwt_bearer` and `token_exchange` by the rules of `exchange`;
//! `refresh`) → the issuer's admission and mint, the same as for `POST /sign` → response
//! (`endpoint`). No client has a grant unless its entry says so, and where none has, there is no
//! such route. Specifications: RFC 6749 §2.3, §3.2, §4.4 and §5; RFC 7521 §4 and RFC 7523; RFC
//! 7009; RFC 7662; RFC 8693; RFC 8707 §2; RFC 9068; RFC 9449; RFC 9701.

mod assertion;
mod client_auth;
mod client_credentials;
mod dpop;
mod endpoint;
mod error;
mod exchange;
mod form;
mod introspect;
mod jwt_bearer;
pub mod refresh;
mod request;
mod revocation;
mod revoke;
mod seen;
mod settings;
mod spend;
mod target;
mod to_the_end;
mod token_exchange;
mod upload;
mod upstream;
mod workload;

pub use assertion::{AssertionKeys, Assertions};
pub use dpop::DpopSettings;
pub use endpoint::TokenRoute;
pub use exchange::{
    AskedCode, Asking, Delegation, ExchangeRule, Explained, Expression, ExpressionError, Finding, Holder,
    ID_JAG_TYP, IdJagTarget, Impersonation, MAX_ACTORS, MAX_EXPRESSION, MeetingTerms, Mode, Once, OwnTokens,
    Provider, ProviderError, RESERVED, Refreshes, RuleSettings, RuleSource, Severity, SourceFacts, Terms,
    UserMember, lint, lint_meeting,
};
pub use refresh::RefreshLimits;
pub use revocation::{Entry as Revocation, Owner, Reach, Revocations, RevocationsError};
pub use settings::{ClientGrants, ClientKind, Grants};
pub use token_exchange::RequestedType;
pub use upload::UploadTerms;
pub use upstream::{ApplicationSecret, Upstream, UpstreamPreset, UpstreamSettings, UpstreamSettingsError};
pub use workload::{Workload, WorkloadSubject, WorkloadTokens, WorkloadTyp, Workloads};
