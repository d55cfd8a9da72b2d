//! What every grant is handed, and what it gives back for the mint.

use crate::{
    error::TokenError,
    exchange::{ExchangeError, ExchangeRule},
    form::Form,
    refresh::{Families, Found, Granting, RefreshToken},
    revocation::Revocations,
    seen::Seen,
    settings::ClientGrants,
    spend::Spends,
};
use countersign_issuer::{
    AudienceRequest, GrantType, Granted, IdJag, Issuer, Names, RefusedRequest, Scope, ShownToken,
    ShownTokens, SignRequest, UploadRequest,
};
use countersign_jose::{MAX_CLAIMS_DEPTH, Timestamp, json::Object};
use countersign_verifier::dpop::Proven;
use std::{borrow::Cow, time::Duration};

/// The profile of what grants mint, where a rule of exchange does not name another.
const ACCESS_TOKEN_PROFILE: &str = "access_token";

/// A request of a client that has proved who it is and has the grant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) form: &'a Form,
    pub(crate) client: &'a str,
    pub(crate) own: &'a ClientGrants,
    pub(crate) rules: &'a [ExchangeRule],
    pub(crate) issuer: &'a Issuer,
    /// How it is recorded.
    pub(crate) record: RefusedRequest<'a>,
    pub(crate) seen: &'a Seen,
    /// Families of refresh tokens, where a rule gives some.
    pub(crate) families: Option<&'a Families>,
    /// What is revoked.
    pub(crate) revocations: &'a Revocations,
    /// The scopes of the client's policy.
    pub(crate) scopes: &'a Names,
    /// The audience of what is asked for, if nothing else is said.
    pub(crate) audience: Option<&'a AudienceRequest>,
    /// What is to be uploaded, where a token for that is asked for.
    pub(crate) upload: Option<&'a UploadRequest<'a>>,
    /// The DPoP proof, which is right and not taken yet.
    pub(crate) proof: Option<&'a Proven>,
    pub(crate) now: Timestamp,
    /// How far in the past a token's life begins.
    pub(crate) backdate: Duration,
}

impl<'a> Request<'a> {
    /// The thumbprint of the key that the client proves to hold.
    pub(crate) fn jkt(&self) -> Option<&'a str> {
        self.proof.map(Proven::jkt)
    }

    /// The scope that is asked for.
    pub(crate) fn scope(&self) -> Result<Option<Scope>, TokenError> {
        Ok(self.form.get("scope").map(Scope::parse).transpose()?)
    }
}

/// An ID-JAG for another authorization server.
#[derive(Debug)]
pub(crate) struct GrantedIdJag {
    /// What that server calls the client.
    pub(crate) client_id: String,
    pub(crate) resources: Vec<String>,
}

/// What a grant asks the mint for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Whom the token is about; the client itself if none.
    pub(crate) subject: Option<String>,
    pub(crate) scope: Option<Scope>,
    /// The longest it may live, where that is less than the client's policy says.
    pub(crate) longest: Option<Duration>,
    /// For whom it is, where the grant says so.
    pub(crate) audience: Option<AudienceRequest>,
    /// What becomes of refresh tokens when it is minted.
    pub(crate) refresh: Refresh,
    /// Claims of a rule of exchange: a JSON object.
    pub(crate) claims: Option<String>,
    /// Who acts for the subject, the one that acts now first.
    pub(crate) actors: Vec<String>,
    /// The rule of exchange.
    pub(crate) rule: Option<String>,
    /// The tokens that were shown, for the audit: the subject's and who acts'.
    pub(crate) shown: [Option<ShownToken>; 2],
    /// What is used up before anything is minted.
    pub(crate) spends: Spends,
    /// RFC 8693 §2.2.1.
    pub(crate) issued_token_type: Option<&'static str>,
    /// What an ID-JAG says, where it is one.
    pub(crate) id_jag: Option<GrantedIdJag>,
    /// The profile of what is minted, where it is no access token.
    pub(crate) profile: Option<&'static str>,
    /// To which destination somebody may upload with it, where the grant says so.
    pub(crate) destination: Option<String>,
}

/// What the request says of the token, where the grant does not.
#[derive(Debug, Default)]
pub(crate) struct Said<'a> {
    /// The key that the client proves to hold.
    pub(crate) jkt: Option<&'a str>,
    /// The token by which the client has proved who it is.
    pub(crate) client_token: Option<&'a ShownToken>,
    pub(crate) audience: Option<AudienceRequest>,
    pub(crate) upload: Option<UploadRequest<'a>>,
}

impl Asked {
    /// The request to the mint.
    pub(crate) fn of_mint<'a>(
        &'a self,
        grant: GrantType,
        said: Said<'a>,
    ) -> Result<SignRequest<'a>, TokenError> {
        let [subject, actor] = &self.shown;
        let id_jag = self.id_jag.as_ref();
        let granted = Granted {
            grant,
            profile: self.profile.unwrap_or(ACCESS_TOKEN_PROFILE),
            subject: self.subject.as_deref(),
            scope: self.scope.as_ref(),
            longest: self.longest,
            jkt: said.jkt,
            actors: &self.actors,
            rule: self.rule.as_deref(),
            shown: ShownTokens {
                client: said.client_token,
                subject: subject.as_ref(),
                actor: actor.as_ref(),
            },
            id_jag: id_jag.map(|asked| IdJag { client_id: &asked.client_id, resources: &asked.resources }),
        };
        let mut request = SignRequest::by_grant(granted, self.audience.clone().or(said.audience));
        if let Some(claims) = &self.claims {
            // Rules and families give none that cannot be read.
            let malformed = |_| match grant {
                GrantType::JwtBearer => TokenError::Assertion(ExchangeError::ClaimsTooDeep),
                GrantType::TokenExchange | GrantType::RefreshToken | GrantType::ClientCredentials => {
                    TokenError::SubjectToken(ExchangeError::ClaimsTooDeep)
                }
            };
            request.data = Object::parse_text(claims, MAX_CLAIMS_DEPTH).map_err(malformed)?;
        }
        request.upload = said.upload.map(|asked| {
            let to = self.destination.as_deref().map(Cow::Borrowed).or(asked.to);
            UploadRequest { to, ..asked }
        });
        Ok(request)
    }
}

/// What becomes of refresh tokens when an access token was minted.
#[derive(Debug, Default)]
pub(crate) enum Refresh {
    /// Nothing.
    #[default]
    No,
    /// A family begins.
    Begin(Box<Granting>),
    /// A family turns, by this token.
    Turn(Box<Found>, RefreshToken),
}
