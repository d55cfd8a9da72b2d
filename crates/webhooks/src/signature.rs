//! `X-Jaas-Signature: t=<unix time>,v1=<base64>`: the HMAC-SHA256 of `t`, a full stop and the body
//! as it was sent.
//!
//! The time is looked at before the body is read, and signed with it, so what is too old costs
//! nothing. Secrets are compared in constant time. While a secret changes there are two; which of
//! them has signed is not told.

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_jose::Timestamp;
use std::{fmt, time::Duration};
use zeroize::Zeroizing;

/// The most secrets: the one in use, and the one before or after it.
pub const MAX_SECRETS: usize = 2;
/// The longest header: a time and a few signatures of 44 characters.
const MAX_HEADER: usize = 512;
/// The most signatures in one header.
const MAX_SIGNATURES: usize = 4;
/// The shortest secret, in bytes: what is shorter can be guessed from one signature.
const MIN_SECRET: usize = 16;
/// From here on a time is meant in milliseconds: as seconds it would be in the year 5138.
const MILLISECONDS: u64 = 100_000_000_000;

/// The secret of a webhook. `Debug` does not show it.
pub struct WebhookSecret(hmac::Key);

/// A secret that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret of {0} bytes; the console of JaaS gives longer ones, and at least {MIN_SECRET} are taken")]
pub struct WebhookSecretError(usize);

impl WebhookSecret {
    /// The text that the console of JaaS shows.
    ///
    /// # Errors
    ///
    /// If it is too short to be one.
    pub fn new(text: &Zeroizing<String>) -> Result<Self, WebhookSecretError> {
        if text.len() < MIN_SECRET {
            return Err(WebhookSecretError(text.len()));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSecret").finish_non_exhaustive()
    }
}

/// What the header says, not believed yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claimed<'a> {
    /// As it was written, for that is what was signed.
    time: &'a str,
    signatures: Vec<[u8; 32]>,
}

/// Why a request is not 8x8's. Nothing of it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    #[error("there is no X-Jaas-Signature header")]
    Missing,
    #[error("X-Jaas-Signature is not t=<unix time>,v1=<base64>")]
    Malformed,
    #[error("the time in X-Jaas-Signature is further from now than the window allows")]
    OutsideWindow,
    #[error("the signature is not of this webhook's secret and this body")]
    Wrong,
}

impl<'a> Claimed<'a> {
    /// Reads the header. Members that are not known are passed over, so that there may be a v2 one
    /// day.
    pub(crate) fn parse(header: &'a str) -> Result<Self, SignatureError> {
        if header.len() > MAX_HEADER {
            return Err(SignatureError::Malformed);
        }
        let (mut time, mut signatures) = (None, Vec::new());
        for element in header.split(',') {
            // Base64 ends with `=`, so only the first one separates.
            let (name, value) = element.trim().split_once('=').ok_or(SignatureError::Malformed)?;
            match name {
                "t" if time.is_some() => return Err(SignatureError::Malformed),
                "t" => time = Some(value),
                "v1" if signatures.len() == MAX_SIGNATURES => return Err(SignatureError::Malformed),
                "v1" => {
                    let bytes = STANDARD.decode(value).map_err(|_| SignatureError::Malformed)?;
                    signatures.push(bytes.try_into().map_err(|_| SignatureError::Malformed)?);
                }
                _ => {}
            }
        }
        let time =
            time.filter(|time| (1..=15).contains(&time.len()) && time.bytes().all(|b| b.is_ascii_digit()));
        let time = time.ok_or(SignatureError::Malformed)?;
        if signatures.is_empty() { Err(SignatureError::Malformed) } else { Ok(Self { time, signatures }) }
    }

    /// Whether it was signed no longer ago than `window`, nor that far in the future.
    pub(crate) fn check_time(&self, now: Timestamp, window: Duration) -> Result<(), SignatureError> {
        let time: u64 = self.time.parse().map_err(|_| SignatureError::Malformed)?;
        let seconds = if time >= MILLISECONDS { time / 1000 } else { time };
        let signed = i64::try_from(seconds).map_err(|_| SignatureError::Malformed)?;
        let apart = now.unix_seconds().abs_diff(signed);
        if apart <= window.as_secs() { Ok(()) } else { Err(SignatureError::OutsideWindow) }
    }

