//! A key on its way into the keyring: made here, made by a service, or brought from elsewhere, and
//! not sealed yet.
//!
//! It is sealed anew for each attempt to write it, under the sealing key of that moment: a key that
//! was sealed before somebody else changed the sealing key would be written under one that is about
//! to go.

use crate::{
    KeyOrigin, KeyService, Keyring, KeyringError, LocalSigner, NewKey, PrivateHalf, RemoteKey, RemoteSigner,
    RingName, RingSpec, SealingKey, Signer, sealing::Opening,
};
use countersign_jose::{
    Algorithm, KeyError, KeyKind, PrivateKey, PublicJwk, PublicKey, SigningKey, SymmetricKey, base64url,
};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A key brought from elsewhere.
#[derive(Debug)]
pub struct ImportedKey {
    /// Its name; the thumbprint of its public half when none exists.
    pub kid: Option<String>,
    /// The algorithm it is to sign with.
    pub algorithm: Algorithm,
    /// The key itself.
    pub material: ImportedMaterial,
}

/// A private key, a shared secret, or a key that a service keeps.
#[derive(Debug)]
pub enum ImportedMaterial {
    /// A private key.
    Private(PrivateKey),
    /// A shared secret.
    Secret(SymmetricKey),
    /// A key that stays where it is.
    Remote {
        /// The key.
        key: RemoteKey,
        /// Who keeps it.
        service: Arc<dyn KeyService>,
    },
}

impl ImportedKey {
    /// The key as the signer it would become.
    pub fn signer(&self) -> Result<Box<dyn Signer>, KeyError> {
        let algorithm = self.algorithm;
        Ok(match &self.material {
            ImportedMaterial::Private(key) => {
                Box::new(LocalSigner::new(self.name()?, SigningKey::new(key, algorithm)?))
            }
            ImportedMaterial::Secret(key) => {
                Box::new(LocalSigner::new(self.name()?, SigningKey::symmetric(key, algorithm)?))
            }
            ImportedMaterial::Remote { key, service } => {
                let (public, service) = (key.public.clone(), Arc::clone(service));
                Box::new(RemoteSigner::new(self.name()?, key.name.clone(), algorithm, public, service)?)
            }
        })
    }

    /// Its public half; `None` for a shared secret.
    pub fn public(&self) -> Option<PublicKey> {
        match &self.material {
            ImportedMaterial::Private(key) => Some(key.public_key()),
            ImportedMaterial::Secret(_) => None,
            ImportedMaterial::Remote { key, .. } => Some(key.public.clone()),
        }
    }

    /// Its name: the one it comes with, else the thumbprint.
    pub fn name(&self) -> Result<String, KeyError> {
        let thumbprint = || self.public().map(|key| key.thumbprint());
        self.kid.clone().or_else(thumbprint).ok_or(KeyError::MissingMember("kid"))
    }
}

/// A key and everything about it, not sealed.
pub(crate) struct Material {
    pub(crate) kid: String,
    algorithm: Algorithm,
    origin: KeyOrigin,
    public: Option<PublicKey>,
    private: Private,
}

enum Private {
    /// PKCS#8, or a shared secret.
    Here(Zeroizing<Vec<u8>>),
    /// The service's name for it.
    Remote(String),
}

impl Material {
    /// A key from elsewhere. Refuses one that cannot sign with its algorithm.
    pub(crate) fn imported(key: &ImportedKey) -> Result<Self, KeyringError> {
        key.signer()?;
        let private = match &key.material {
            ImportedMaterial::Private(key) => Private::Here(key.to_pkcs8_der()?),
            ImportedMaterial::Secret(key) => Private::Here(Zeroizing::new(key.expose_secret().to_vec())),
            ImportedMaterial::Remote { key, .. } => Private::Remote(key.name.clone()),
        };
        let (kid, public) = (key.name()?, key.public());
        Ok(Self { kid, algorithm: key.algorithm, origin: KeyOrigin::Imported, public, private })
    }

