//! What a request uses up: its DPoP proof, and the tokens that are taken once.
//!
//! All of it is taken when nothing else can refuse the request any more, and before anything is
//! minted. The proof is first: one that was used before uses nothing else up. Of a subject token
//! and its actor's, neither is used up by the other's fault, and a mint that fails uses up neither:
//! what was taken is given back. A request that is given up meanwhile runs to its end
//! (`to_the_end`). Pinned by `tests/e2e/test_spent.py`.

use crate::{
    dpop,
    error::TokenError,
    exchange::ExchangeError,
    seen::{Kind, Seen, Taken},
};
use countersign_issuer::GrantType;
use countersign_jose::Timestamp;
use countersign_verifier::dpop::Proven;

/// The name of a token that is taken once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SingleUse {
    /// Who gave the name.
    pub(crate) by: String,
    /// What it is called; of a code, which has no name and is a secret, a hash.
    pub(crate) jti: String,
    /// Until when somebody could show it again.
    pub(crate) until: Timestamp,
}

/// The tokens of a request that are taken once.
#[derive(Debug, Default)]
pub(crate) struct Spends {
    /// The assertion, subject token or code.
    pub(crate) subject: Option<SingleUse>,
    /// The token of who acts.
    pub(crate) actor: Option<SingleUse>,
}

impl Spends {
    /// Takes the proof and each token, or none of the tokens.
    pub(crate) async fn take(
        &self,
        proof: Option<&Proven>,
        grant: GrantType,
        seen: &Seen,
    ) -> Result<Vec<Taken>, TokenError> {
        dpop::take(proof, seen).await?;
        let mut taken = Vec::new();
        for (single, of_actor) in [(&self.subject, false), (&self.actor, true)] {
            let Some(SingleUse { by, jti, until }) = single else { continue };
            match seen.once(Kind::OfIssuer, by, jti, *until).await {
                Ok(name) => taken.push(name),
                Err(why) => {
                    seen.give_back(taken).await;
                    let shown = if grant == GrantType::JwtBearer {
                        TokenError::Assertion
                    } else {
                        TokenError::SubjectToken
                    };
                    let why = ExchangeError::Seen(why);
                    return Err(shown(if of_actor { ExchangeError::Actor(Box::new(why)) } else { why }));
                }
            }
        }
        Ok(taken)
    }
}
