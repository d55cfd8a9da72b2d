//! The ARN of a method at API Gateway, and what a policy may be built of: everything in it but the
//! caller's path.
//!
//! `arn:PARTITION:execute-api:REGION:ACCOUNT:API/STAGE/VERB/PATH` (API Gateway developer guide,
//! "Control access for invoking an API"); for WebSocket APIs `…/STAGE/$connect`. Only the first
//! five colons separate: a path may have colons too.

use crate::path::Target;

/// An ARN taken apart. No part but the path can have a wildcard of IAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MethodArn<'a> {
    text: &'a str,
    /// How much of the text is up to and with the stage.
    stage_end: usize,
    /// The verb, where there is one.
    pub(super) verb: &'a str,
    /// The path with its slash in front, or `$connect`.
    pub(super) path: &'a str,
}

impl<'a> MethodArn<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
        let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        let (api, rest) = resource.split_once('/')?;
        let (stage, rest) = rest.split_once('/')?;
        let word = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let named = arn == "arn"
            && service == "execute-api"
            && [partition, region, account, api].into_iter().all(word);
        if !named || !(word(stage) || stage == "$default") {
            return None;
        }
        let stage_end = text.len() - rest.len() - 1;
        if rest == Target::CONNECT {
            return Some(Self { text, stage_end, verb: "", path: rest });
        }
        // The path keeps the slash between it and the verb.
        let (verb, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Some(Self { text, stage_end, verb, path: if path.is_empty() { "/" } else { path } })
    }

    /// The API and stage, `arn:…:API/STAGE`.
    pub(super) fn stage(&self) -> &'a str {
        self.text.get(..self.stage_end).unwrap_or_default()
    }

    pub(super) fn as_str(&self) -> &'a str {
        self.text
    }
}

/// Whether an IAM resource pattern covers an ARN: `*` is any text and `?` any character (IAM user
/// guide, "Resource").
pub(super) fn covers(pattern: &str, arn: &str) -> bool {
    let (pattern, arn) = (pattern.as_bytes(), arn.as_bytes());
    let (mut p, mut a) = (0, 0);
    // Where to go on when a star has to take one more.
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = arn.get(a) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, a));
                p += 1;
            }
            Some(&expected) if expected == b'?' || expected == byte => {
                p += 1;
                a += 1;
            }
            _ => {
                let Some((after, from)) = star else { return false };
                star = Some((after, from + 1));
                p = after;
                a = from + 1;
            }
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_arns_of_every_partition_apart_and_leaves_colons_in_the_path_alone() {
        for (text, stage, verb, path) in [
            (
                "arn:aws:execute-api:us-east-1:123456789012:abcdef123/test/GET/request",
                "arn:aws:execute-api:us-east-1:123456789012:abcdef123/test",
                "GET",
                "/request",
            ),
            (
                "arn:aws-cn:execute-api:cn-north-1:123456789012:a/$default/POST/",
                "arn:aws-cn:execute-api:cn-north-1:123456789012:a/$default",
                "POST",
                "/",
            ),
            (
                "arn:aws-us-gov:execute-api:us-gov-west-1:1:a/s/GET/t/2021-08-01T00:00:00Z",
                "arn:aws-us-gov:execute-api:us-gov-west-1:1:a/s",
                "GET",
                "/t/2021-08-01T00:00:00Z",
            ),
            ("arn:aws:execute-api:r:1:a/s/$connect", "arn:aws:execute-api:r:1:a/s", "", "$connect"),
            ("arn:aws:execute-api:r:1:a/s/GET", "arn:aws:execute-api:r:1:a/s", "GET", "/"),
        ] {
            let arn = MethodArn::parse(text).expect(text);
            assert_eq!((arn.stage(), arn.verb, arn.path), (stage, verb, path));
        }
    }

    #[test]
    fn an_arn_with_a_wildcard_where_none_belongs_is_none() {
        for text in [
            "",
            "arn",
            "arn:aws:execute-api:r:1:a",
            "arn:aws:execute-api:r:1:a/s",
            "arn:aws:s3:r:1:a/s/GET/x",
            "arn:aws:execute-api:r:1:*/s/GET/x",
            "arn:aws:execute-api:*:1:a/s/GET/x",
            "arn:aws:execute-api:r:1:a/*/GET/x",
            "arn:*:execute-api:r:1:a/s/GET/x",
            "arn:aws:execute-api:r:1:/s/GET/x",
            "arn:aws:execute-api:r:1:a//GET/x",
            "x:aws:execute-api:r:1:a/s/GET/x",
        ] {
            assert_eq!(MethodArn::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_star_takes_slashes_too_and_a_question_mark_one_character() {
        for (pattern, arn) in
            [("*", ""), ("*", "a/b"), ("a/*", "a/"), ("a/*/c", "a/b/b/c"), ("a?c", "abc"), ("*b*", "abab")]
        {
            assert!(covers(pattern, arn), "{pattern} {arn}");
        }
        for (pattern, arn) in [("", "a"), ("a", ""), ("a/*", "a"), ("a?c", "ac"), ("*b", "abc"), ("a", "ab")]
        {
            assert!(!covers(pattern, arn), "{pattern} {arn}");
        }
    }
}
