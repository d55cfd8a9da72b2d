//! Minting: a request by a caller becomes a token, or a refusal with its reason.

use crate::{
    Issuer,
    admission::{admit, uploaded},
    audit::{AuditEvent, MintedFacts},
    client::Client,
    policy::{Denial, MeetingService, MintPolicy},
    profile::{Facts, Preview, Profile, Refusal, Shaped, profile_lacks},
    request::{Member, RequestError, SignRequest},
    signatures::{Busy, Turn},
    upload::ObjectName,
    validity::{Validity, ValidityError},
};
use aws_lc_rs::rand;
use countersign_jose::{SigningInput, Timestamp, base64url};
use countersign_keyring::{SignError, Signer};
use std::{borrow::Cow, net::IpAddr, time::Duration};
use tokio::time::Instant;

/// Who asks: a client that proved who it is, or the operator on the command line who holds the keys
/// anyway.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'a> {
    /// An authenticated client.
    Client(&'a Client),
    /// The operator.
    Operator(&'a MintPolicy),
}

impl<'a> Caller<'a> {
    /// The name in the audit.
    pub fn name(self) -> &'a str {
        match self {
            Self::Client(client) => client.id.as_str(),
            Self::Operator(_) => "operator",
        }
    }

    /// What it may have.
    pub fn policy(self) -> &'a MintPolicy {
        match self {
            Self::Client(client) => &client.policy,
            Self::Operator(policy) => policy,
        }
    }
}

/// A minted token. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Minted {
    /// The compact token.
    pub token: String,
    /// The key that signed it.
    pub kid: String,
    /// How long it can be used from now on: less than its lifetime by as much as it is backdated.
    pub expires_in: Duration,
    /// Its `jti`, if its profile has one.
    pub jti: Option<String>,
    /// The object that it lets somebody write, if it is for an upload.
    pub object: Option<ObjectName>,
}

impl std::fmt::Debug for Minted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minted").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Why no token was minted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MintError {
    /// The request is malformed.
    #[error("{0}")]
    Request(#[from] RequestError),
    /// The request makes no sense for its profile.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// No profile of that name is configured.
    #[error("unknown profile {name}; configured are: {configured}{}", .lacks.map_or_else(String::new, |lacks| format!("; {lacks}")))]
    UnknownProfile {
        /// What was asked for, quoted and cut.
        name: Member,
        /// The profiles there are.
        configured: String,
        /// What the configuration lacks for it, where it is a known one.
        lacks: Option<&'static str>,
    },
    /// The client's policy does not allow it.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// The token would have expired before it is used, or lie beyond what verifiers read.
    #[error(transparent)]
    Validity(#[from] ValidityError),
    /// The token would be longer than the limit.
    #[error(
        "the token would be {bytes} bytes long, the limit is {max}; send fewer claims or raise limits.token_bytes"
    )]
    TooLong {
        /// What it would be.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The ring has no key to sign with.
    #[error("ring {ring} of profile {profile} has no active key; {advice}", advice = advice(profile, ring))]
    NoKey {
        /// The profile.
        profile: String,
        /// Its ring.
        ring: String,
    },
    /// The store has not answered for too long to know that the keys may still sign.
    #[error("the keys could not be read for too long; tokens are minted again when the store answers")]
    Stale,
    /// The log has had no room for the audit record for too long.
    #[error(
        "the log cannot be written, and no token is minted without a record of it; tokens are minted again when it can"
    )]
    LogFull,
    /// The clock shows an earlier time than it can be: what would be minted may be expired already.
    #[error(
        "the clock of this machine shows {now}, but it is {at_least} at least; set it right, or restart if it is"
    )]
    ClockBehind {
        /// What it shows.
        now: Timestamp,
        /// What it cannot be before.
        at_least: Timestamp,
    },
    /// As many as may wait are waiting for their signature.
    #[error("too many requests are waiting for a signature; try again")]
    Busy,
    /// What its profile makes it with cannot be had now.
    #[error("what tokens of this profile are made with cannot be had now: {0}")]
    Unprepared(String),
    /// Signing failed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// No random numbers.
    #[error("the operating system gives no random numbers")]
    NoRandomness,
}

impl MintError {
    /// Every name that [`MintError::code`] gives.
    pub(crate) const CODES: [&str; 12] = [
        "invalid_request",
        "unknown_profile",
        "outside_policy",
        "token_too_long",
        "no_active_key",
        "keys_stale",
        "log_full",
        "clock_behind",
        "busy",
        "unprepared",
        "signing_failed",
        "no_randomness",
    ];

    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Request(_) | Self::Invalid(_) | Self::Validity(_) => "invalid_request",
            Self::UnknownProfile { .. } => "unknown_profile",
            Self::Denied(_) => "outside_policy",
            Self::TooLong { .. } => "token_too_long",
            Self::NoKey { .. } => "no_active_key",
            Self::Stale => "keys_stale",
            Self::LogFull => "log_full",
            Self::ClockBehind { .. } => "clock_behind",
            Self::Busy => "busy",
            Self::Unprepared(_) => "unprepared",
            Self::Sign(_) => "signing_failed",
            Self::NoRandomness => "no_randomness",
        }
    }
}

