//! The way of a token inwards: `Unverified` → `Signed` → `Verified`. Each type exists only if its
//! check was passed.
//!
//! `Unverified::parse` takes the text apart strictly and trusts nothing; `verify` proves the
//! signature under one key and makes the payload readable; `check` (in `claims`) proves the claims.
//! The header is closed: `alg`, `kid` and `typ` are read, `crit`, `b64` and encryption are refused,
//! and `jwk`, `jku`, `x5u`, `x5c` are never looked at. Specifications: RFC 7515 §4, §5.2 and
//! appendix A; RFC 8725. Pinned by `tests/rfc_vectors.rs`, `tests/attacks.rs`.

mod load_balancer;
mod self_signed;
mod signed;

pub use load_balancer::{LoadBalancerHeader, LoadBalancerToken};
pub use self_signed::{SelfSigned, SelfSignedError};
pub use signed::Signed;

use crate::{
    Algorithm,
    algorithm::{Primitive, UnsupportedAlgorithm},
    base64url::{self, InvalidBase64Url},
    json::{self, JsonError, Object, WrongType},
    key::{KeyError, MIN_RSA_BITS, PublicKey, SymmetricKey, parse_public},
};
use aws_lc_rs::{
    hmac,
    signature::{
        ED25519, ParsedPublicKey, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, VerificationAlgorithm,
    },
};
use std::fmt;

/// The longest token looked at, in bytes. API Gateway passes at most 10 KiB of headers.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// How deep a token's header and claims may nest; the object itself is depth 1.
pub const MAX_CLAIMS_DEPTH: usize = 16;

/// A compact JWS taken apart. Nothing in it may be believed yet, and its payload cannot be read:
///
/// ```compile_fail,E0599
/// # use countersign_jose::Unverified;
/// fn claims_before_the_signature(token: &str) -> Option<Vec<u8>> {
///     Some(Unverified::parse(token).ok()?.payload().to_vec())
/// }
/// ```
///
/// Nor can claims be checked before the signature was:
///
/// ```compile_fail,E0599
/// # use countersign_jose::{Policy, Timestamp, Unverified};
/// fn checked_before_the_signature(token: &str, policy: &Policy, now: Timestamp) -> bool {
///     Unverified::parse(token).is_ok_and(|token| token.check(policy, now).is_ok())
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Unverified<'a> {
    signing_input: &'a str,
    /// Decoded once, by the first reader; the reason where it is not canonical base64url. Read by
    /// nobody outside.
    payload: Result<Vec<u8>, InvalidBase64Url>,
    signature: &'a str,
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
}

impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl<'a> Unverified<'a> {
    /// Takes a compact token apart. Refuses everything that is not exactly three canonical
    /// base64url parts with a header object this crate understands.
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        Self::parse_within(token, MAX_TOKEN_BYTES)
    }

    /// The same for what is signed as tokens are and may be longer than they: its reader says how
    /// long.
    pub fn parse_within(token: &'a str, max_bytes: usize) -> Result<Self, TokenError> {
        if token.len() > max_bytes {
            return Err(TokenError::TooLong);
        }
        let not_compact = || TokenError::NotCompact { parts: token.split('.').count() };
        let (signing_input, signature) = token.rsplit_once('.').ok_or_else(not_compact)?;
        let (header, payload) = signing_input.split_once('.').ok_or_else(not_compact)?;
        if payload.contains('.') {
            return Err(not_compact());
        }
        if signature.is_empty() {
            return Err(TokenError::Unsigned);
        }
        let header = base64url::decode(header).map_err(TokenPart::Header.not_base64url())?;
        let header = Object::parse(&header, MAX_CLAIMS_DEPTH).map_err(TokenError::Header)?;
        Self::of_parts(signing_input, &header, base64url::decode(payload), signature)
    }

    /// With a header that was read, from parts that were taken apart.
    fn of_parts(
        signing_input: &'a str,
        header: &Object<'_>,
        payload: Result<Vec<u8>, InvalidBase64Url>,
        signature: &'a str,
    ) -> Result<Self, TokenError> {
        // Every parameter that changes how a token is to be read; none is understood here (RFC 7515
        // §4.1.11).
        if ["crit", "b64", "enc", "zip"].iter().any(|name| header.get(name).is_some()) {
            return Err(TokenError::CriticalHeader);
        }
        let text = |name| header.string(name).map_err(TokenError::HeaderType);
        let algorithm = text("alg")?.ok_or(TokenError::NoAlgorithm)?.parse()?;
        let kid = text("kid")?.map(|kid| kid.into_owned());
        let typ = text("typ")?.map(|typ| typ.into_owned());
        Ok(Self { signing_input, payload, signature, algorithm, kid, typ })
    }

    /// The algorithm the header claims. It chooses nothing: it must equal that of the key.
    pub fn unverified_algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key name the header claims; only ever compared with the names of known keys.
    pub fn unverified_kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The issuer the payload claims, to select whose keys may verify the token. Not to be
    /// believed: of a claim that is there twice it is the first, and the rest of the payload was
    /// not looked at. `check` refuses what is not strict.
    pub fn unverified_issuer(&self) -> Result<Option<String>, TokenError> {
        let payload = self.payload.as_deref().map_err(|why| TokenPart::Claims.not_base64url()(*why))?;
        let Some(raw) = json::peek(payload, "iss").map_err(TokenError::Payload)? else { return Ok(None) };
        let wrong = TokenError::PayloadType(WrongType { name: "iss", expected: "a string" });
        Ok(Some(json::string(raw).ok_or(wrong)?.into_owned()))
    }

    /// Proves the signature under `key`, whose algorithm the header must name.
    pub fn verify(self, key: &VerifyingKey) -> Result<Signed, TokenError> {
        Signed::prove(self, key)
    }
}

