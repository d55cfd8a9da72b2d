//! Who acts for whom (RFC 8693 §4.1, §4.4): the chain of actors that a minted token names, and who
//! may be in it.
//!
//! A chain is a list of subjects, the one that acts now first. It is made here alone, from what
//! sources have believed: no claim of that name is ever copied. Subjects in it are namespaced as
//! `sub` is, so an actor of one provider is never one of another. Without an actor the chain of the
//! subject token goes on as it was: an exchange hides nobody.

use super::error::ExchangeError;
use countersign_jose::{
    MAX_CLAIMS_DEPTH,
    json::{Object, same, string},
};
use serde_json::value::RawValue;

/// The most actors that any chain has.
pub const MAX_ACTORS: usize = 8;

/// Who may act by a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The rules that judge actor tokens, by name.
    pub actors: Vec<String>,
    /// The most actors in a chain, 1 to [`MAX_ACTORS`].
    pub depth: usize,
}

/// The actors that the claims of a subject token name, the one that acts now first; `name` puts the
/// provider in front.
pub(super) fn chain(
    claims: &Object<'_>,
    name: impl Fn(&str) -> String,
) -> Result<Vec<String>, ExchangeError> {
    let mut chain = Vec::new();
    let mut next = claims.get("act");
    while let Some(raw) = next {
        if chain.len() >= MAX_ACTORS {
            return Err(ExchangeError::TooManyActors(MAX_ACTORS));
        }
        let act = Object::parse_text(raw.get(), MAX_CLAIMS_DEPTH).map_err(|_| ExchangeError::MalformedAct)?;
        let subject = act.get("sub").and_then(string).filter(|subject| !subject.is_empty());
        chain.push(name(&subject.ok_or(ExchangeError::MalformedAct)?));
        next = act.get("act");
    }
    Ok(chain)
}

/// The party that would act, in the claims that tell parties apart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Party<'a> {
    /// The holder of a token, by its claims.
    Holder(&'a Object<'a>),
    /// A client of ours that shows no actor token.
    Client { issuer: &'a str, id: &'a str },
}

/// Whether a subject token lets this party act, where it says who may (`may_act`). `subject` are
/// its claims.
///
/// Every member of it must be one of the party's. Without `iss` it means a party of the subject
/// token's own issuer.
pub(super) fn may_act(subject: &Object<'_>, party: Party<'_>) -> Result<(), ExchangeError> {
    let Some(raw) = subject.get("may_act") else { return Ok(()) };
    let named = Object::parse_text(raw.get(), MAX_CLAIMS_DEPTH).map_err(|_| ExchangeError::MayNotAct)?;
    let matches = |name: &str, value: &RawValue| match party {
        Party::Holder(claims) => claims.get(name).is_some_and(|own| same(own, value)),
        Party::Client { issuer, id } => {
            let own = match name {
                "iss" => issuer,
                "sub" | "client_id" => id,
                _ => return false,
            };
            string(value).is_some_and(|text| text == own)
        }
    };
    let issuer = named.get("iss").or_else(|| subject.get("iss")).ok_or(ExchangeError::MayNotAct)?;
    let tells_apart = ["sub", "client_id"].iter().any(|name| named.get(name).is_some());
    let all = named.members().all(|(name, value)| matches(name, value));
    if tells_apart && all && matches("iss", issuer) { Ok(()) } else { Err(ExchangeError::MayNotAct) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actors(claims: &str) -> Result<Vec<String>, ExchangeError> {
        chain(&Object::parse_text(claims, 32).unwrap(), |subject| format!("p:{subject}"))
    }

    #[test]
    fn a_chain_is_what_the_token_says_with_the_provider_in_front_of_each() {
        assert_eq!(actors(r#"{"sub":"a"}"#), Ok(vec![]));
        let nested = r#"{"act":{"sub":"b","admin":true,"act":{"sub":"c:d"}}}"#;
        assert_eq!(actors(nested), Ok(vec!["p:b".to_owned(), "p:c:d".to_owned()]));
        for malformed in [
            r#"{"act":"b"}"#,
            r#"{"act":{}}"#,
            r#"{"act":{"sub":""}}"#,
            r#"{"act":{"sub":1}}"#,
            r#"{"act":null}"#,
        ] {
            assert_eq!(actors(malformed), Err(ExchangeError::MalformedAct), "{malformed}");
        }
        let deep = |n: usize| r#"{"sub":"a","act":"#.repeat(n) + r#"{"sub":"z"}"# + &"}".repeat(n);
        assert_eq!(actors(&deep(MAX_ACTORS)).map(|chain| chain.len()), Ok(MAX_ACTORS));
        assert_eq!(actors(&deep(MAX_ACTORS + 1)), Err(ExchangeError::TooManyActors(MAX_ACTORS)));
    }

    #[test]
    fn who_may_act_is_told_by_every_claim_and_by_the_issuer() {
        let holder = r#"{"iss":"https://a.example","sub":"bot","client_id":"c1"}"#;
        let holder = Object::parse_text(holder, 8).unwrap();
        let client = Party::Client { issuer: "https://us.example", id: "bot" };
        for (may, by_holder, by_client) in [
            (r#"{"sub":"bot"}"#, true, false),
            (r#"{"sub":"bot","iss":"https://a.example"}"#, true, false),
            (r#"{"sub":"bot","iss":"https://us.example"}"#, false, true),
            (r#"{"client_id":"bot","iss":"https://us.example"}"#, false, true),
            (r#"{"client_id":"c1"}"#, true, false),
            (r#"{"sub":"bot","client_id":"c2"}"#, false, false),
            (r#"{"sub":"other"}"#, false, false),
            (r#"{"sub":"bot","role":"x"}"#, false, false),
            (r#"{"iss":"https://a.example"}"#, false, false),
            ("{}", false, false),
            (r#""bot""#, false, false),
            ("null", false, false),
            (r#"["bot"]"#, false, false),
        ] {
            let subject = format!(r#"{{"iss":"https://a.example","sub":"alice","may_act":{may}}}"#);
            let subject = Object::parse_text(&subject, 8).unwrap();
            assert_eq!(may_act(&subject, Party::Holder(&holder)).is_ok(), by_holder, "{may}");
            assert_eq!(may_act(&subject, client).is_ok(), by_client, "{may}");
        }
        assert_eq!(may_act(&Object::parse_text("{}", 8).unwrap(), client), Ok(()), "it says nothing");
    }
}
