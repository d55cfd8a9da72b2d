//! Who may ask for tokens, and how it proves who it is.
//!
//! A secret is 256 random bits made here and stored only as its SHA-256: with that much entropy a
//! slow hash would add nothing but load (docs/decisions/0004). Comparison is in constant time and
//! an unknown client costs the same work as a wrong secret. A client may have several hashes at
//! once, so a secret can be changed without a gap.

use crate::policy::MintPolicy;
use aws_lc_rs::{constant_time::verify_slices_are_equal, digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{collections::HashMap, fmt, str::FromStr, sync::Arc};
use zeroize::Zeroizing;

/// The name of a client: 1 to 128 of `A-Z a-z 0-9 . _ ~ -`, so it needs no quoting anywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(String);

/// A text that is not a client id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a client id is 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -")]
pub struct ClientIdError;

impl FromStr for ClientId {
    type Err = ClientIdError;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
        let valid = (1..=128).contains(&id.len()) && id.bytes().all(allowed);
        if valid { Ok(Self(id.to_owned())) } else { Err(ClientIdError) }
    }
}

impl ClientId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A client secret in clear, for the moment it is made and shown.
pub struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    /// Makes a secret of 256 random bits. The prefix lets secret scanners find one that leaked.
    pub fn generate() -> Option<Self> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        rand::fill(bytes.as_mut()).ok()?;
        Some(Self(Zeroizing::new(format!("cssec_{}", URL_SAFE_NO_PAD.encode(bytes.as_ref())))))
    }

    /// The text, to show once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.0.as_bytes())
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(***)")
    }
}

/// The SHA-256 of a client secret, written `sha256:` and base64url.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

/// A text that is not a secret hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret hash is `sha256:` and 43 characters of base64url; make secret and hash with `countersign client new`"
)]
pub struct SecretHashError;

impl SecretHash {
    fn of(secret: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref());
        Self(hash)
    }
}

impl FromStr for SecretHash {
    type Err = SecretHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let encoded = text.strip_prefix("sha256:").ok_or(SecretHashError)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| SecretHashError)?;
        Ok(Self(bytes.try_into().map_err(|_| SecretHashError)?))
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(***)")
    }
}

/// Who may ask, and for what.
#[derive(Debug)]
pub struct Client {
    /// Its name.
    pub id: ClientId,
    /// The hashes of the secrets it may show.
    pub secret_hashes: Vec<SecretHash>,
    /// What it may ask for.
    pub policy: MintPolicy,
}

/// All declared clients.
#[derive(Debug, Default)]
pub struct Clients(HashMap<String, Arc<Client>>);

impl Clients {
    /// The client of that name if one reading of what was shown is one of its secrets. All readings
    /// are compared with all of its secrets: the work done does not depend on which of them is
    /// wrong, or the name.
    pub fn authenticate<'s>(
        &self,
        id: &str,
        readings: impl IntoIterator<Item = &'s [u8]>,
    ) -> Option<&Arc<Client>> {
        let client = self.0.get(id);
        let nobody = [SecretHash([0; 32])];
        let hashes = client.map_or(&nobody[..], |client| &client.secret_hashes);
        let mut matched = false;
        for reading in readings {
            let shown = SecretHash::of(reading);
            for hash in hashes {
                matched |= verify_slices_are_equal(&hash.0, &shown.0).is_ok();
            }
        }
        client.filter(|_| matched)
    }

    /// The client of that name.
    pub fn find(&self, id: &str) -> Option<&Arc<Client>> {
        self.0.get(id)
    }

    /// The clients, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.0.values()
    }
}

impl FromIterator<Client> for Clients {
    fn from_iter<I: IntoIterator<Item = Client>>(clients: I) -> Self {
        Self(clients.into_iter().map(|client| (client.id.to_string(), Arc::new(client))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: &str, hashes: Vec<SecretHash>) -> Client {
        Client { id: id.parse().unwrap(), secret_hashes: hashes, policy: MintPolicy::default() }
    }

    #[test]
    fn takes_each_of_its_secrets_and_no_other() {
        let (old, new, foreign) = (
            ClientSecret::generate().unwrap(),
            ClientSecret::generate().unwrap(),
            ClientSecret::generate().unwrap(),
        );
        let clients: Clients = [
            client("a", vec![old.hash(), new.hash()]),
            client("b", vec![foreign.hash()]),
            client("c", vec![]),
        ]
        .into_iter()
        .collect();
        let takes = |id, secret: &[u8]| clients.authenticate(id, [secret]).is_some();
        assert!(takes("a", old.expose().as_bytes()));
        assert!(takes("a", new.expose().as_bytes()));
        assert!(!takes("a", foreign.expose().as_bytes()));
        assert!(!takes("a", b""));
        assert!(!takes("a", old.hash().to_string().as_bytes()));
        assert!(!takes("c", b""));
        assert!(!takes("nobody", old.expose().as_bytes()));
        let readings = |one, other| clients.authenticate("a", [one, other]).is_some();
        assert!(readings(b"x", new.expose().as_bytes()) && readings(new.expose().as_bytes(), b"x"));
        assert!(!readings(b"x", foreign.expose().as_bytes()));
    }

    #[test]
    fn a_secret_hash_survives_the_configuration_and_shows_nothing_in_debug() {
        let secret = ClientSecret::generate().unwrap();
        let hash = secret.hash();
        assert_eq!(hash.to_string().parse::<SecretHash>().unwrap(), hash);
        assert!(!format!("{secret:?}{hash:?}").contains(&secret.expose()[6..]));
        for text in ["", "sha256:", "sha256:AAAA", "md5:AAAA", secret.expose()] {
            assert!(text.parse::<SecretHash>().is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_client_ids_that_would_need_quoting() {
        for id in ["", "a b", "a:b", "a/b", "ä", &"a".repeat(129)] {
            assert!(id.parse::<ClientId>().is_err(), "{id}");
        }
        assert!("build-server_1.eu~x".parse::<ClientId>().is_ok());
    }
}
