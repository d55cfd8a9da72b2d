//! Why a description of a trusted issuer, or a set of them, is refused before anything runs.
//!
//! Every message says what to do. Names and addresses are the operator's own configuration; secrets
//! are never in it.

use crate::source::KeyUrlError;
use countersign_jose::{Algorithm, ClaimNameError, InexactNumber, KeyError};

/// Why a description of trusted issuers is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum TrustError {
    #[error("no trusted issuer is configured; nobody's token could be accepted")]
    NoIssuers,
    #[error("an issuer needs a name: the exact `iss` of its tokens")]
    EmptyIssuer,
    #[error("issuer {0:?} is configured twice; a token's `iss` must select exactly one")]
    DuplicateIssuer(String),
    #[error("issuer {name:?}: a user name or password does not belong in it; leave them out")]
    Credentials { name: String },
    #[error("{issuer}: {claim:?} names no claim: {why}")]
    ClaimName { issuer: String, claim: String, why: ClaimNameError },
    #[error("{issuer}: the claim {claim:?} cannot be expected to have this value: {why}")]
    ClaimValue { issuer: String, claim: String, why: InexactNumber },
    #[error("{issuer}: no source of keys; give discovery, a URL, inline keys or a secret")]
    NoKeySource { issuer: String },
    #[error("{issuer}: no algorithms; name those the issuer signs with, such as RS256")]
    NoAlgorithms { issuer: String },
    #[error("{issuer}: no audiences, so a token made for anyone else would be accepted; name your own")]
    NoAudiences { issuer: String },
    #[error("{issuer}: audiences are given and also given up; choose one")]
    AudiencesGivenUp { issuer: String },
    #[error("{issuer}: {what} {value:?} is given twice")]
    Duplicate { issuer: String, what: &'static str, value: String },
    #[error("{issuer}: an empty {what} is given")]
    Empty { issuer: String, what: &'static str },
    #[error(
        "{issuer}: {algorithm} does not go with this source of keys; HMAC is for shared secrets, and only HMAC is"
    )]
    AlgorithmDoesNotFit { issuer: String, algorithm: Algorithm },
    #[error("{issuer}: a single key is for a single algorithm; name exactly one")]
    OneAlgorithmNeeded { issuer: String },
    #[error("{issuer}: `{{tenantid}}` in an issuer needs the list of tenants whose tokens are accepted")]
    NoTenants { issuer: String },
    #[error("{issuer}: tenants are listed, but the issuer has no `{{tenantid}}`")]
    NotMultiTenant { issuer: String },
    #[error("{issuer}: {tenant:?} is not a tenant id (a GUID in lower case)")]
    BadTenant { issuer: String, tenant: String },
    #[error("{issuer}: {url:?} cannot be used: {why}")]
    Url { issuer: String, url: String, why: KeyUrlError },
    #[error("{issuer}: the inline keys cannot be used: {why}")]
    Keys { issuer: String, why: KeyError },
    #[error("{issuer}: the inline key set holds no key for the algorithms named{skipped}")]
    NoUsableKey { issuer: String, skipped: String },
    #[error(
        "{issuer}: a leeway of more than 10 minutes keeps expired tokens alive; correct the clocks instead"
    )]
    LeewayTooLong { issuer: String },
    #[error(
        "{issuer}: key times must satisfy 0 < floor <= default <= ceiling <= 24 h, stale <= 24 h, window > 0"
    )]
    RefreshTimes { issuer: String },
    #[error(
        "{issuer}: a revocation list is of one issuer with a key pair, asked for every 1 s to 1 h, and used for 24 h longer at most"
    )]
    Revocations { issuer: String },
    #[error(
        "{issuer}: authorities and a token for the server of the keys are for keys at an https address of the configuration (`keys_url`)"
    )]
    KeyServer { issuer: String },
    #[error("{issuer}: what is needed to ask for the keys cannot be had: {why}")]
    KeyServerAccess { issuer: String, why: String },
    #[error("{issuer}: {why}")]
    LoadBalancer { issuer: String, why: &'static str },
    #[error("{issuer}: accepts any issuer, and so cannot stand beside others; name its `iss`")]
    AnyIssuerBesideOthers { issuer: String },
    #[error("{issuer}: discovery needs the issuer's exact name")]
    DiscoveryOfAnyIssuer { issuer: String },
    #[error("{preset}: {id:?} is not {expected}")]
    PresetId { preset: &'static str, id: String, expected: &'static str },
    #[error("there is no preset {0:?}; {list} exist", list = crate::preset::NAMES)]
    UnknownPreset(String),
}