/// A key that verifies with exactly one algorithm; parsed once.
pub struct VerifyingKey {
    algorithm: Algorithm,
    kid: Option<String>,
    parsed: Parsed,
}

enum Parsed {
    Public(Box<ParsedPublicKey>),
    Secret(Box<hmac::Key>),
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl VerifyingKey {
    /// Binds a public key to `algorithm`, which must take this kind of key. RSA under 2048 bits is
    /// refused.
    pub fn new(key: &PublicKey, algorithm: Algorithm, kid: Option<String>) -> Result<Self, KeyError> {
        let bits = key.bits();
        if matches!(key, PublicKey::Rsa { .. }) && bits < MIN_RSA_BITS {
            return Err(KeyError::RsaTooSmall { bits });
        }
        let (Primitive::Rsa { .. } | Primitive::Ec { .. } | Primitive::Ed25519) = algorithm.primitive()
        else {
            return Err(KeyError::AlgorithmMismatch { algorithm });
        };
        if key.kind() != algorithm.key_kind() {
            return Err(KeyError::AlgorithmMismatch { algorithm });
        }
        let with: &'static dyn VerificationAlgorithm = match algorithm.primitive() {
            Primitive::Rsa { verify, .. } => verify,
            Primitive::Ec { verify, .. } => verify,
            Primitive::Ed25519 => &ED25519,
            Primitive::Hmac(_) => return Err(KeyError::AlgorithmMismatch { algorithm }),
        };
        Ok(Self { algorithm, kid, parsed: Parsed::Public(Box::new(parse_public(key, with)?)) })
    }

    /// Binds an RSA key of 1024 to 2047 bits, for tokens of a system that cannot be changed yet.
    /// RS256 and RS512 only.
    pub fn legacy_weak_rsa(
        key: &PublicKey,
        algorithm: Algorithm,
        kid: Option<String>,
    ) -> Result<Self, KeyError> {
        let with: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::RS256 => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            Algorithm::RS512 => &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            _ => return Err(KeyError::AlgorithmMismatch { algorithm }),
        };
        if !matches!(key, PublicKey::Rsa { .. }) {
            return Err(KeyError::AlgorithmMismatch { algorithm });
        }
        if key.bits() < 1024 {
            return Err(KeyError::RsaTooSmall { bits: key.bits() });
        }
        Ok(Self { algorithm, kid, parsed: Parsed::Public(Box::new(parse_public(key, with)?)) })
    }

    /// Binds a shared secret to an HMAC algorithm; refuses one shorter than the hash.
    pub fn symmetric(
        key: &SymmetricKey,
        algorithm: Algorithm,
        kid: Option<String>,
    ) -> Result<Self, KeyError> {
        Ok(Self { algorithm, kid, parsed: Parsed::Secret(Box::new(key.hmac_key(algorithm)?)) })
    }

    /// The algorithm this key is bound to.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key's name.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether `signature`, in the form it has in a JWS, is one of this key over `message`: to
    /// check what somebody else signed for us. It proves nothing about a token; that is
    /// [`Unverified::verify`]'s to do.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.parsed {
            Parsed::Public(public) => public.verify_sig(message, signature),
            Parsed::Secret(secret) => hmac::verify(secret, message, signature),
        }
        .is_ok()
    }
}

