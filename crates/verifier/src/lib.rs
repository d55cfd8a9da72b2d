//! Trusted issuers, their remote key sets and claims policy: tells whose token this is and whether
//! to believe it.
//!
//! A [`Verifier`] trusts a list of [`TrustedIssuer`]s. The token's `iss` selects one of them, whose
//! keys alone may verify it and whose policy it must meet; a token of anybody else is refused
//! before anything is fetched. Keys are inline or fetched, cached, and replaced as `remote`
//! describes. The crate knows neither the issuer nor the store of Countersign.
//!
//! Time is an argument: `now` is the present, by which tokens and the age of keys are judged.
//!
//! ```no_run
//! use countersign_jose::Timestamp;
//! use countersign_verifier::{DirectorySnapshots, Preset, TrustedIssuer, KeySource, Verifier};
//! use std::sync::Arc;
//! # async fn example(token: &str, now: Timestamp) -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = Verifier::builder()
//!     .trust(Preset::Firebase.builder("my-project")?.build()?)
//!     .trust(Preset::Cognito.builder("eu-west-1_AbCdEf123")?.audiences(["my-app-client-id"]).build()?)
//!     .trust(
//!         TrustedIssuer::builder("https://login.example")
//!             .keys(KeySource::Discovery)
//!             .algorithms([countersign_jose::Algorithm::RS256])
//!             .audiences(["https://api.example"])
//!             .build()?,
//!     )
//!     .snapshots(Arc::new(DirectorySnapshots::new("/tmp/countersign")))
//!     .build()?;
//! let accepted = verifier.verify(token, now).await?;
//! println!("{} says {:?}", accepted.issuer(), accepted.verified().registered().sub);
//! # Ok(()) }
//! ```
//!
//! With the feature `tower`, `tower::RequireBearer` is a layer for axum and every other tower
//! service; see `examples/axum_layer.rs`.

mod by_kid;
mod cache;
mod discovery;
pub mod dpop;
mod elapsed;
mod error;
mod fetch;
mod keys;
mod preset;
mod remote;
mod revocation;
mod snapshot;
mod source;
#[cfg(feature = "tower")]
pub mod tower;
mod trusted;
mod verifier;

pub use countersign_jose::{Check, Verdict};
pub use error::{Fault, VerifyError};
pub use fetch::{
    Fetch, FetchError, FetchLimits, Fetched, HttpsClient, HttpsFetch, KeyServer, Lookups, MAX_KEY_BYTES,
    Reread, Stated, https_client,
};
pub use keys::public_key;
pub use preset::Preset;
pub use remote::{KeyStatus, RefreshPolicy};
pub use revocation::{
    RevocationError, RevocationList, RevocationSettings, Revoked, RevokedName, TYP as REVOCATIONS_TYP,
    WELL_KNOWN as REVOCATIONS_PATH,
};
pub use snapshot::{DirectorySnapshots, Snapshots};
pub use source::{KeySource, KeyUrl, KeyUrlError};
pub use trusted::{AudienceFallback, TENANT_PLACEHOLDER, TrustError, TrustedIssuer, TrustedIssuerBuilder};
pub use verifier::{Accepted, Explanation, Verifier, VerifierBuilder};
