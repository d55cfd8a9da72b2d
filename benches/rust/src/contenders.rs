//! One key and one token for each algorithm, and who signs and verifies them: aws-lc-rs raw,
//! Countersign, jsonwebtoken.
//!
//! Raw means the primitive on bytes that lie ready, with a key that was parsed before. The other
//! two make a token of the same claims, or take the same token apart, prove it and check issuer,
//! audience and expiry at the current time.

use crate::{at_once, measure::Operation, now};
use anyhow::{Context, Result, ensure};
use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
        ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, VerificationAlgorithm,
    },
};
use countersign_jose::{
    Algorithm, EncodedHeader, Header, KeySet, KeySize, Policy, PrivateKey, SigningInput, SigningKey,
    SymmetricKey, Unverified, VerifyingKey, base64url,
};
use countersign_verifier::{KeySource, TrustedIssuer, Verifier};
use serde::{Deserialize, Serialize};
use std::hint::black_box;

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "api://default";
const KID: &str = "k1";

/// The claims of every token here, as `/sign` mints them.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    nbf: i64,
    iat: i64,
    jti: String,
    email: String,
    role: String,
}

/// Everything the contenders of one algorithm need, parsed.
pub struct Bench {
    claims: Claims,
    header: EncodedHeader,
    signing: SigningKey,
    verifying: VerifyingKey,
    policy: Policy,
    verifier: Verifier,
    raw: Raw,
    /// The signing input of `token`, and its signature.
    message: Vec<u8>,
    signature: Vec<u8>,
    token: String,
    peer: Peer,
}

/// The keys of aws-lc-rs.
enum Raw {
    Rsa(RsaKeyPair, ParsedPublicKey),
    Ec(EcdsaKeyPair, ParsedPublicKey),
    Ed25519(Ed25519KeyPair, ParsedPublicKey),
    Hmac(Box<hmac::Key>),
}

/// What jsonwebtoken takes.
struct Peer {
    header: jsonwebtoken::Header,
    encoding: jsonwebtoken::EncodingKey,
    decoding: jsonwebtoken::DecodingKey,
    validation: jsonwebtoken::Validation,
}

impl Bench {
    /// A new key and a token signed with it.
    pub fn new(algorithm: Algorithm) -> Result<Self> {
        let claims = claims();
        let header = Header { alg: algorithm, kid: Some(KID), typ: Some("JWT") }.encode();
        let (signing, [verifying, trusted], raw, peer) = if algorithm == Algorithm::HS256 {
            let secret = SymmetricKey::generate(algorithm)?;
            let signing = SigningKey::symmetric(&secret, algorithm)?;
            let verifying = || VerifyingKey::symmetric(&secret, algorithm, Some(KID.into()));
            let verifying = [verifying()?, verifying()?];
            let bytes = secret.expose_secret();
            let raw = Raw::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, bytes)));
            let peer = Peer::new(
                jsonwebtoken::Algorithm::HS256,
                jsonwebtoken::EncodingKey::from_secret(bytes),
                jsonwebtoken::DecodingKey::from_secret(bytes),
            );
            (signing, verifying, raw, peer)
        } else {
            let private = PrivateKey::generate(algorithm, KeySize::default())?;
            let public = private.public_key();
            let signing = SigningKey::new(&private, algorithm)?;
            let verifying = || VerifyingKey::new(&public, algorithm, Some(KID.into()));
            let verifying = [verifying()?, verifying()?];
            let (der, spki) = (private.to_pkcs8_der()?, public.to_spki_der()?);
            let raw = Raw::new(algorithm, &der, &spki)?;
            let peer = Peer::asymmetric(algorithm, &der, public.to_pem()?.as_bytes())?;
            (signing, verifying, raw, peer)
        };
        let input = SigningInput::new(&header, &serde_json::to_vec(&claims)?);
        let message = input.as_bytes().to_vec();
        let signature = signing.sign(&input)?;
        let token = input.finish(&signature);
        let policy = Policy::new().issuer(ISSUER).audiences([AUDIENCE]);
        let trusted = TrustedIssuer::builder(ISSUER).keys(KeySource::Keys(KeySet::from(vec![trusted])));
        let trusted = trusted.algorithms([algorithm]).audiences([AUDIENCE]).build()?;
        let verifier = Verifier::builder().trust(trusted).build()?;
        let bench = Self {
            claims,
            header,
            signing,
            verifying,
            policy,
            verifier,
            raw,
            message,
            signature,
            token,
            peer,
        };
        bench.check_that_all_agree()?;
        Ok(bench)
    }

    /// Bytes of the token.
    pub fn token_bytes(&self) -> usize {
        self.token.len()
    }

    /// Signers: raw, ours, jsonwebtoken.
    pub fn signers(&self) -> [Operation<'_>; 3] {
        let mut buffer = vec![0; 512];
        [
            Box::new(move || self.raw.sign(black_box(&self.message), &mut buffer)),
            Box::new(|| self.sign().map(|token| drop(black_box(token)))),
            Box::new(|| self.peer_sign().map(|token| drop(black_box(token)))),
        ]
    }

    /// Verifiers: raw, ours, jsonwebtoken.
    pub fn verifiers(&self) -> [Operation<'_>; 3] {
        [
            Box::new(|| self.raw.verify(black_box(&self.message), black_box(&self.signature))),
            Box::new(|| self.verify(black_box(&self.token))),
            Box::new(|| self.peer_verify(black_box(&self.token))),
        ]
    }

    /// The same with the issuer selected by the token's `iss`, as the crate `verifier` does for a
    /// server.
    pub fn trusting_verifiers(&self) -> [Operation<'_>; 3] {
        let [raw, _, peer] = self.verifiers();
        [raw, Box::new(|| self.verify_trusting(black_box(&self.token))), peer]
    }

    fn sign(&self) -> Result<String> {
        let payload = serde_json::to_vec(black_box(&self.claims))?;
        let input = SigningInput::new(&self.header, &payload);
        let signature = self.signing.sign(&input)?;
        Ok(input.finish(&signature))
    }

    fn peer_sign(&self) -> Result<String> {
        let peer = &self.peer;
        Ok(jsonwebtoken::encode(&peer.header, black_box(&self.claims), &peer.encoding)?)
    }

    fn verify(&self, token: &str) -> Result<()> {
        let verified = Unverified::parse(token)?.verify(&self.verifying)?.check(&self.policy, now())?;
        black_box(verified.registered());
        Ok(())
    }

    fn verify_trusting(&self, token: &str) -> Result<()> {
        let verdict = at_once(self.verifier.verify(token, now()))?;
        black_box(verdict?.verified().registered());
        Ok(())
    }

    fn peer_verify(&self, token: &str) -> Result<()> {
        let peer = &self.peer;
        black_box(jsonwebtoken::decode::<Claims>(token, &peer.decoding, &peer.validation)?);
        Ok(())
    }

    /// Each contender's token passes the others, and none of them takes a token with another
    /// payload.
    fn check_that_all_agree(&self) -> Result<()> {
        for token in [self.sign()?, self.peer_sign()?] {
            self.verify(&token)?;
            self.verify_trusting(&token)?;
            self.peer_verify(&token)?;
        }
        self.raw.verify(&self.message, &self.signature)?;
        let forged = self.token.replacen(".ey", ".fy", 1);
        ensure!(self.verify(&forged).is_err() && self.peer_verify(&forged).is_err(), "a forgery passed");
        Ok(())
    }
}

