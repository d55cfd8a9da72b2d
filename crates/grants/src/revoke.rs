//! `POST /revoke` (RFC 7009): a client takes back what it was given.
//!
//! A refresh token, an old one too, ends its family and revokes the access tokens of it; an access
//! token is revoked by its `jti`. What is not known, has expired or was never a token is revoked
//! already (§2.2). What belongs to another client is refused (§2.1), and so is a token that stays
//! good (§2.2.1): one of `POST /sign`, which has no client and is revoked on the command line, or
//! one of a kind whose readers ask nobody. Hints are not needed, so they are not looked at.

use crate::{
    error::TokenError,
    form::Form,
    refresh::{Families, RefreshToken},
    revocation::{Entry, Owner, Reach, Revocations},
};
use countersign_issuer::{Client, Issuer, OwnToken};
use countersign_jose::{
    MAX_CLAIMS_DEPTH, Timestamp, Verified,
    json::{Object, string},
};

/// What was revoked, for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) reach: &'static str,
    pub(crate) name: String,
}

/// Revokes the token of a request of `client`. `None` where there was nothing to revoke.
pub(crate) async fn revoke(
    form: &Form,
    client: &Client,
    is_public: bool,
    issuer: &Issuer,
    families: Option<&Families>,
    revocations: &Revocations,
    now: Timestamp,
) -> Result<Option<Done>, TokenError> {
    let token = form.require("token")?;
    if let Some(refresh) = RefreshToken::parse(token) {
        return match families {
            Some(families) => family(families, &refresh, client, is_public, revocations, now).await,
            None => Ok(None),
        };
    }
    let verified = match issuer.own_unended(token, now) {
        None => return Ok(None),
        Some(OwnToken::OfAnotherKind) => return Err(TokenError::UnsupportedTokenType),
        Some(OwnToken::ForRequests(verified)) => verified,
    };
    let owner = client_of(&verified).ok_or(TokenError::UnsupportedTokenType)?;
    if owner != client.id.as_str() {
        return Err(TokenError::NotYours);
    }
    let claims = verified.registered();
    let (Some(jti), Some(exp)) = (&claims.jti, claims.exp) else {
        return Err(TokenError::UnsupportedTokenType);
    };
    let until = exp.plus(issuer.settings().patience.skew);
    let owner = Owner { client: &owner, is_public, subject: claims.sub.as_deref() };
    revocations.add(&Entry::single(Reach::Token, jti, Some(owner), until), now).await?;
    Ok(Some(Done { reach: "token", name: jti.clone() }))
}

async fn family(
    families: &Families,
    token: &RefreshToken,
    client: &Client,
    is_public: bool,
    revocations: &Revocations,
    now: Timestamp,
) -> Result<Option<Done>, TokenError> {
    let Some(found) = families.of(client.id.as_str(), token).await? else { return Ok(None) };
    let name = token.family.to_string();
    // Its access tokens first: one that is minted meanwhile is of the same family.
    let subject = Some(found.family.granting.subject.as_str());
    let owner = Owner { client: client.id.as_str(), is_public, subject };
    end_access(revocations, &name, owner, now).await?;
    families.end(found).await?;
    Ok(Some(Done { reach: "family", name }))
}

/// Revokes the access tokens of a family.
pub(crate) async fn end_access(
    revocations: &Revocations,
    family: &str,
    owner: Owner<'_>,
    now: Timestamp,
) -> Result<(), TokenError> {
    let until = now.plus(revocations.longest());
    let entry = Entry::single(Reach::Family, family, Some(owner), until);
    Ok(revocations.add(&entry, now).await?)
}

/// The client that a token was minted for.
pub(crate) fn client_of(token: &Verified) -> Option<String> {
    client_in(&Object::parse(token.payload(), MAX_CLAIMS_DEPTH).ok()?)
}

/// The same among claims.
pub(crate) fn client_in(claims: &Object<'_>) -> Option<String> {
    claims.get("client_id").and_then(string).map(std::borrow::Cow::into_owned)
}
