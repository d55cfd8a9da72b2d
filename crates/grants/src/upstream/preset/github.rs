//! GitHub: `POST /applications/{client_id}/token` with the application's credentials, then
//! `GET /user`.
//!
//! The first knows only tokens of this application: one of another, or a personal one, is not
//! found. The subject is the number `id`; a `login` can be given up and taken by somebody else.

use super::{of_application, refusal};
use crate::upstream::{
    Application,
    address::ProviderUrl,
    error::{Endpoint, UpstreamError},
    http::{Ask, Content, Http},
    profile::{Bound, Profile, subject},
};
use countersign_jose::Timestamp;
use hyper::{Method, StatusCode};
use zeroize::Zeroizing;

pub(in crate::upstream) const TOKEN_URL: &str = "https://github.com/login/oauth/access_token";
pub(in crate::upstream) const CHECK_URL: &str = "https://api.github.com/applications";
pub(in crate::upstream) const PROFILE_URL: &str = "https://api.github.com/user";

/// Users of GitHub.
#[derive(Debug)]
pub(in crate::upstream) struct GitHub {
    pub(in crate::upstream) application: Application,
    /// With the application's id in it.
    pub(in crate::upstream) check: ProviderUrl,
    pub(in crate::upstream) profile: ProviderUrl,
}

impl GitHub {
    pub(in crate::upstream) async fn bind(
        &self,
        http: &Http,
        token: &str,
        now: Timestamp,
    ) -> Result<Bound, UpstreamError> {
        let body = serde_json::json!({ "access_token": token }).to_string();
        let ask = Ask {
            endpoint: Endpoint::Check,
            method: Method::POST,
            url: self.check.with(&[]),
            authorization: Some(self.application.basic()),
            body: Some(Content { kind: "application/json", bytes: Zeroizing::new(body) }),
        };
        let answer = http.ask(ask, now).await?;
        // It has no other words for a token of another application.
        if [StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY].contains(&answer.status) {
            return Err(UpstreamError::Refused);
        }
        let members = answer.ok().ok_or_else(|| of_application(&answer))?;
        let application = members.object("app")?.string("client_id").ok_or(UpstreamError::NoApplication)?;
        if application != self.application.id {
            return Err(UpstreamError::OtherApplication);
        }
        let ends = match members.raw("expires_at") {
            None | Some("null") => None,
            Some(_) => {
                let ends = members.string("expires_at").and_then(|text| instant(&text));
                Some(ends.ok_or_else(|| members.lacks("expires_at"))?)
            }
        };
        let subject = Some(subject(&members.object("user")?, "id")?);
        Ok(Bound { subject, granted: members.strings("scopes"), ends })
    }

    pub(in crate::upstream) async fn profile(
        &self,
        http: &Http,
        token: &str,
        bound: Bound,
        now: Timestamp,
    ) -> Result<Profile, UpstreamError> {
        let ask = Ask::get(Endpoint::Profile, self.profile.with(&[]), Some(token));
        let answer = http.ask(ask, now).await?;
        bound.with("id", &answer.ok().ok_or_else(|| refusal(&answer))?)
    }
}

/// `2023-11-14T22:13:20Z`, as GitHub writes it.
fn instant(text: &str) -> Option<Timestamp> {
    let shape = text.len() == 20
        && text.bytes().enumerate().all(|(at, b)| match at {
            4 | 7 => b == b'-',
            10 => b == b'T',
            13 | 16 => b == b':',
            19 => b == b'Z',
            _ => b.is_ascii_digit(),
        });
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    if !shape || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970 in years that begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let days = era * 146_097 + year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(Timestamp::from_unix_seconds(((days * 24 + hour) * 60 + minute) * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_read_as_github_writes_it() {
        let seconds = |text: &str| instant(text).map(Timestamp::unix_seconds);
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2023-11-14T22:13:20Z"), Some(1_700_000_000));
        assert_eq!(seconds("2024-02-29T12:00:00Z"), Some(1_709_208_000));
        for at in [0, 951_782_399, 951_782_400, 4_107_542_400, 1_735_689_599] {
            assert_eq!(seconds(&Timestamp::from_unix_seconds(at).to_string()), Some(at));
        }
        for wrong in
            ["", "2023-11-14", "2023-11-14T22:13:20+00:00", "2023-13-14T22:13:20Z", "2023-11-14 22:13:20Z"]
        {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
