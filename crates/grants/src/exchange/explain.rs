//! What each rule makes of a token: the steps of a request, told one by one. Nothing is minted and no name is taken; only an
//! authorization code is used up, by the provider that it is redeemed at.
//!
//! `countersign exchange --explain` prints it, to somebody who can read the configuration and holds the token.

use super::{
    id_jag::{self, IdJagTarget},
    judge::{Exchanged, Judging, Tokens, judge},
    rule::{Holder, Mode},
    select,
    source::{Presented, PresentedKind},
};
use crate::{endpoint::ACCESS_TOKEN_PROFILE, revocation::Revocations, settings::Grants};
use countersign_issuer::{
    AudienceRequest, Caller, Client, GrantType, Granted, IdJag, Ids, Issuer, MintError, Scope, ShownTokens,
    SignRequest,
};
use countersign_jose::{MAX_CLAIMS_DEPTH, Timestamp, json::Object};
use countersign_verifier::dpop::Binding;
use std::sync::Arc;

/// What would be asked for.
#[derive(Debug)]
pub struct Asking<'a> {
    /// By whom.
    pub client: &'a Arc<Client>,
    /// By which grant.
    pub grant: GrantType,
    /// The token that is shown, or the assertion.
    pub token: &'a str,
    /// That it is an authorization code, and how it was asked for.
    pub code: Option<AskedCode<'a>>,
    /// The rule that is meant, by its name (`subject_issuer`).
    pub rule: Option<&'a str>,
    /// The token of who acts.
    pub actor: Option<&'a str>,
    /// The scope; the client's default if none.
    pub scope: Option<Scope>,
    /// For whom; the client's first audience if none.
    pub audience: Option<AudienceRequest>,
    /// For which room, where a rule gives tokens for meetings.
    pub room: Option<&'a str>,
}

/// How an authorization code was asked for.
#[derive(Debug, Clone, Copy)]
pub struct AskedCode<'a> {
    /// PKCE's `code_verifier` (RFC 7636).
    pub verifier: &'a str,
    /// Where the provider has sent it.
    pub redirect_uri: &'a str,
}

/// What one rule makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The rule.
    pub rule: String,
    /// Whether it is only tried.
    pub tried: bool,
    /// Whether it accepts the token, and so decides: what is refused then is the request.
    pub accepts: bool,
    /// What was passed, in order.
    pub passed: Vec<String>,
    /// The claims that would be minted, as JSON, or why there are none.
    pub outcome: Result<String, String>,
}

impl Asking<'_> {
    fn tokens(&self) -> Tokens<'_> {
        let kind = match self.code {
            Some(AskedCode { verifier, redirect_uri }) => PresentedKind::Code { verifier, redirect_uri },
            None => PresentedKind::AccessToken,
        };
        let subject = Presented { token: self.token, kind, issuer: self.rule };
        Tokens { subject, actor: self.actor.map(Presented::jwt) }
    }
}

/// What the request needs beside the token, where that is bound to a key.
fn proof_needed(exchanged: &Exchanged<'_>) -> Option<String> {
    let is_bound = !matches!(Binding::in_claims(exchanged.shown.claims.as_bytes()), Ok(None));
    let needed = is_bound && exchanged.rule.holder() != Holder::Other;
    needed.then(|| {
        "it is bound to a key (`cnf`): the request needs a DPoP proof of it, which is not looked at here"
            .to_owned()
    })
}

