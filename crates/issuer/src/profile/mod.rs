//! Profiles: shapes of token, one file each. A profile says what it takes, is given what the
//! client's policy admits (`admission`) and gives the claims; times, signing, audit and the
//! response are the same for all.

mod access_token;
mod id_jag;
mod jaas;
mod jitsi;
mod jwt;
mod meeting;
mod room;

pub use access_token::{AccessTokenProfile, AccessTokenTyp};
pub use id_jag::IdJagProfile;
pub use jaas::{JaasProfile, is_jaas_app_id, is_jaas_kid};
pub use jitsi::JitsiProfile;
pub use jwt::JwtProfile;
pub use meeting::MEETING_FEATURES;
pub use room::{RoomPattern, RoomPatternError};

use crate::{
    admission::{Admitted, Claims},
    policy::{Audience, Denial, MintPolicy},
    upload::{AdmittedUpload, ObjectName},
    validity::Validity,
};
use countersign_jose::Timestamp;
use countersign_keyring::{RingName, Signer};
use std::{borrow::Cow, fmt::Debug, future::Future, io::Write, pin::Pin, time::Duration};

/// What a configuration lacks where it does not have one of the known profiles.
pub fn profile_lacks(name: &str) -> Option<&'static str> {
    match name {
        "jaas" => Some(
            "profile jaas needs [profiles.jaas] with app_id, or the variables JAAS_APP_ID, JAAS_API_KID and PRIVATE_KEY",
        ),
        "jitsi" => Some("profile jitsi needs [profiles.jitsi] with app_id and domain"),
        "upload" => Some("profile upload needs an entry [uploads.NAME]"),
        "access_token" => Some("profile access_token needs a client with `grants`"),
        IdJagProfile::NAME => Some("profile id_jag needs a rule ([[exchange]]) with `id_jags`"),
        _ => None,
    }
}

/// A shape of token.
pub trait Profile: Send + Sync + Debug {
    /// Its name in requests and policies.
    fn name(&self) -> &'static str;
    /// The ring whose active key signs it.
    fn ring(&self) -> &RingName;
    /// The header's `typ`.
    fn typ(&self) -> &'static str;
    /// Refuses a key that the tokens' consumer would not take.
    fn check_signer(&self, signer: &dyn Signer) -> Result<(), ProfileError>;
    /// What of a request it uses.
    fn takes(&self) -> Takes;
    /// By which ways its tokens are minted.
    fn ways(&self) -> Ways {
        Ways::Asked
    }
    /// Whether its tokens are for an upload, which is asked for beside the claims.
    fn takes_upload(&self) -> bool {
        false
    }
    /// What has to be waited for before a token for this upload can be shaped now; `None` where
    /// nothing has.
    fn prepare(&self, _upload: Option<&AdmittedUpload<'_>>, _now: Timestamp) -> Option<Preparation<'_>> {
        None
    }
    /// What bounds the lifetime of a token beside the client's policy; `asked` is what was asked
    /// for.
    ///
    /// # Errors
    ///
    /// If more is asked for than the profile has.
    fn longest(
        &self,
        _upload: Option<&AdmittedUpload<'_>>,
        _asked: Option<Duration>,
        _now: Timestamp,
    ) -> Result<Option<Duration>, Refusal> {
        Ok(None)
    }
    /// The longest token in bytes, where `limit` is what the configuration has for tokens in
    /// headers.
    fn token_bytes(&self, limit: usize) -> usize {
        limit
    }
    /// The least time that `iat` and `nbf` of its tokens lie before now.
    fn backdate(&self) -> Duration {
        Duration::ZERO
    }
    /// Refuses fixed claims that [`Profile::shape`] would refuse in every token. Called when a
    /// client is configured.
    ///
    /// # Errors
    ///
    /// What `shape` would say.
    fn check_fixed(&self, _fixed: Claims<'_>, _policy: &MintPolicy) -> Result<(), Refusal> {
        Ok(())
    }
    /// The claims of one token.
    ///
    /// # Errors
    ///
    /// If the input is malformed, or outside a grant that is only this profile's.
    fn shape(&self, admitted: &Admitted<'_>, facts: &Facts<'_>) -> Result<Shaped, Refusal>;
}

/// What is waited for before a token is shaped. It ends with why none can be.
pub type Preparation<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;
/// The ways by which tokens of a profile are minted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// By `POST /sign` and on the command line.
    Asked,
    /// By the grants of `POST /token` alone.
    Granted,
    /// By both. At `POST /token` a rule of exchange says so by name.
    Both,
}

/// What a profile takes as `data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Claims of any name, and an audience. `claims.allow`, `audiences` and `scopes` say which.
    Claims,
    /// These members. The profile has a table of its own in a client's entry, which says what may
    /// be in them.
    Members(&'static [&'static str]),
}

impl Takes {
    /// Whether a member of this name reaches the token.
    pub(crate) fn takes(self, name: &str) -> bool {
        match self {
            Self::Claims => true,
            Self::Members(known) => known.contains(&name),
        }
    }
}