    /// A new key, made here.
    pub(crate) fn generated(spec: &RingSpec) -> Result<Self, KeyringError> {
        let algorithm = spec.algorithm;
        let (kid, public, secret) = match algorithm.key_kind() {
            KeyKind::Oct { .. } => return Ok(Self::generated_secret(spec)?.0),
            KeyKind::Rsa | KeyKind::Ec(_) | KeyKind::Ed25519 => {
                let key = PrivateKey::generate(algorithm, spec.size)?;
                let public = key.public_key();
                (public.thumbprint(), Some(public), key.to_pkcs8_der()?)
            }
        };
        Ok(Self { kid, algorithm, origin: KeyOrigin::Generated, public, private: Private::Here(secret) })
    }

    /// A new shared secret, and what is to be given to verifiers. It is text, as many take secrets
    /// as nothing else: so many random bytes as the hash has, in base64url.
    pub(crate) fn generated_secret(spec: &RingSpec) -> Result<(Self, SymmetricKey), KeyringError> {
        let algorithm = spec.algorithm;
        let random = SymmetricKey::generate(algorithm)?;
        let text = Zeroizing::new(base64url::encode(random.expose_secret()).into_bytes());
        // A secret has no public thumbprint; its name must tell nothing about it.
        let kid = base64url::encode(SymmetricKey::generate(Algorithm::HS256)?.expose_secret());
        let origin = KeyOrigin::Generated;
        let secret = SymmetricKey::new(text.clone());
        Ok((Self { kid, algorithm, origin, public: None, private: Private::Here(text) }, secret))
    }

    /// A new key, made by a service.
    pub(crate) async fn created(spec: &RingSpec, service: &dyn KeyService) -> Result<Self, KeyringError> {
        let RemoteKey { name, public } = service.create(&spec.name, spec.algorithm, spec.size).await?;
        Ok(Self {
            kid: public.thumbprint(),
            algorithm: spec.algorithm,
            origin: KeyOrigin::Generated,
            public: Some(public),
            private: Private::Remote(name),
        })
    }

    /// The service's name for the key, if one keeps it.
    pub(crate) fn remote_name(&self) -> Option<&str> {
        match &self.private {
            Private::Here(_) => None,
            Private::Remote(name) => Some(name),
        }
    }

    /// What is stored of the same shared secret under the same name, if it is there.
    pub(crate) fn stored_secret(&self, keyring: &Keyring, opening: &Opening) -> Option<PrivateHalf> {
        let Self { kid, algorithm, public: None, private: Private::Here(secret), .. } = self else {
            return None;
        };
        let (ring, record) = keyring.find(kid).filter(|(_, record)| record.algorithm == *algorithm)?;
        let PrivateHalf::Sealed(sealed) = &record.private else { return None };
        let stored = opening.open(sealed, &context(ring, kid, *algorithm)).ok()?;
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(&stored, secret).is_ok();
        same.then(|| record.private.clone())
    }

    /// The key as it enters `ring`.
    pub(crate) fn sealed(&self, ring: &RingName, sealing: &SealingKey) -> Result<NewKey, KeyringError> {
        let Self { kid, algorithm, origin, public, private } = self;
        Ok(NewKey {
            private: match private {
                Private::Here(secret) => {
                    PrivateHalf::Sealed(sealing.seal(secret, &context(ring, kid, *algorithm))?)
                }
                Private::Remote(name) => PrivateHalf::remote(name.clone()),
            },
            public: public.clone().map(|key| PublicJwk { kid: kid.clone(), algorithm: *algorithm, key }),
            origin: *origin,
            algorithm: *algorithm,
            kid: kid.clone(),
        })
    }
}

/// What a sealed key is bound to.
pub(crate) fn context(ring: &RingName, kid: &str, algorithm: Algorithm) -> String {
    format!("{ring}\n{kid}\n{algorithm}")
}
