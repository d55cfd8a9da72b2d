//! How verifiers come to a key, and what follows from that: who refuses its tokens and until when
//! once it signs, and what is left to do when it is revoked.
//!
//! A key that is in no JWKS is never seen, and never withdrawn by anything that is done here. It
//! waits as long as its ring says that giving it to its verifiers takes, and 8x8 has every key that
//! has a name. Asked by all that tell of keys, so that all of them say the same. Pinned by the
//! tests below, tests/e2e/test_keys_cli.py and tests/e2e/test_revoke.py.

use crate::config::Config;
use countersign_jose::{Algorithm, Timestamp};
use countersign_keyring::{Distribution, KeyRecord, RingName};
use std::time::Duration;

/// How verifiers come to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// They read the public documents.
    Published,
    /// 8x8 is given the key.
    Jaas,
    /// They are given it by hand.
    ByHand,
}

impl Reached {
    /// How they come to a key of this ring. A secret (HS256) is published nowhere, whatever its
    /// ring is.
    pub(super) fn of(config: &Config, ring: &RingName, algorithm: Option<Algorithm>) -> Self {
        if config.profiles.iter().any(|profile| profile.name() == "jaas" && profile.ring() == ring) {
            Self::Jaas
        } else if algorithm.is_some_and(Algorithm::is_symmetric) || config.unpublished_rings.contains(ring) {
            Self::ByHand
        } else {
            Self::Published
        }
    }

    /// Who refuses the tokens of a key that signs before it is known, and until when. `propagation`
    /// is how long verifiers keep what they have read.
    pub(super) fn who_refuses(self, propagation: Duration) -> String {
        match self {
            Self::Published => format!(
                "verifiers that read the keys before this one was there refuse its tokens, for up to {}",
                humantime::format_duration(propagation)
            ),
            Self::Jaas => {
                "8x8 refuses its tokens until its public key is in the JaaS console, under API keys"
                    .to_owned()
            }
            Self::ByHand => {
                "it is in no JWKS, so every verifier that was not given it refuses its tokens until it is"
                    .to_owned()
            }
        }
    }

    /// Why a key that is in no JWKS does not sign yet, and what to do. `known_at` is when its
    /// verifiers have had the time that they need, if it began.
    pub(super) fn not_yet(
        self,
        ring: &RingName,
        propagation: Duration,
        known_at: Option<Timestamp>,
    ) -> String {
        let who = match self {
            Self::Published => "verifiers",
            Self::Jaas => "8x8, in the JaaS console under API keys,",
            Self::ByHand => "every verifier",
        };
        match known_at {
            Some(at) => format!(
                "is in no JWKS: give it to {who} until {at}, which is {} after it could be given (rings.{ring}.propagation), and \
                 activate it then; or if they have it, use --force",
                humantime::format_duration(propagation)
            ),
            None => format!(
                "is in no JWKS, and {who} may not have it: begin with `countersign keys publish`, which says that it is being \
                 given out; or if they have it, use --force"
            ),
        }
    }
}

/// The word for a key's state.
pub(super) fn state(config: &Config, ring: &RingName, key: &KeyRecord) -> &'static str {
    key.state.name_in(match Reached::of(config, ring, Some(key.algorithm)) {
        Reached::Published => Distribution::Published,
        Reached::Jaas | Reached::ByHand => Distribution::ByHand,
    })
}

