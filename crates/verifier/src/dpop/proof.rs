//! The checks of one proof, in the order of RFC 9449 §4.3; all but whether it was used before.

use super::{
    error::ProofError,
    nonce::{self, NONCE_LIFETIME, NonceAuthenticator},
    uri::HttpUri,
};
use aws_lc_rs::digest::{Context, SHA256, digest};
use countersign_jose::{
    Algorithm, MAX_CLAIMS_DEPTH, NUMERIC_DATES, SelfSigned, Timestamp, base64url, excerpt,
    json::{Object, string},
};
use std::{borrow::Cow, time::Duration};

/// The longest proof that is looked at. One with an RSA key of 8192 bits is half as long.
pub const MAX_PROOF_BYTES: usize = 8 * 1024;
/// The longest `jti`.
pub const MAX_JTI_BYTES: usize = 256;
/// The longest that the time a client gives may be ago, whatever is configured.
pub const MAX_WINDOW: Duration = Duration::from_secs(600);
/// How far a client's clock may be ahead. What is of the future would have to be remembered for
/// longer.
pub const AHEAD: Duration = Duration::from_secs(10);
/// What proofs may be signed with: every algorithm with a public key.
pub const ALGORITHMS: [Algorithm; 11] = [
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::ES512,
    Algorithm::EdDSA,
    Algorithm::Ed25519,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
];

const TYP: &str = "dpop+jwt";

/// The one value of the header `DPoP`; `None` where there is no such header.
///
/// # Errors
///
/// [`ProofError::Several`], also where a proxy has joined two with a comma.
pub fn single<'h>(mut values: impl Iterator<Item = &'h str>) -> Result<Option<&'h str>, ProofError> {
    let first = values.next();
    if values.next().is_some() || first.is_some_and(|value| value.contains(',')) {
        return Err(ProofError::Several);
    }
    Ok(first)
}

/// `ath`: what stands for an access token in a proof.
pub fn ath(access_token: &str) -> String {
    base64url::encode(digest(&SHA256, access_token.as_bytes()).as_ref())
}

/// What a proof has to say.
#[derive(Debug)]
pub struct ProofRules<'a> {
    /// The method of the request.
    pub method: &'a str,
    /// Its public URL, in all forms that it may have.
    pub urls: &'a [HttpUri],
    /// The access token that is shown with it.
    pub access_token: Option<&'a str>,
    /// How long ago a proof may have been made by the client's clock, where no nonce tells the
    /// time; `AHEAD` at most in the future.
    pub window: Duration,
    /// What authenticates nonces.
    pub nonces: &'a dyn NonceAuthenticator,
    /// Whether one is demanded.
    pub require_nonce: bool,
}

/// A proof of one request, but for whether it was used before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    jkt: String,
    jti: String,
    made: Timestamp,
    until: Timestamp,
    by_clock: bool,
}

impl Proven {
    /// The RFC 7638 thumbprint of the key, for `cnf.jkt`.
    pub fn jkt(&self) -> &str {
        &self.jkt
    }

    /// The name that the client gave the proof.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// When it was made: by the nonce in it, else as it says itself.
    pub fn made(&self) -> Timestamp {
        self.made
    }

    /// From when on nobody would take it any more.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// The same with the longest window: a name that is kept until then is known still when the
    /// window has grown.
    pub fn until_at_most(&self) -> Timestamp {
        if self.by_clock { ends(self.made, MAX_WINDOW) } else { self.until }
    }

    /// Whether a client's clock says when it was made.
    pub(super) fn is_by_clock(&self) -> bool {
        self.by_clock
    }

    /// What stands for the key.
    pub(super) fn key(&self) -> [u8; 8] {
        let mut key = [0; 8];
        key.copy_from_slice(digest(&SHA256, self.jkt.as_bytes()).as_ref().get(..8).unwrap_or(&[0; 8]));
        key
    }

