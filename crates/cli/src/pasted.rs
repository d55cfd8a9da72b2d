//! A token as people have it at hand: in quotes, behind `Bearer `, in the JSON answer it came in,
//! broken into lines.
//!
//! The one reader of every command that takes a token. What stands around the token is taken off
//! and told; the token itself is not touched, because a verifier that mended tokens would accept
//! what no other does. `-` is standard input and `@FILE` a file, as for claims. Pinned by
//! `tests/e2e/test_pasted.py`.

use crate::{
    failure::{Outcome, usage},
    files,
};
use std::path::Path;

/// A token, and what was taken off to find it.
#[derive(Debug)]
pub(crate) struct Pasted {
    pub(crate) token: String,
    /// What stood around it, in words, each once.
    pub(crate) around: Vec<String>,
}

/// Members that hold a token in answers of token endpoints and identity providers, the likeliest
/// first.
const MEMBERS: [&str; 11] = [
    "access_token",
    "id_token",
    "token",
    "jwt",
    "AccessToken",
    "IdToken",
    "accessToken",
    "idToken",
    "client_assertion",
    "assertion",
    "refresh_token",
];

/// As much is taken off one after the other.
const MOST_LAYERS: usize = 8;

impl Pasted {
    /// From an argument: the token, `-` for standard input or `@FILE`.
    pub(crate) fn read(argument: &str) -> Outcome<Self> {
        let text = match (argument, argument.strip_prefix('@')) {
            ("-", _) => {
                files::read_standard_input().map_err(|why| usage(format!("standard input: {why}")))?
            }
            (_, Some(file)) => {
                files::read_text(file.as_ref()).map_err(|why| usage(format!("@{file}: {why}")))?
            }
            (token, None) => token.to_owned(),
        };
        let pasted = Self::of(&text);
        if pasted.token.is_empty() {
            return Err(usage(
                "there is no token; give the token, @FILE, or - and the token on standard input",
            ));
        }
        let is_name = !pasted.token.contains(char::is_whitespace) && Path::new(&pasted.token).is_file();
        if is_name && argument != "-" {
            return Err(usage(format!(
                "{0} is a file and not a token; write @{0} for what is in it",
                pasted.token
            )));
        }
        Ok(pasted)
    }

    /// The token in a text.
    pub(crate) fn of(text: &str) -> Self {
        let (mut rest, mut around) = (text.to_owned(), Vec::new());
        for _ in 0..MOST_LAYERS {
            let trimmed = rest.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}').to_owned();
            let Some((inner, what)) = layer(&trimmed) else {
                rest = trimmed;
                break;
            };
            if !around.contains(&what) {
                around.push(what);
            }
            rest = inner;
        }
        if rest.contains(char::is_whitespace) && is_broken(&rest) {
            rest.retain(|c| !c.is_whitespace());
            around.push("line breaks or blanks".to_owned());
        }
        Self { token: rest, around }
    }

    /// What was taken off, for a line to people; `None` where nothing was.
    pub(crate) fn note(&self) -> Option<String> {
        let around = self.around.join(", ");
        (!around.is_empty()).then(|| format!("taken off before reading the token: {around}"))
    }
}

/// What is inside the outermost thing around a token, and the name of that thing.
fn layer(text: &str) -> Option<(String, String)> {
    for (open, close) in [('"', '"'), ('\'', '\''), ('`', '`'), ('\u{201c}', '\u{201d}'), ('<', '>')] {
        let inner = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        if let Some(inner) = inner.filter(|inner| !inner.contains(open)) {
            return Some((inner.to_owned(), "quotation marks".to_owned()));
        }
    }
    if text.starts_with('{') {
        let (name, token) = member(&serde_json::from_str(text).ok()?)?;
        return Some((token, format!("the JSON around `{name}`")));
    }
    for scheme in ["Bearer", "DPoP", "JWT", "Token"] {
        let start = text.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme));
        if let Some(rest) = start.and_then(|_| text.get(scheme.len()..)).filter(|rest| rest.starts_with(' '))
        {
            return Some((rest.to_owned(), format!("`{scheme} `")));
        }
    }
    if text.starts_with("https://") || text.starts_with("http://") {
        let (_, query) = text.split_once(['?', '#'])?;
        let pair = query.split(['&', '#']).find_map(|pair| {
            pair.split_once('=').filter(|(name, _)| MEMBERS.contains(name) || *name == "auth_token")
        });
        return pair.map(|(name, value)| (value.to_owned(), format!("the URL around `{name}`")));
    }
    // `Authorization: …`, `TOKEN=…`, `export TOKEN="…"`, `"access_token": "…",`
    let assigned = text.strip_prefix("export ").unwrap_or(text);
    let (name, value) = assigned.split_once([':', '='])?;
    let name = name.trim().trim_matches('"');
    let is_name = !name.is_empty()
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    let value = value.trim().trim_end_matches([',', ';']);
    // A header with padding behind it is no name: the claims would be left.
    (is_name && value.contains('.') && !value.starts_with('.'))
        .then(|| (value.to_owned(), format!("`{name}` in front")))
}

/// The likeliest token in an answer, there or one level below (`AuthenticationResult` of Cognito).
fn member(answer: &serde_json::Value) -> Option<(String, String)> {
    let of = |object: &serde_json::Value| {
        MEMBERS.iter().find_map(|name| Some(((*name).to_owned(), object.get(*name)?.as_str()?.to_owned())))
    };
    of(answer).or_else(|| answer.as_object()?.values().find_map(of))
}

/// Whether blanks break one token apart, as opposed to standing between words: what is there begins
/// as a header does, with `{` in base64url and a quotation mark or a blank behind it.
fn is_broken(text: &str) -> bool {
    let in_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (text.starts_with("ey") || text.starts_with("ew"))
        && text.matches('.').count() == 2
        && text.chars().all(|c| in_token(c) || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_a_token_is_taken_off_and_the_token_is_left_as_it_is() {
        const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
        for text in [
            format!("\"{TOKEN}\""),
            format!("'{TOKEN}'\n"),
            format!("\u{201c}{TOKEN}\u{201d}"),
            format!("Bearer {TOKEN}"),
            format!("bearer  {TOKEN}"),
            format!("Authorization: Bearer {TOKEN}\r\n"),
            format!("-H 'Authorization: Bearer {TOKEN}'").replace("-H ", ""),
            format!("\u{feff}{TOKEN}"),
            format!("TOKEN={TOKEN}"),
            format!("export TOKEN=\"{TOKEN}\""),
            format!("\"access_token\": \"{TOKEN}\","),
            format!("{{\"access_token\":\"{TOKEN}\",\"token_type\":\"Bearer\"}}"),
            format!("{{\"AuthenticationResult\":{{\"AccessToken\":\"{TOKEN}\"}}}}"),
            format!("https://a.example/cb#state=x&id_token={TOKEN}&scope=y"),
            TOKEN.replace('.', ".\n  "),
        ] {
            let pasted = Pasted::of(&text);
            assert_eq!(pasted.token, TOKEN, "{text}");
            assert!(text.starts_with('\u{feff}') || !pasted.around.is_empty(), "{text}");
        }
        for left in [
            TOKEN,
            "abc",
            "a b c",
            "{}",
            "a.b=.c",
            "{\"access_token\":5}",
            "x: y",
            "see a.b.c there",
            "eyJh=.eyJz.c2ln",
            "e. g. this",
        ] {
            let pasted = Pasted::of(left);
            assert_eq!((pasted.token.as_str(), pasted.around.len()), (left, 0), "{left}");
        }
    }
}