/// A part of a compact token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPart {
    /// The first.
    Header,
    /// The second.
    Claims,
    /// The third.
    Signature,
}

impl TokenPart {
    fn not_base64url(self) -> impl Fn(InvalidBase64Url) -> TokenError {
        move |why| TokenError::NotBase64Url { part: self, why }
    }
}

impl fmt::Display for TokenPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Claims => "claims part",
            Self::Signature => "signature",
        })
    }
}

/// Who sends padded tokens.
fn whose_is_padded(why: InvalidBase64Url) -> &'static str {
    match why {
        InvalidBase64Url::Padding => {
            "; tokens of an AWS load balancer (`x-amzn-oidc-data`) are padded, and are accepted by the preset `aws-alb` alone"
        }
        _ => "",
    }
}

fn parts_in_words(parts: usize) -> String {
    match parts {
        1 => "is one".to_owned(),
        5 => "are five: it is encrypted (a JWE), and only its recipient can read it; or two tokens stand behind one another"
            .to_owned(),
        parts => format!("are {parts}"),
    }
}

/// Why a token is not accepted, up to and including its signature. Never holds any of the token's
/// text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not three parts with two dots: not a token, a JWE, or the JSON serialization.
    #[error("not a compact JWS: three parts separated by dots are expected, and there {}", parts_in_words(*.parts))]
    NotCompact {
        /// How many parts there are.
        parts: usize,
    },
    /// The signature part is empty.
    #[error("the token is not signed")]
    Unsigned,
    /// A part is not canonical base64url.
    #[error("the {part} of the token is not base64url: {why}{}", whose_is_padded(*.why))]
    NotBase64Url {
        /// Which part.
        part: TokenPart,
        /// What is wrong with it, and where.
        why: InvalidBase64Url,
    },
    /// The header is not an acceptable JSON object.
    #[error("the token's header is not acceptable: {0}")]
    Header(JsonError),
    /// A header parameter has the wrong JSON type.
    #[error("the token's header is not acceptable: {0}")]
    HeaderType(WrongType),
    /// `crit`, `b64`, `enc` or `zip`: an extension that changes how the token is read, none of
    /// which is understood.
    #[error("the token's header asks for an extension that is not understood (crit, b64, enc or zip)")]
    CriticalHeader,
    /// No `alg`.
    #[error("the token's header has no `alg`")]
    NoAlgorithm,
    /// `alg` is not in the table; `none` is not.
    #[error("the token asks for an {0}")]
    UnsupportedAlgorithm(#[from] UnsupportedAlgorithm),
    /// No key of that name, or no name and not exactly one key.
    #[error("no key fits the token's `kid` and `alg`")]
    NoKey,
    /// There is a key of that name, and it cannot be used.
    #[error("the key that the token's `kid` names was passed over: {0}")]
    KeyUnusable(KeyError),
    /// The header names another algorithm than the key's.
    #[error("the token says {token}, but its key is for {key}")]
    AlgorithmMismatch {
        /// What the key is bound to.
        key: Algorithm,
        /// What the header claims.
        token: Algorithm,
    },
    /// The signature is not the key's over this token.
    #[error("the signature does not verify")]
    BadSignature,
    /// The payload is not an acceptable JSON object.
    #[error("the token's claims are not acceptable: {0}")]
    Payload(JsonError),
    /// A claim has the wrong JSON type.
    #[error("the token's claims are not acceptable: {0}")]
    PayloadType(WrongType),
    /// The claims do not meet the policy.
    #[error(transparent)]
    Claim(#[from] crate::claims::ClaimError),
}

impl TokenError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "token_too_long",
            Self::NotCompact { .. } => "token_not_compact",
            Self::Unsigned => "token_unsigned",
            Self::NotBase64Url { .. } => "token_not_base64url",
            Self::Header(_) => "token_header_malformed",
            Self::HeaderType(_) => "token_header_wrong_type",
            Self::CriticalHeader => "token_critical_header",
            Self::NoAlgorithm => "token_no_algorithm",
            Self::UnsupportedAlgorithm(_) => "token_unsupported_algorithm",
            Self::NoKey | Self::KeyUnusable(_) => "token_no_key",
            Self::AlgorithmMismatch { .. } => "token_algorithm_mismatch",
            Self::BadSignature => "token_bad_signature",
            Self::Payload(_) => "token_claims_malformed",
            Self::PayloadType(_) => "token_claims_wrong_type",
            Self::Claim(claim) => claim.code(),
        }
    }
}