impl Raw {
    fn new(algorithm: Algorithm, der: &[u8], spki: &[u8]) -> Result<Self> {
        let public = |with: &'static dyn VerificationAlgorithm| {
            ParsedPublicKey::new(with, spki).context("aws-lc-rs refuses the public key")
        };
        Ok(match algorithm {
            Algorithm::RS256 => Self::Rsa(RsaKeyPair::from_pkcs8(der)?, public(&RSA_PKCS1_2048_8192_SHA256)?),
            Algorithm::ES256 => Self::Ec(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)?,
                public(&ECDSA_P256_SHA256_FIXED)?,
            ),
            Algorithm::EdDSA => Self::Ed25519(Ed25519KeyPair::from_pkcs8(der)?, public(&ED25519)?),
            other => anyhow::bail!("{other} is not measured"),
        })
    }

    fn sign(&self, message: &[u8], buffer: &mut [u8]) -> Result<()> {
        let rng = SystemRandom::new();
        match self {
            Self::Rsa(pair, _) => {
                let room = buffer.get_mut(..pair.public_modulus_len()).context("a key too large")?;
                pair.sign(&RSA_PKCS1_SHA256, &rng, message, room)?;
                black_box(&*room);
            }
            Self::Ec(pair, _) => {
                black_box(pair.sign(&rng, message)?);
            }
            Self::Ed25519(pair, _) => {
                black_box(pair.try_sign(message)?);
            }
            Self::Hmac(key) => {
                black_box(hmac::sign(key, message));
            }
        }
        Ok(())
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<()> {
        match self {
            Self::Rsa(_, public) | Self::Ec(_, public) | Self::Ed25519(_, public) => {
                public.verify_sig(message, signature)?;
            }
            Self::Hmac(key) => hmac::verify(key, message, signature)?,
        }
        Ok(())
    }
}

impl Peer {
    fn new(
        algorithm: jsonwebtoken::Algorithm,
        encoding: jsonwebtoken::EncodingKey,
        decoding: jsonwebtoken::DecodingKey,
    ) -> Self {
        let header = jsonwebtoken::Header { kid: Some(KID.into()), ..jsonwebtoken::Header::new(algorithm) };
        let mut validation = jsonwebtoken::Validation::new(algorithm);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = 0;
        Self { header, encoding, decoding, validation }
    }

    fn asymmetric(algorithm: Algorithm, pkcs8: &[u8], public: &[u8]) -> Result<Self> {
        use jsonwebtoken::{Algorithm as Named, DecodingKey, EncodingKey};
        let private = private_pem(pkcs8);
        let private = private.as_bytes();
        Ok(match algorithm {
            Algorithm::RS256 => Self::new(
                Named::RS256,
                EncodingKey::from_rsa_pem(private)?,
                DecodingKey::from_rsa_pem(public)?,
            ),
            Algorithm::ES256 => {
                Self::new(Named::ES256, EncodingKey::from_ec_pem(private)?, DecodingKey::from_ec_pem(public)?)
            }
            Algorithm::EdDSA => {
                Self::new(Named::EdDSA, EncodingKey::from_ed_pem(private)?, DecodingKey::from_ed_pem(public)?)
            }
            other => anyhow::bail!("{other} is not measured"),
        })
    }
}

/// jsonwebtoken wants PEM.
fn private_pem(pkcs8: &[u8]) -> String {
    // base64url in the standard alphabet and padded.
    let mut text = base64url::encode(pkcs8).replace('-', "+").replace('_', "/");
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    let lines: Vec<String> =
        text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

fn claims() -> Claims {
    let now = now().unix_seconds();
    Claims {
        iss: ISSUER.into(),
        sub: "alice".into(),
        aud: AUDIENCE.into(),
        exp: now + 36_000,
        nbf: now - 5,
        iat: now - 5,
        jti: base64url::encode(&[7; 16]),
        email: "alice@example.com".into(),
        role: "member".into(),
    }
}
