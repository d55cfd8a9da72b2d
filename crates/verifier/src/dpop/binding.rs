//! `cnf`: the key that a token is bound to (RFC 7800 §3, RFC 9449 §6.1).

use countersign_jose::{
    MAX_CLAIMS_DEPTH, Verified, base64url,
    json::{Object, string},
};

/// The thumbprint of the one key whose holder may use a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    jkt: String,
}

/// The token is bound in a way that cannot be checked here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is bound to its holder in another way (`cnf`) than by the thumbprint of a key (`jkt`)")]
pub struct UnknownBinding;

impl Binding {
    /// What a token is bound to; `None` for one that anybody may use who has it.
    ///
    /// # Errors
    ///
    /// [`UnknownBinding`]: who cannot check it must not take the token.
    pub fn of(token: &Verified) -> Result<Option<Self>, UnknownBinding> {
        Self::in_claims(token.payload())
    }

    /// The same of the claims of a token that somebody else has verified, as JSON.
    ///
    /// # Errors
    ///
    /// [`UnknownBinding`].
    pub fn in_claims(claims: &[u8]) -> Result<Option<Self>, UnknownBinding> {
        // Nearly every token: neither the claim nor an escape that could spell it.
        let may_have = |text: &[u8]| text.windows(5).any(|five| five == b"\"cnf\"") || text.contains(&b'\\');
        if !may_have(claims) {
            return Ok(None);
        }
        // What is verified has been read as an object before.
        let claims = Object::parse(claims, MAX_CLAIMS_DEPTH).map_err(|_| UnknownBinding)?;
        let Some(cnf) = claims.get("cnf") else { return Ok(None) };
        let cnf = Object::parse(cnf.get().as_bytes(), MAX_CLAIMS_DEPTH).map_err(|_| UnknownBinding)?;
        let only = cnf.members().count() == 1;
        let jkt = cnf.get("jkt").and_then(string).filter(|_| only).ok_or(UnknownBinding)?;
        let is_thumbprint = base64url::decode(&jkt).is_ok_and(|hash| hash.len() == 32);
        if is_thumbprint { Ok(Some(Self { jkt: jkt.into_owned() })) } else { Err(UnknownBinding) }
    }

    /// Whether this is the thumbprint of the key. Neither is a secret.
    pub fn is_to(&self, jkt: &str) -> bool {
        self.jkt == jkt
    }
}
