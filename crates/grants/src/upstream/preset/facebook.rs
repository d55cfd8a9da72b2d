//! Facebook: `debug_token` with the application's own token, then `me` with `appsecret_proof`.
//!
//! Both take tokens in their query. The id is the user's for this application alone. The proof is
//! an HMAC of the token under the application's secret: the token of another application fails
//! there once more.

use super::refusal;
use crate::upstream::{
    Application,
    address::ProviderUrl,
    error::{Endpoint, Failure, UpstreamError},
    http::{Answer, Ask, Http, Members},
    limit,
    profile::{Bound, Profile, subject},
};
use aws_lc_rs::hmac;
use countersign_jose::{Timestamp, hex};
use zeroize::Zeroizing;

pub(in crate::upstream) const TOKEN_URL: &str = "https://graph.facebook.com/oauth/access_token";
pub(in crate::upstream) const CHECK_URL: &str = "https://graph.facebook.com/debug_token";
pub(in crate::upstream) const PROFILE_URL: &str = "https://graph.facebook.com/me";

/// Codes of errors that are limits of the application, the user, the page, and calls in general.
const LIMITS: [i64; 4] = [4, 17, 32, 613];
/// Codes of errors that pass: unknown, and service.
const PASSING: [i64; 2] = [1, 2];
/// The code of an access token that is not valid.
const TOKEN: i64 = 190;

/// Users of Facebook.
#[derive(Debug)]
pub(in crate::upstream) struct Facebook {
    pub(in crate::upstream) application: Application,
    pub(in crate::upstream) check: ProviderUrl,
    pub(in crate::upstream) profile: ProviderUrl,
    pub(in crate::upstream) fields: Vec<String>,
}

impl Facebook {
    pub(in crate::upstream) async fn bind(
        &self,
        http: &Http,
        token: &str,
        now: Timestamp,
    ) -> Result<Bound, UpstreamError> {
        let own = format!("{}|{}", self.application.id, self.application.secret.expose());
        let own = Zeroizing::new(own);
        let url = self.check.with(&[("input_token", token), ("access_token", own.as_str())]);
        let answer = http.ask(Ask::get(Endpoint::Check, url, None), now).await?;
        let members = answer.ok().ok_or_else(|| of_graph(&answer, answer.fails(Failure::Credentials)))?;
        let data = members.object("data")?;
        let named = data.raw("app_id").map(|_| subject(&data, "app_id")).transpose();
        let named = named.ok().flatten().ok_or(UpstreamError::NoApplication);
        if !data.is_true("is_valid") {
            return Err(UpstreamError::Refused);
        }
        if named? != self.application.id {
            return Err(UpstreamError::OtherApplication);
        }
        // Of pages and of the application itself there are tokens too.
        if data.string("type").as_deref() != Some("USER") {
            return Err(UpstreamError::OtherKind);
        }
        let ends = match data.integer("expires_at").ok_or(UpstreamError::NoExpiry)? {
            // Tokens of some applications never end.
            0 => None,
            at => Some(Timestamp::from_unix_seconds(at)),
        };
        let subject = Some(subject(&data, "user_id")?);
        Ok(Bound { subject, granted: data.strings("scopes"), ends })
    }

    pub(in crate::upstream) async fn profile(
        &self,
        http: &Http,
        token: &str,
        bound: Bound,
        now: Timestamp,
    ) -> Result<Profile, UpstreamError> {
        let (fields, proof) = (self.fields.join(","), self.proof(token));
        let query =
            [("fields", fields.as_str()), ("access_token", token), ("appsecret_proof", proof.as_str())];
        let answer = http.ask(Ask::get(Endpoint::Profile, self.profile.with(&query), None), now).await?;
        bound.with("id", &answer.ok().ok_or_else(|| of_graph(&answer, refusal(&answer)))?)
    }

    fn proof(&self, token: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.application.secret.expose().as_bytes());
        hex(hmac::sign(&key, token.as_bytes()).as_ref())
    }
}

/// The Graph API says in its body what kind of error it is; what it has no code for is `other`.
fn of_graph(answer: &Answer, other: UpstreamError) -> UpstreamError {
    let code = |members: Members<'_>| members.object("error").ok()?.integer("code");
    match answer.members().and_then(code) {
        Some(TOKEN) => UpstreamError::Refused,
        Some(code) if LIMITS.contains(&code) => UpstreamError::Limited(limit::UNSAID),
        Some(code) if PASSING.contains(&code) => answer.fails(Failure::Error),
        _ => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_an_hmac_of_the_token_in_lower_case_hex() {
        let url = ProviderUrl::parse(PROFILE_URL).unwrap();
        // RFC 4231, test case 2.
        let application = Application::new("1".into(), "Jefe".to_owned().into());
        let facebook = Facebook { application, check: url.clone(), profile: url, fields: Vec::new() };
        let proof = facebook.proof("what do ya want for nothing?");
        assert_eq!(proof, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