    /// Whether one of the secrets has signed this body.
    pub(crate) fn verify(&self, secrets: &[WebhookSecret], body: &[u8]) -> Result<(), SignatureError> {
        let mut found = false;
        for secret in secrets {
            let mut own = hmac::Context::with_key(&secret.0);
            for part in [self.time.as_bytes(), b".", body] {
                own.update(part);
            }
            let own = own.sign();
            // All of them, so that time does not tell which one fits.
            for signature in &self.signatures {
                found |= verify_slices_are_equal(own.as_ref(), signature).is_ok();
            }
        }
        if found { Ok(()) } else { Err(SignatureError::Wrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_800_000_000;

    fn secret(text: &str) -> WebhookSecret {
        WebhookSecret::new(&Zeroizing::new(text.to_owned())).unwrap()
    }

    /// openssl dgst -sha256 -hmac: printf '1800000000.{"a":1}' | openssl dgst -sha256 -hmac
    /// whsec_0123456789 -binary | base64
    const BODY: &[u8] = br#"{"a":1}"#;
    const KNOWN: &str = "6a1e2ARymDAp48WtaMRbSAmhJWn7qEl2o7J0wsG84Yo=";

    #[test]
    fn a_signature_made_by_openssl_is_the_one_and_no_other_time_or_body_has_it() {
        let header = format!("t={NOW},v1={KNOWN}");
        let secrets = [secret("another-secret-of-before"), secret("whsec_0123456789")];
        let claimed = Claimed::parse(&header).unwrap();
        assert_eq!(claimed.verify(&secrets, BODY), Ok(()));
        assert_eq!(claimed.verify(&secrets[..1], BODY), Err(SignatureError::Wrong));
        assert_eq!(claimed.verify(&[], BODY), Err(SignatureError::Wrong));
        assert_eq!(claimed.verify(&secrets, br#"{"a":1} "#), Err(SignatureError::Wrong));
        for other in [format!("t={},v1={KNOWN}", NOW + 1), format!("t=0{NOW},v1={KNOWN}")] {
            let claimed = Claimed::parse(&other).unwrap();
            assert_eq!(claimed.verify(&secrets, BODY), Err(SignatureError::Wrong), "{other}");
        }
        let wrong = STANDARD.encode([7; 32]);
        for (several, outcome) in [
            (format!("t={NOW},v1={wrong},v1={KNOWN}"), Ok(())),
            (format!("v0=x,v1={KNOWN}, t={NOW},v2=y="), Ok(())),
            (format!("t={NOW},v1={wrong}"), Err(SignatureError::Wrong)),
        ] {
            assert_eq!(Claimed::parse(&several).unwrap().verify(&secrets, BODY), outcome, "{several}");
        }
    }

    #[test]
    fn what_is_no_signature_is_refused_before_anything_is_computed() {
        let good = STANDARD.encode([7; 32]);
        let many = format!("t=1{}", format!(",v1={good}").repeat(5));
        for header in [
            "",
            "t=1",
            "v1=AAAA",
            "t=1,v1=",
            "t=1,v1=AAAA",
            "t=1;v1=AAAA",
            &format!("t=,v1={good}"),
            &format!("t=-1,v1={good}"),
            &format!("t=1.5,v1={good}"),
            &format!("t=1,t=1,v1={good}"),
            &format!("t=1234567890123456,v1={good}"),
            &format!("t=1,v1={}", good.trim_end_matches('=')),
            &format!("t=1,v1={good}x"),
            &format!("t=1,v1={}", "A".repeat(600)),
            &many,
        ] {
            assert_eq!(Claimed::parse(header), Err(SignatureError::Malformed), "{header}");
        }
    }

    #[test]
    fn the_window_holds_in_both_directions_and_for_milliseconds() {
        let good = STANDARD.encode([7; 32]);
        let window = Duration::from_secs(3600);
        for (time, fits) in [
            (NOW, true),
            (NOW - 3600, true),
            (NOW + 3600, true),
            (NOW - 3601, false),
            (NOW + 3601, false),
            (NOW * 1000, true),
            ((NOW - 3601) * 1000, false),
            (0, false),
        ] {
            let header = format!("t={time},v1={good}");
            let now = Timestamp::from_unix_seconds(NOW);
            let checked = Claimed::parse(&header).unwrap().check_time(now, window);
            assert_eq!(checked.is_ok(), fits, "{time}");
        }
    }

    #[test]
    fn a_secret_that_could_be_guessed_is_refused_and_none_is_shown() {
        assert!(WebhookSecret::new(&Zeroizing::new("x".repeat(15))).is_err());
        assert!(!format!("{:?}", secret("whsec_0123456789")).contains("whsec"));
    }

    proptest! {
        #[test]
        fn no_header_panics_and_none_but_the_right_one_is_good(header in "[tv1=,.+/A-Za-z0-9 ]{0,90}", body in any::<Vec<u8>>()) {
            if let Ok(claimed) = Claimed::parse(&header) {
                prop_assert_eq!(claimed.verify(&[secret("whsec_0123456789")], &body), Err(SignatureError::Wrong));
                let _ = claimed.check_time(Timestamp::from_unix_seconds(NOW), Duration::from_secs(60));
            }
        }
    }
}