impl Grants {
    /// What each rule of a client makes of a token, in the order in which they are asked: the first that accepts it decides.
    ///
    /// # Errors
    ///
    /// If no rule is asked, because the token could be of several providers.
    pub async fn explain(
        &self,
        asking: &Asking<'_>,
        issuer: &Issuer,
        revocations: &Revocations,
        now: Timestamp,
    ) -> Result<Vec<Explained>, String> {
        let client = asking.client.id.as_str();
        let (rules, grant) = (self.rules.as_slice(), asking.grant);
        let judging = Judging { rules, client, grant, issuer, revocations, now };
        let tokens = asking.tokens();
        let asked = rules.iter().filter(|rule| rule.is_for(client, grant));
        let mut all = Vec::new();
        for rule in select(asked, &tokens.subject).map_err(|why| why.to_string())? {
            let (mut passed, mut accepts) = (Vec::new(), false);
            let judged = judge(rule, &judging, &tokens, &mut passed).await;
            let ends = judged.as_ref().is_err_and(|why| why.ends_the_search());
            let outcome = match judged {
                Ok(mut exchanged) => {
                    accepts = true;
                    passed.extend(proof_needed(&exchanged));
                    let data = rule.meeting().map(|meeting| meeting.data(&exchanged, asking.room));
                    let data = data.transpose().map_err(|why| why.to_string());
                    let data = data.map(|data| exchanged.claims = data.or(exchanged.claims.take()));
                    data.and_then(|()| self.would_mint(&exchanged, &judging, asking, &mut passed))
                }
                Err(why) => Err(why.to_string()),
            };
            let tried = rule.mode() == Mode::Audit;
            all.push(Explained { rule: rule.name().to_owned(), tried, accepts, passed, outcome });
            if ends && !tried {
                break;
            }
        }
        Ok(all)
    }

    fn would_mint(
        &self,
        exchanged: &Exchanged<'_>,
        judging: &Judging<'_>,
        asking: &Asking<'_>,
        passed: &mut Vec<String>,
    ) -> Result<String, String> {
        let own = self.clients.get(judging.client);
        let (mut audience, mut default) =
            (asking.audience.clone(), own.and_then(|own| own.default_scope.clone()));
        if exchanged.rule.takes_id_jags() {
            audience = id_jag::audience(&exchanged.shown, audience.clone())
                .map_err(|why| why.to_string())?
                .or(audience);
            default = id_jag::scope(&exchanged.shown, &asking.client.policy.scopes);
        }
        let scope = exchanged.scope(judging.grant, asking.scope.clone(), default.as_ref());
        let scope = scope.map_err(|why| why.to_string())?;
        passed.push(match &scope {
            Some(scope) => format!("the scope is {}", scope.as_str()),
            None => "there is no scope".to_owned(),
        });
        // An ID-JAG is for one authorization server: the one that is asked for, or the first.
        let targets = exchanged.rule.id_jags();
        let asked = |target: &&IdJagTarget| {
            asking.audience.as_ref().is_some_and(|asked| asked.names() == [target.audience.clone()])
        };
        let target = targets.iter().find(asked).or(targets.first());
        if let Some(target) = target {
            let one = AudienceRequest::one(target.audience.clone());
            audience = Some(one.map_err(|why| why.to_string())?);
        }
        let id_jag = target.map(|target| IdJag {
            client_id: target.client_id.as_deref().unwrap_or(asking.client.id.as_str()),
            resources: &target.resources,
        });
        let granted = Granted {
            grant: judging.grant,
            profile: exchanged.rule.profile().unwrap_or(ACCESS_TOKEN_PROFILE),
            subject: Some(&exchanged.subject),
            scope: scope.as_ref(),
            longest: Some(match id_jag {
                Some(_) => exchanged.longest.min(id_jag::LIFETIME),
                None => exchanged.longest,
            }),
            // The one who asks shows the key with a proof, and here is nobody to do so.
            jkt: None,
            actors: &exchanged.actors,
            rule: Some(exchanged.rule.name()),
            shown: ShownTokens::default(),
            id_jag,
        };
        if let Some(upload) = exchanged.rule.upload() {
            // A form is signed for a file, and an explanation has no file.
            passed.push(format!("it gives tokens for uploads to {}", upload.to.join(", ")));
            let claims = serde_json::json!({ "sub": exchanged.subject, "upload": { "to": upload.to } });
            return Ok(claims.to_string());
        }
        let mut request = SignRequest::by_grant(granted, audience);
        if let Some(claims) = &exchanged.claims {
            let parsed = Object::parse_text(claims, MAX_CLAIMS_DEPTH);
            request.data = parsed.map_err(|why| why.to_string())?;
        }
        let ids = Ids { request: "command-line".to_owned(), token: "of-its-own".to_owned() };
        let caller = Caller::Client(asking.client);
        let claims = judging.issuer.preview(caller, &request, judging.now, &ids);
        let claims = claims.map_err(|why: MintError| why.to_string())?;
        passed.push(format!("the policy of {} allows it", judging.client));
        String::from_utf8(claims).map_err(|why| why.to_string())
    }
}