/// How a ring gets a key. That of JaaS is known to 8x8 by the name that is given to it there.
fn advice(profile: &str, ring: &str) -> String {
    if profile == MeetingService::Jaas.profile() {
        return format!(
            "make one with `countersign keys generate --jaas`, or bring it in with `countersign keys import --ring {ring} \
             --kid APPID/KEYID FILE`"
        );
    }
    format!(
        "`countersign keys list` shows its keys, and `countersign keys prepare --ring {ring}` (with `--show-secret` for a ring of \
         secrets) or `keys import --ring {ring}` brings in one that signs at once"
    )
}

impl From<Refusal> for MintError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(why) => Self::Invalid(why),
            Refusal::Denied(denial) => Self::Denied(denial),
            Refusal::Unprepared(why) => Self::Unprepared(why),
        }
    }
}

impl Issuer {
    /// Mints a token, and records the mint or the refusal.
    pub async fn mint(
        &self,
        caller: Caller<'_>,
        request: &SignRequest<'_>,
        now: Timestamp,
        ids: &Ids,
        address: Option<IpAddr>,
    ) -> Result<Minted, MintError> {
        let profile = self.profile(request.profile_name());
        let known = profile.map(|profile| profile.name());
        let granted = request.granted.as_ref();
        let audit = AuditEvent {
            request_id: &ids.request,
            address,
            client: Some(caller.name()),
            grant: granted.map(|granted| granted.grant.name()),
            profile: known,
            rule: granted.and_then(|granted| granted.rule),
            actors: granted.map(|granted| granted.actors).unwrap_or_default(),
            shown: granted.map(|granted| granted.shown).unwrap_or_default(),
        };
        let log = self.audit_log();
        let result = if log.has_room() || log.wait_for_room().await {
            match profile {
                Some(profile) => {
                    self.mint_unrecorded(profile.as_ref(), caller, request, now, &ids.token, &audit).await
                }
                None => Err(self.unknown_profile(request.profile_name())),
            }
        } else {
            Err(MintError::LogFull)
        };
        match &result {
            Ok(_) => self.metrics().minted(known.unwrap_or_default()),
            Err(why) => {
                self.metrics().refused(why.code());
                if *why != MintError::LogFull {
                    audit.refused(why.code(), &why.to_string());
                }
            }
        }
        result
    }

    async fn mint_unrecorded(
        &self,
        profile: &dyn Profile,
        caller: Caller<'_>,
        request: &SignRequest<'_>,
        now: Timestamp,
        id: &str,
        audit: &AuditEvent<'_>,
    ) -> Result<Minted, MintError> {
        prepare(profile, caller, request, now).await?;
        let (mut shaped, validity) = self.shape(profile, caller, request, now, id)?;

        self.may_sign(now)?;
        let turn = self.turn(profile.name()).await?;
        // After waiting: what was withdrawn meanwhile does not sign.
        let keys = self.keys();
        let ready = keys.ready(profile.name()).ok_or_else(|| self.no_key(profile.name()))?;
        let input = SigningInput::new(&ready.header, shaped.whole());
        let signature = self.timed(ready.signer.as_ref(), &input).await?;
        drop(turn);
        let token = input.finish(&signature);
        let max = profile.token_bytes(self.settings().limits.token_bytes);
        if token.len() > max {
            return Err(MintError::TooLong { bytes: token.len(), max });
        }
        let kid = ready.signer.kid();
        audit.minted(&MintedFacts {
            kid,
            jti: shaped.jti.as_deref(),
            subject: shaped.subject.as_deref(),
            expires_at: validity.ends().unix_seconds(),
            object: shaped.object.as_ref(),
            token: &token,
        });
        let Shaped { jti, object, .. } = shaped;
        Ok(Minted { token, kid: kid.to_owned(), expires_in: validity.ends().since(now), jti, object })
    }
}