/// What the issuer knows when it mints.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The issuer identifier.
    pub issuer: &'a str,
    /// Who asks.
    pub client: &'a str,
    /// A fresh random name.
    pub id: &'a str,
    /// When the token begins and ends.
    pub validity: Validity,
}

/// The beginning of a token's claims: those that only the issuer sets (RFC 7519 §4.1). The object
/// is not closed.
///
/// # Errors
///
/// If there is no audience.
pub fn registered(admitted: &Admitted<'_>, facts: &Facts<'_>) -> Result<Vec<u8>, Refusal> {
    let (begins, ends) = (facts.validity.begins().unix_seconds(), facts.validity.ends().unix_seconds());
    let mut payload = Vec::with_capacity(512);
    // Writing to a Vec and serialising strings do not fail; the results are folded all the same.
    let written = (|| {
        payload.extend_from_slice(b"{\"iss\":");
        serde_json::to_writer(&mut payload, facts.issuer)?;
        payload.extend_from_slice(b",\"aud\":");
        match admitted.audience() {
            Some(Audience::One(one)) => serde_json::to_writer(&mut payload, one)?,
            Some(Audience::Many(many)) => serde_json::to_writer(&mut payload, many)?,
            None => return Err(serde::ser::Error::custom("no audience")),
        }
        write!(payload, ",\"iat\":{begins},\"nbf\":{begins},\"exp\":{ends},\"jti\":\"{}\"", facts.id)
            .map_err(serde_json::Error::io)
    })();
    written.map(|()| payload).map_err(|_| unwritable())
}

/// The end of a token's claims: those that were sent and those that are fixed, each as the text it
/// is.
///
/// # Errors
///
/// None that happen: a `Vec` takes everything, and texts are JSON.
pub fn write_claims(payload: &mut Vec<u8>, claims: Claims<'_>) -> Result<(), serde_json::Error> {
    for (name, value) in claims.members() {
        payload.push(b',');
        serde_json::to_writer(&mut *payload, name)?;
        payload.push(b':');
        payload.extend_from_slice(value.get().as_bytes());
    }
    payload.push(b'}');
    Ok(())
}

fn unwritable() -> Refusal {
    Refusal::Invalid("the claims cannot be written as JSON".into())
}

/// A token's claims, ready to sign.
#[derive(Debug)]
pub struct Shaped {
    /// The claims as JSON: an object with one member at least.
    pub payload: Vec<u8>,
    /// One claim more, which is worth something by itself, whichever key signs the token around it.
    pub live: Option<LiveClaim>,
    /// Its `jti`, if the profile has one.
    pub jti: Option<String>,
    /// Whom it is about, for the audit.
    pub subject: Option<String>,
    /// The object that it lets somebody write, if it is for an upload.
    pub object: Option<ObjectName>,
}

/// A claim that is worth something by itself, such as a form that S3 takes. Only the mint puts it
/// into a token; a [`Preview`] has what describes it in its place, and `Debug` does not show it.
pub struct LiveClaim {
    name: &'static str,
    value: Vec<u8>,
    described: Vec<u8>,
}

impl std::fmt::Debug for LiveClaim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveClaim").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LiveClaim {
    /// The claim `name`, which needs no escaping: its value, and a description of it that is worth
    /// nothing, both as JSON.
    pub fn new(name: &'static str, value: Vec<u8>, described: Vec<u8>) -> Self {
        Self { name, value, described }
    }
}

/// The claims that a token would have, without anything that could be used.
#[derive(Clone, PartialEq, Eq)]
pub struct Preview(Vec<u8>);

impl std::fmt::Debug for Preview {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Preview").finish_non_exhaustive()
    }
}

impl Preview {
    /// The claims as JSON.
    pub fn claims(&self) -> &[u8] {
        &self.0
    }
}

impl Shaped {
    /// All claims, as they are signed.
    pub(crate) fn whole(&mut self) -> &[u8] {
        if let Some(LiveClaim { name, value, .. }) = self.live.take() {
            append(&mut self.payload, name, &value);
        }
        &self.payload
    }

    /// The same for somebody who looks on.
    pub(crate) fn preview(mut self) -> Preview {
        if let Some(LiveClaim { name, described, .. }) = self.live.take() {
            append(&mut self.payload, name, &described);
        }
        Preview(self.payload)
    }
}

/// Adds a member to an object that has one at least.
fn append(payload: &mut Vec<u8>, name: &str, value: &[u8]) {
    payload.pop();
    for part in [b",\"".as_slice(), name.as_bytes(), b"\":", value, b"}"] {
        payload.extend_from_slice(part);
    }
}

/// Why a token is not minted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request makes no sense for this profile; the reason is for the caller.
    Invalid(Cow<'static, str>),
    /// The client's policy does not allow it.
    Denied(Denial),
    /// What it is made with cannot be had now. The reason is for the log.
    Unprepared(String),
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// Why a profile cannot work with the key it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("profile {profile}: {reason}")]
pub struct ProfileError {
    /// The profile.
    pub profile: &'static str,
    /// What is wrong and what to do.
    pub reason: String,
}
