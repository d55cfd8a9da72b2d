//! What leaves the house: tokens minted under policy, the public documents verifiers read, and the
//! HTTP routes.
//!
//! A request is walked in one direction: bytes → typed request (`request`) → authenticated client
//! (`client`) → what its policy admits (`admission`) → claims in the shape of a profile (`profile`)
//! → signing input → signature → response (`http`). The default is that nothing is allowed. Every
//! mint and every refusal is one audit event (`audit`).

mod admission;
mod audit;
mod client;
mod documents;
mod freshness;
mod grant;
pub mod http;
mod issuer;
mod issuer_url;
mod mint;
mod names;
mod own;
mod policy;
mod profile;
mod request;
mod schema;
mod scope;
mod signatures;
mod standing;
mod statement;
mod upload;
mod validity;

pub use admission::{Admitted, AdmittedGrant, Claims, PolicyError, RuleClaims, check_policy};
pub use audit::{AuditLog, LogFigures};
pub use client::{Client, ClientId, ClientIdError, ClientSecret, Clients, SecretHash, SecretHashError};
pub use documents::{
    Document, INTROSPECT as INTROSPECT_PATH, JWKS as JWKS_PATH, JwksCertificates, NO_AUTHENTICATION,
    PublicDocuments, REVOKE as REVOKE_PATH, TOKEN as TOKEN_PATH, TokenEndpoint, asap_path, render, x509_map,
};
pub use freshness::max_age;
pub use grant::{GrantType, Granted, IdJag, Judged, ShownToken, ShownTokens};
pub use issuer::{Issuer, IssuerError, IssuerSettings, RefusedRequest, RequestLimits};
pub use issuer_url::{HttpIssuer, IssuerUrl, IssuerUrlError};
pub use mint::{Caller, Ids, MintError, Minted};
pub use names::Names;
pub use own::OwnToken;
pub use policy::{Audience, ClaimRules, Denial, MeetingGrant, MeetingRule, MeetingService, MintPolicy, Rule};
pub use profile::{
    AccessTokenProfile, AccessTokenTyp, Facts, IdJagProfile, JaasProfile, JitsiProfile, JwtProfile,
    LiveClaim, MEETING_FEATURES, Preparation, Preview, Profile, ProfileError, Refusal, RoomPattern,
    RoomPatternError, Shaped, Takes, Ways, is_jaas_app_id, is_jaas_kid, profile_lacks, registered,
    write_claims,
};
pub use request::{AudienceRequest, Member, RequestError, SignRequest};
pub use schema::{Schema, SchemaError};
pub use scope::{Scope, ScopeError};
pub use signatures::SignatureLimits;
pub use standing::{Concern, Patience};
pub use statement::Statement;
pub use upload::{AdmittedUpload, ObjectName, UPLOAD_PROFILE, UPLOAD_TYP, UploadRequest};
pub use validity::{Validity, ValidityError};
