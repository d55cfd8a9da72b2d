//! What a token may do, by whatever name its issuer says it.

use crate::json::{Object, string};
use std::borrow::Cow;

/// The scopes in `scope` (RFC 8693 §4.2) and in `scp` (Okta, Entra, Hydra), each a list or one text
/// with blanks. `None` where the token has neither, which is something else than none.
///
/// An entry of a list is one name, whatever is in it, so one with a blank is no scope that anything
/// can ask for.
pub fn scopes<'a>(claims: &Object<'a>) -> Option<Vec<Cow<'a, str>>> {
    let mut scopes = None;
    for raw in ["scope", "scp"].into_iter().filter_map(|name| claims.get(name)) {
        let scopes = scopes.get_or_insert_with(Vec::new);
        match string(raw) {
            Some(Cow::Borrowed(text)) => scopes.extend(words(text).map(Cow::Borrowed)),
            Some(Cow::Owned(text)) => scopes.extend(words(&text).map(|word| Cow::Owned(word.to_owned()))),
            None => {
                let list: Vec<String> = serde_json::from_str(raw.get()).unwrap_or_default();
                scopes.extend(list.into_iter().map(Cow::Owned));
            }
        }
    }
    scopes
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_by_both_names_in_both_forms_and_nothing_else_is_one() {
        for (claims, expected) in [
            (r#"{"sub":"a"}"#, None),
            (r#"{"scope":"a b"}"#, Some(vec!["a", "b"])),
            (r#"{"scp":["a","b"]}"#, Some(vec!["a", "b"])),
            (r#"{"scp":" a  b ","scope":["c"]}"#, Some(vec!["c", "a", "b"])),
            (r#"{"scp":["a b"],"scope":"\u0061"}"#, Some(vec!["a", "a b"])),
            // It says something, and none of it is a scope.
            (r#"{"scope":null}"#, Some(vec![])),
            (r#"{"scope":""}"#, Some(vec![])),
            (r#"{"scp":{"a":1}}"#, Some(vec![])),
            (r#"{"scp":["a",1]}"#, Some(vec![])),
            (r#"{"scopes":"a","SCOPE":"a","scope ":"a"}"#, None),
        ] {
            let object = Object::parse(claims.as_bytes(), 4).unwrap();
            let found = scopes(&object);
            let found = found.as_ref().map(|names| names.iter().map(Cow::as_ref).collect::<Vec<_>>());
            assert_eq!(found, expected, "{claims}");
        }
    }
}