/// What is left to do when a key is revoked; `None` where its ring is not known.
pub(super) fn left_to_do(reached: Option<Reached>) -> &'static [&'static str] {
    match reached {
        Some(Reached::Published) => &[
            "Verifiers refuse its tokens when they read the JWKS again; some keep keys for hours.",
            "Where the public documents are served from a folder or a bucket, run `countersign publish` now, with \
             --cloudfront where CloudFront stands in front.",
        ],
        Some(Reached::Jaas) => &[
            "8x8 was given this key by hand and accepts its tokens until you delete it in the JaaS console, under API keys.",
        ],
        Some(Reached::ByHand) => &[
            "It is in no JWKS, so there is nowhere to withdraw it from: every verifier that was given it accepts its \
             tokens until it is replaced there.",
        ],
        None => &[
            "The keyring cannot be read, so its ring is not known: if it is published, verifiers refuse its tokens when \
             they read the JWKS again; if verifiers were given it by hand (JaaS, HS256), remove it there.",
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_issuer::HttpIssuer;
    use countersign_settings::Environment;

    const CONFIG: &str = r#"
issuer = "https://issuer.example"

[rings.default]
algorithm = "RS256"

[rings.private]
algorithm = "ES256"
publish = false

[rings.secret]
algorithm = "HS256"

[rings.jaas]
algorithm = "RS256"

[profiles.jaas]
app_id = "vpaas-magic-cookie-1"
"#;

    fn config() -> Config {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("countersign.toml");
        crate::files::create(&file, CONFIG.as_bytes()).unwrap();
        crate::config::load_file(&file, &Environment::default(), HttpIssuer::LoopbackOnly).unwrap()
    }

    #[test]
    fn how_verifiers_come_to_a_key_follows_from_its_ring_and_its_algorithm() {
        let config = config();
        for (ring, algorithm, reached) in [
            ("default", Some(Algorithm::RS256), Reached::Published),
            ("default", Some(Algorithm::EdDSA), Reached::Published),
            ("default", None, Reached::Published),
            ("default", Some(Algorithm::HS256), Reached::ByHand),
            ("default", Some(Algorithm::HS512), Reached::ByHand),
            ("secret", Some(Algorithm::HS256), Reached::ByHand),
            ("secret", Some(Algorithm::ES256), Reached::Published),
            ("private", Some(Algorithm::ES256), Reached::ByHand),
            ("private", None, Reached::ByHand),
            ("jaas", Some(Algorithm::RS256), Reached::Jaas),
            ("jaas", None, Reached::Jaas),
        ] {
            assert_eq!(
                Reached::of(&config, &ring.parse().unwrap(), algorithm),
                reached,
                "{ring} {algorithm:?}"
            );
        }
    }

    #[test]
    fn what_is_said_of_a_key_that_signs_has_a_time_only_where_time_helps() {
        let hour = Duration::from_secs(3600);
        for (reached, says, waits) in [
            (Reached::Published, "for up to 1h", true),
            (Reached::Jaas, "until its public key is in the JaaS console", false),
            (Reached::ByHand, "every verifier that was not given it", false),
        ] {
            let text = reached.who_refuses(hour);
            assert!(text.contains(says), "{text}");
            assert_eq!((text.contains("for up to"), text.contains("1h")), (waits, waits), "{text}");
        }
    }

    #[test]
    fn a_key_that_is_in_no_jwks_is_told_when_it_may_sign_and_what_its_verifiers_need() {
        let (ring, day) = ("given".parse().unwrap(), Duration::from_secs(24 * 3600));
        for (reached, who) in [(Reached::Jaas, "8x8"), (Reached::ByHand, "every verifier")] {
            let at = Timestamp::from_unix_seconds(1_800_000_000);
            let text = reached.not_yet(&ring, day, Some(at));
            for part in [who, "until 2027-01-15T08:00:00Z", "1day", "rings.given.propagation", "--force"] {
                assert!(text.contains(part), "{part}: {text}");
            }
            let text = reached.not_yet(&ring, day, None);
            assert!(
                text.contains(who) && text.contains("countersign keys publish") && !text.contains("1day"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_left_to_do_is_told_for_each_way_a_verifier_came_to_the_key() {
        for (reached, says, does_not_say) in [
            (Some(Reached::Published), "countersign publish", "JaaS"),
            (Some(Reached::Jaas), "delete it in the JaaS console", "read the JWKS again"),
            (Some(Reached::ByHand), "nowhere to withdraw it from", "read the JWKS again"),
            (None, "its ring is not known", "countersign publish"),
        ] {
            let text = left_to_do(reached).join(" ");
            assert!(text.contains(says) && !text.contains(does_not_say), "{reached:?}: {text}");
        }
    }
}