impl Issuer {
    /// The claims that a token would have, but for what would be worth something by itself. Nothing
    /// is signed or recorded.
    ///
    /// # Errors
    ///
    /// As minting would say, but for keys and clock.
    pub async fn preview(
        &self,
        caller: Caller<'_>,
        request: &SignRequest<'_>,
        now: Timestamp,
        ids: &Ids,
    ) -> Result<Preview, MintError> {
        let profile = self
            .profile(request.profile_name())
            .ok_or_else(|| self.unknown_profile(request.profile_name()))?;
        prepare(profile.as_ref(), caller, request, now).await?;
        let (shaped, _) = self.shape(profile.as_ref(), caller, request, now, &ids.token)?;
        Ok(shaped.preview())
    }

    fn unknown_profile(&self, name: &str) -> MintError {
        MintError::UnknownProfile {
            name: Member::new(name),
            configured: self.profile_names(),
            lacks: profile_lacks(name),
        }
    }

    /// What a request comes to under the policy of its caller.
    fn shape(
        &self,
        profile: &dyn Profile,
        caller: Caller<'_>,
        request: &SignRequest<'_>,
        now: Timestamp,
        id: &str,
    ) -> Result<(Shaped, Validity), MintError> {
        let admitted = admit(profile, request, caller.policy(), now)?;
        let backdate = self.settings().backdate.max(profile.backdate());
        let validity = Validity::new(now, admitted.lifetime(), backdate)?;
        let facts = Facts { issuer: self.settings().issuer.as_str(), client: caller.name(), id, validity };
        let shaped = profile.shape(&admitted, &facts)?;
        Ok((shaped, validity))
    }

    /// Signs, and notes how long that took.
    pub(crate) async fn timed(
        &self,
        signer: &dyn Signer,
        input: &SigningInput,
    ) -> Result<Vec<u8>, SignError> {
        let began = Instant::now();
        let signature = signer.sign(input).await;
        self.metrics().signed(signer.algorithm(), began.elapsed());
        signature
    }

    /// Whether anything may be signed now: with keys that are known to be current, by a clock that
    /// can be right.
    pub(crate) fn may_sign(&self, now: Timestamp) -> Result<(), MintError> {
        if !self.standing().may_sign() {
            return Err(MintError::Stale);
        }
        match self.standing().clock_is_behind(now) {
            Some(at_least) => Err(MintError::ClockBehind { now, at_least }),
            None => Ok(()),
        }
    }

    /// That the ring of a profile cannot sign.
    pub(crate) fn no_key(&self, profile: &str) -> MintError {
        let ring = self.profile(profile).map(|found| found.ring().to_string()).unwrap_or_default();
        MintError::NoKey { profile: profile.to_owned(), ring }
    }

    /// Waits until a key in memory may sign for this profile; a service's key needs no turn.
    pub(crate) async fn turn(&self, profile: &str) -> Result<Option<Turn<'_>>, MintError> {
        let algorithm = {
            let keys = self.keys();
            let signer = &keys.ready(profile).ok_or_else(|| self.no_key(profile))?.signer;
            signer.signs_here().then(|| signer.algorithm())
        };
        match algorithm {
            Some(algorithm) => self.turns().next(algorithm).await.map(Some).map_err(|Busy| MintError::Busy),
            None => Ok(None),
        }
    }
}

/// Waits for what the profile needs. What the caller may not have is not asked for.
async fn prepare(
    profile: &dyn Profile,
    caller: Caller<'_>,
    request: &SignRequest<'_>,
    now: Timestamp,
) -> Result<(), MintError> {
    let policy = caller.policy();
    if !policy.profiles.allows(profile.name()) {
        return Ok(());
    }
    // What is wrong with it is said when it is admitted.
    let Ok(upload) = uploaded(profile, request.upload.as_ref(), policy) else { return Ok(()) };
    match profile.prepare(upload.as_ref(), now) {
        Some(preparation) => preparation.await.map_err(MintError::Unprepared),
        None => Ok(()),
    }
}

/// Two fresh names, each 128 random bits as base64url, from one read: for a small read the
/// generator costs as much as for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// Of the request, in the audit and in the header `x-request-id`.
    pub request: String,
    /// Of the token, should there be one: its `jti`.
    pub token: String,
}

impl Ids {
    /// Both random.
    ///
    /// # Errors
    ///
    /// [`MintError::NoRandomness`].
    pub fn random() -> Result<Self, MintError> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| MintError::NoRandomness)?;
        let (request, token) = bytes.split_at(16);
        Ok(Self { request: base64url::encode(request), token: base64url::encode(token) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_its_token_have_names_that_tell_nothing_of_each_other() {
        let (one, other) = (Ids::random().unwrap(), Ids::random().unwrap());
        let all = [&one.request, &one.token, &other.request, &other.token];
        for (n, id) in all.iter().enumerate() {
            assert_eq!(base64url::decode(id).map(|bytes| bytes.len()), Ok(16), "{id}");
            assert!(!all[..n].contains(id), "{id}");
        }
    }
}
