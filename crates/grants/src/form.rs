//! The parameters of a request: `application/x-www-form-urlencoded`, each once (RFC 6749 §3.2).
//!
//! One without a value is taken as left out, one that is not known is passed over, one that is
//! there twice is refused, even if it is not known or has no value. `resource` and `audience` alone
//! may be repeated (RFC 8707 §2, RFC 8693 §2.1). The query of the URL is never read: credentials in
//! it would be in the logs of every proxy on the way (§2.3.1).

use crate::error::TokenError;
use countersign_issuer::http::form_decode;
use std::{collections::BTreeMap, fmt};
use zeroize::Zeroizing;

const REPEATABLE: [&str; 2] = ["resource", "audience"];

/// The parameters that have a value. What is in them is not shown.
pub(crate) struct Form(BTreeMap<String, Vec<Zeroizing<String>>>);

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Form").finish_non_exhaustive()
    }
}

impl Form {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, TokenError> {
        let body = std::str::from_utf8(body).map_err(|_| TokenError::NotUtf8)?;
        let mut parameters: BTreeMap<String, Vec<Zeroizing<String>>> = BTreeMap::new();
        for pair in body.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text| form_decode(text).ok_or(TokenError::NotUtf8);
            let (name, value) = (decode(name)?, decode(value)?);
            let may_repeat = REPEATABLE.contains(&name.as_str());
            let values = parameters.entry(name).or_default();
            if !values.is_empty() && !may_repeat {
                return Err(TokenError::Repeated);
            }
            values.push(Zeroizing::new(value));
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter, if it has one.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The value of a parameter that has to be there.
    pub(crate) fn require(&self, name: &'static str) -> Result<&str, TokenError> {
        self.get(name).ok_or(TokenError::Missing(name))
    }

    /// The values of one that may be repeated.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.get(name).into_iter().flatten().map(|value| value.as_str()).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &str) -> &'static str {
        Form::parse(body.as_bytes()).map(|_| "accepted").unwrap_or_else(|why| why.code())
    }

    #[test]
    fn a_parameter_is_there_once_and_one_without_a_value_is_left_out() {
        let form =
            Form::parse(b"grant_type=client_credentials&scope=&&x&resource=a&resource=b&resource=").unwrap();
        assert_eq!(form.get("grant_type"), Some("client_credentials"));
        assert_eq!((form.get("scope"), form.get("x"), form.get("y")), (None, None, None));
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["a", "b"]);
        for body in ["scope=a&scope=b", "scope=&scope=a", "scope=a&sc%6fpe=b", "unknown=1&unknown=1", "x&x"] {
            assert_eq!(code(body), "invalid_request", "{body}");
        }
    }

    #[test]
    fn values_are_decoded_and_must_be_utf_8() {
        let form = Form::parse("a=%C3%A9+b%2B&c=d=e".as_bytes()).unwrap();
        assert_eq!((form.get("a"), form.get("c")), (Some("é b+"), Some("d=e")));
        for body in [&b"a=%FF"[..], b"%FF=a", b"\xff=a"] {
            assert!(Form::parse(body).is_err());
        }
    }
}
