//! What each rule makes of a token: the steps of a request, told one by one. Nothing is minted and
//! no name is taken; only an authorization code is used up, by the provider that it is redeemed at.
//!
//! `countersign exchange --explain` prints it, to somebody who can read the configuration and holds
//! the token.

use super::{
    error::Kind,
    judge::{Exchanged, Judging, Tokens, judge},
    rule::{ExchangeRule, Holder, Mode},
    source::{Presented, PresentedKind},
    wanted::{Holds, Wanted},
};
use crate::{
    request::{Asked, Said},
    revocation::Revocations,
    settings::Grants,
    token_exchange::{self, RequestedType},
};
use countersign_issuer::{
    AudienceRequest, Caller, Client, GrantType, Ids, Issuer, MintError, Scope, UploadRequest,
};
use countersign_jose::Timestamp;
use countersign_verifier::dpop::Binding;
use std::{collections::BTreeSet, fmt, sync::Arc};

/// What would be asked for.
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
    /// What is to be given for it; if none, what all rules of the client give by this grant.
    pub requested: Option<RequestedType>,
    /// The scope; the client's default if none.
    pub scope: Option<Scope>,
    /// For whom (`audience`); the client's first audience if none.
    pub audience: Option<AudienceRequest>,
    /// For which room, where a rule gives tokens for meetings.
    pub room: Option<&'a str>,
    /// What is to be uploaded (`upload`, a JSON object), where a rule gives tokens for that.
    pub upload: Option<&'a str>,
}

/// How an authorization code was asked for.
#[derive(Clone, Copy)]
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

impl fmt::Debug for Asking<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking")
            .field("client", &self.client.id)
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AskedCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskedCode").finish_non_exhaustive()
    }
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

/// How the request asks for what the rule gives, where that is no access token.
fn type_needed(rule: &ExchangeRule) -> Option<String> {
    let wanted = rule.profile().and_then(token_exchange::type_of)?;
    let kind = Kind(rule.profile());
    Some(format!("it gives {kind}: the request needs requested_token_type={wanted}"))
}

/// What the request needs beside the token, which nobody can show here.
fn proof_needed(exchanged: &Exchanged<'_>, wanted: &Wanted<'_>) -> Option<String> {
    let is_bound = !matches!(Binding::in_claims(exchanged.shown.claims.as_bytes()), Ok(None));
    let needed = if is_bound && wanted.holder(exchanged.rule) != Holder::Other {
        "it is bound to a key (`cnf`): the request needs a DPoP proof of it, which is not looked at here"
    } else if wanted.own.dpop_bound {
        "the client gets no token without a DPoP proof (`dpop_bound_access_tokens`), which is not looked at here"
    } else {
        return None;
    };
    Some(needed.to_owned())
}

impl Grants {
    /// What each rule of a client makes of a token, in the order in which they are asked: the first
    /// that accepts it decides.
    ///
    /// # Errors
    ///
    /// If no rule is asked: the client does not have the grant, the token could be of several
    /// providers, or it is not said what is to be given for it.
    pub async fn explain(
        &self,
        asking: &Asking<'_>,
        issuer: &Issuer,
        revocations: &Revocations,
        now: Timestamp,
    ) -> Result<Vec<Explained>, String> {
        let client = asking.client.id.as_str();
        let (rules, grant) = (self.rules.as_slice(), asking.grant);
        let own = self.clients.get(client).filter(|own| own.has(grant));
        let own = own.ok_or_else(|| format!("{client} does not have the grant {}", grant.name()))?;
        let requested = match asking.requested {
            Some(requested) => requested,
            None => self.only_type(client, grant)?,
        };
        let upload = match (requested, asking.upload) {
            (RequestedType::Upload, asked) => {
                Some(asked.map_or(Ok(UploadRequest::default()), UploadRequest::parse))
            }
            (_, Some(_)) => {
                return Err("`upload` says what is to be uploaded, and another type is asked for".to_owned());
            }
            (_, None) => None,
        };
        let upload = upload.transpose().map_err(|why| why.to_string())?;
        let wanted = Wanted {
            client,
            own,
            scopes: &asking.client.policy.scopes,
            grant,
            profile: requested.profile(),
            scope: asking.scope.clone(),
            audience: asking.audience.clone(),
            audiences: asking.audience.iter().flat_map(|asked| asked.names()).cloned().collect(),
            resources: Vec::new(),
            room: asking.room,
            destination: upload.as_ref().and_then(|upload| upload.to.as_deref()),
            holds: Holds::Whichever,
            backdate: issuer.settings().backdate,
        };
        let judging = Judging { rules, client, grant, issuer, revocations, now };
        let tokens = asking.tokens();
        let mut all = Vec::new();
        for rule in wanted.rules(rules, &tokens.subject).map_err(|why| why.to_string())? {
            let (mut passed, mut accepts) = (Vec::new(), false);
            let judged = judge(rule, &judging, &tokens, &mut passed).await;
            let ends = judged.as_ref().is_err_and(|why| why.ends_the_search());
            let outcome = match judged {
                Ok(exchanged) => {
                    accepts = true;
                    passed.extend(type_needed(rule));
                    passed.extend(proof_needed(&exchanged, &wanted));
                    let asked = wanted.settled(exchanged).and_then(|exchanged| wanted.of_mint(&exchanged));
                    match asked {
                        Ok(asked) => would_mint(&asked, asking, &judging, &mut passed).await,
                        Err(why) => Err(why.to_string()),
                    }
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

    /// What the rules of a client give by a grant, where that is one kind.
    fn only_type(&self, client: &str, grant: GrantType) -> Result<RequestedType, String> {
        let own = self.rules.iter().filter(|rule| rule.is_for(client, grant));
        let given: BTreeSet<_> = own.map(|rule| rule.profile()).collect();
        let mut given = RequestedType::ALL.into_iter().filter(|kind| given.contains(&kind.profile()));
        match (given.next(), given.next()) {
            (None, _) => Ok(RequestedType::AccessToken),
            (Some(only), None) => Ok(only),
            (Some(one), Some(other)) => Err(format!(
                "{client} has rules that give {} and {}; say which is asked for (--requested-token-type)",
                one.name(),
                other.name()
            )),
        }
    }
}

async fn would_mint(
    asked: &Asked,
    asking: &Asking<'_>,
    judging: &Judging<'_>,
    passed: &mut Vec<String>,
) -> Result<String, String> {
    passed.push(match &asked.scope {
        Some(scope) => format!("the scope is {}", scope.as_str()),
        None => "there is no scope".to_owned(),
    });
    let upload = asking.upload.map_or(Ok(UploadRequest::default()), UploadRequest::parse);
    let upload = upload.map_err(|why| why.to_string())?;
    let is_upload = asked.destination.is_some();
    // The one who asks shows the key with a proof, and here is nobody to do so.
    let said =
        Said { audience: asking.audience.clone(), upload: is_upload.then_some(upload), ..Said::default() };
    let request = asked.of_mint(judging.grant, said).map_err(|why| why.to_string())?;
    let ids = Ids { request: "command-line".to_owned(), token: "of-its-own".to_owned() };
    let caller = Caller::Client(asking.client);
    let preview = judging.issuer.preview(caller, &request, judging.now, &ids).await;
    let preview = preview.map_err(|why: MintError| why.to_string())?;
    passed.push(format!("the policy of {} allows it", judging.client));
    String::from_utf8(preview.claims().to_vec()).map_err(|why| why.to_string())
}
