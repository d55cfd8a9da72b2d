//! `Scope`: a list of scopes as RFC 6749 §3.3 writes it, checked, each once, in the order they
//! came.
//!
//! Whether a client may have them is its policy's to say (`admission`).

/// At least one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope(String);

/// A text that is not a list of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a scope is a list of names with one space between them, of printable ASCII without quotes and backslashes"
)]
pub struct ScopeError;

impl Scope {
    /// Reads what a request or a configuration says.
    ///
    /// # Errors
    ///
    /// If a name is empty or has a character that RFC 6749 §3.3 does not allow.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let mut kept: Vec<&str> = Vec::new();
        for name in text.split(' ') {
            let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            if name.is_empty() || !name.bytes().all(allowed) {
                return Err(ScopeError);
            }
            if !kept.contains(&name) {
                kept.push(name);
            }
        }
        Ok(Self(kept.join(" ")))
    }

    /// As it stands in a token and in a response.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_there_once_and_in_its_place() {
        assert_eq!(Scope::parse("read write:own read").unwrap().as_str(), "read write:own");
        assert_eq!(Scope::parse("a").unwrap().names().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn anything_that_two_readers_would_split_differently_is_refused() {
        for text in ["", " ", "a ", " a", "a  b", "a\tb", "a\"", "a\\b", "ä", "a\n", "a\u{a0}b"] {
            assert!(Scope::parse(text).is_err(), "{text:?}");
        }
    }
}
