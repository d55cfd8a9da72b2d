//! Signed statements, which are not tokens: nobody can use one to get in. `mint` is where tokens
//! come from.
//!
//! Each kind has a `typ` of its own (RFC 8725 §3.11), and its claims keep it from being taken for a
//! token: an audience that is no API's, and no `sub`.

use crate::{Issuer, mint::MintError};
use countersign_jose::{EncodedHeader, Header, SigningInput, Timestamp};

/// A kind of statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    /// What is revoked.
    RevocationList,
    /// What a token is worth (RFC 9701 §5).
    Introspection,
}

impl Statement {
    /// The header's `typ`.
    pub const fn typ(self) -> &'static str {
        match self {
            Self::RevocationList => "revoked+jwt",
            Self::Introspection => "token-introspection+jwt",
        }
    }
}

/// The profile whose key signs statements: verifiers of its tokens have that key.
const PROFILE: &str = "access_token";

impl Issuer {
    /// Signs a statement with the key that signs access tokens.
    ///
    /// # Errors
    ///
    /// As for a token.
    pub async fn state(&self, kind: Statement, payload: &[u8], now: Timestamp) -> Result<String, MintError> {
        self.may_sign(now)?;
        let turn = self.turn(PROFILE).await?;
        // After waiting: what was withdrawn meanwhile does not sign.
        let keys = self.keys();
        let signer = &keys.ready(PROFILE).ok_or_else(|| self.no_key(PROFILE))?.signer;
        let header = Header { alg: signer.algorithm(), kid: Some(signer.kid()), typ: Some(kind.typ()) };
        let header: EncodedHeader = header.encode();
        let input = SigningInput::new(&header, payload);
        let signature = self.timed(signer.as_ref(), &input).await?;
        drop(turn);
        Ok(input.finish(&signature))
    }
}
