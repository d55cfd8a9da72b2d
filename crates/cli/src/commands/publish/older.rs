//! Whether what is published is newer than what is to be published: then the store went back, or is
//! another one.
//!
//! Verifiers keep what they read, so keys that are taken away by mistake are missed for longer than
//! the mistake lasts. The sequence in the JWKS counts the changes of the keyring; a JWKS without
//! keys never takes the place of one that has some. Anyone who means it says
//! `--replace-newer-keys`.

use super::target::Target;
use crate::failure::{Failure, refused};
use countersign_issuer::Document;
use serde::Deserialize;

/// As much of a JWKS as is compared.
#[derive(Debug, Default, Deserialize)]
struct Published {
    #[serde(default)]
    keys: Vec<serde_json::Value>,
    #[serde(default)]
    countersign_sequence: u64,
}

impl Published {
    fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Why this is not to be replaced by `new`.
    fn objection(&self, new: &Self) -> Option<String> {
        if !self.keys.is_empty() && new.keys.is_empty() {
            return Some(format!(
                "it has {}, and the keyring has none to publish",
                crate::output::counted(self.keys.len(), "key")
            ));
        }
        let (here, there) = (new.countersign_sequence, self.countersign_sequence);
        (here < there).then(|| format!("its sequence is {there}, and that of the keyring is {here}"))
    }
}

/// Why newer keys are not replaced.
pub(super) fn refusal(target: &Target, why: &str) -> Failure {
    let what = format!(
        "the JWKS at {target} is newer than the keyring: {why}. The store went back or is another one, so restore it; nothing was \
         written. If it is meant, say --replace-newer-keys"
    );
    refused("published_newer", what)
}

/// The keys of a JWKS by their `kid`.
pub(super) fn kids(jwks: &[u8]) -> Option<Vec<String>> {
    let kid = |key: &serde_json::Value| Some(key.get("kid")?.as_str()?.to_owned());
    Some(Published::parse(jwks)?.keys.iter().filter_map(kid).collect())
}

/// How many changes of the keyring are behind the new document and the one that was found, where
/// both say so.
pub(super) fn sequences(found: &[u8], new: &Document) -> Option<(u64, u64)> {
    let sequence =
        |bytes| Published::parse(bytes).map(|set| set.countersign_sequence).filter(|number| *number > 0);
    Some((sequence(&new.body)?, sequence(found)?))
}

/// Why the JWKS that was found should not be replaced by `new`.
pub(super) fn objection(found: &[u8], new: &Document) -> Option<String> {
    Published::parse(found)?.objection(&Published::parse(&new.body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_replaced_by_none_or_by_older_ones() {
        let parse = |text: &str| Published::parse(text.as_bytes()).unwrap();
        for (there, new, objects) in [
            (r#"{"keys":[{}],"countersign_sequence":5}"#, r#"{"keys":[{}],"countersign_sequence":5}"#, false),
            (r#"{"keys":[{}],"countersign_sequence":5}"#, r#"{"keys":[{}],"countersign_sequence":6}"#, false),
            (r#"{"keys":[{}],"countersign_sequence":5}"#, r#"{"keys":[{}],"countersign_sequence":4}"#, true),
            (r#"{"keys":[{}],"countersign_sequence":5}"#, r#"{"keys":[],"countersign_sequence":6}"#, true),
            (r#"{"keys":[{}]}"#, r#"{"keys":[],"countersign_sequence":6}"#, true),
            (r#"{"keys":[{}]}"#, r#"{"keys":[{}],"countersign_sequence":1}"#, false),
            (r#"{"keys":[]}"#, r#"{"keys":[]}"#, false),
            (r#"{"keys":[],"countersign_sequence":5}"#, r#"{"keys":[{}],"countersign_sequence":4}"#, true),
        ] {
            assert_eq!(parse(there).objection(&parse(new)).is_some(), objects, "{there} {new}");
        }
        assert!(Published::parse(b"<html>").is_none());
        assert!(kids(b"<html>").is_none());
        let jwks = br#"{"keys":[{"kid":"a"},{"kty":"EC"},{"kid":"b"},7]}"#;
        assert_eq!(kids(jwks).unwrap(), ["a", "b"]);
    }
}