    /// What stands for key and name, of one length whatever they are.
    pub(super) fn name(&self) -> [u8; 16] {
        let mut hash = Context::new(&SHA256);
        // A thumbprint has one length.
        hash.update(self.jkt.as_bytes());
        hash.update(self.jti.as_bytes());
        let mut name = [0; 16];
        name.copy_from_slice(hash.finish().as_ref().get(..16).unwrap_or(&[0; 16]));
        name
    }
}

impl ProofRules<'_> {
    /// Checks a proof.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn check(&self, proof: &str, now: Timestamp) -> Result<Proven, ProofError> {
        let signed = SelfSigned::prove(proof, TYP, &ALGORITHMS, MAX_PROOF_BYTES)?;
        let claims = Object::parse(signed.payload(), MAX_CLAIMS_DEPTH).map_err(ProofError::Claims)?;
        let jti = text(&claims, "jti", "a text of 1 to 256 bytes")?;
        if jti.is_empty() || jti.len() > MAX_JTI_BYTES {
            return Err(ProofError::Claim { name: "jti", expected: "a text of 1 to 256 bytes" });
        }
        let method = text(&claims, "htm", "the method of the request")?;
        if method != self.method {
            return Err(ProofError::Method { found: excerpt(&method), expected: self.method.to_owned() });
        }
        let url = text(&claims, "htu", "the URL of the request")?;
        if !HttpUri::parse(&url).is_ok_and(|url| self.urls.contains(&url)) {
            let expected: Vec<&str> = self.urls.iter().map(HttpUri::as_str).collect();
            return Err(ProofError::Url { found: excerpt(&url), expected: expected.join(" or ") });
        }
        let iat = seconds(&claims)?;
        if let Some(token) = self.access_token
            && text(&claims, "ath", "the hash of the access token")? != ath(token)
        {
            return Err(ProofError::AccessToken);
        }
        let by_clock = claims.get("nonce").is_none();
        let (made, lifetime) = self.made(&claims, iat, now)?;
        let until = ends(made, lifetime);
        Ok(Proven { jkt: signed.key().thumbprint(), jti: jti.into_owned(), made, until, by_clock })
    }

    /// When the proof was made, by the nonce in it, else by its own time; and for how long it is
    /// taken.
    fn made(
        &self,
        claims: &Object<'_>,
        iat: Timestamp,
        now: Timestamp,
    ) -> Result<(Timestamp, Duration), ProofError> {
        if claims.get("nonce").is_some() {
            let nonce = text(claims, "nonce", "a text")?;
            let made_at = nonce::read(self.nonces, &nonce, now).ok_or(ProofError::Nonce)?;
            return Ok((made_at, NONCE_LIFETIME));
        }
        if self.require_nonce {
            return Err(ProofError::Nonce);
        }
        if now.since(iat) > self.window || iat.since(now) > self.window.min(AHEAD) {
            return Err(ProofError::Time { iat, now, window: self.window });
        }
        Ok((iat, self.window))
    }
}

/// From when on nobody takes what was made then.
fn ends(made: Timestamp, lifetime: Duration) -> Timestamp {
    made.plus(lifetime).plus(Duration::from_secs(1))
}

fn text<'a>(
    claims: &Object<'a>,
    name: &'static str,
    expected: &'static str,
) -> Result<Cow<'a, str>, ProofError> {
    claims.get(name).and_then(string).ok_or(ProofError::Claim { name, expected })
}

/// `iat` in whole seconds, rounded down.
fn seconds(claims: &Object<'_>) -> Result<Timestamp, ProofError> {
    let missing = ProofError::Claim { name: "iat", expected: "the time in seconds since 1970" };
    let number = claims.get("iat").map(|iat| iat.get()).unwrap_or_default();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_plain = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = whole.parse::<i64>().ok().filter(|seconds| is_plain && NUMERIC_DATES.contains(seconds));
    seconds.map(Timestamp::from_unix_seconds).ok_or(missing)
}
