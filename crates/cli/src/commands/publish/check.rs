//! `countersign publish --check`: what the issuer's URL serves, compared with what `publish` puts
//! there.
//!
//! Every document is fetched as a verifier would and judged by itself: whether it can be had, what
//! came instead of it, and then its `Content-Type` and how long caches keep it, because a key that
//! caches keep for longer than the rotation reckons with goes on when nobody expects it. Each fault
//! has a cause of its own, a stable name, and says what to do. What has just been written may be
//! shown as it was before by a cache that is within its time. Pinned by the tests below and
//! tests/e2e/test_publish_check.py.

use super::{Written, older};
use crate::{
    failure::{Failure, Outcome, away, configuration, refused},
    output,
};
use countersign_issuer::{Document, Issuer};
use countersign_verifier::{Fetch, FetchError, FetchLimits, Fetched, HttpsFetch, KeyUrl, Stated};
use std::time::Duration;

/// What is wrong with a document in public.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    /// Its name for programs.
    cause: &'static str,
    /// What was found, and what to do.
    message: String,
}

fn fault(cause: &'static str, message: impl Into<String>) -> Fault {
    Fault { cause, message: message.into() }
}

/// What was found at the address of one document.
#[derive(Debug)]
struct Row {
    url: String,
    found: Found,
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// What should be there.
    Right,
    /// What was there before this run.
    Before,
    Wrong(Fault),
}

/// What a check of all documents came to.
#[derive(Debug)]
pub(crate) struct Report {
    issuer: String,
    max_age: Duration,
    rows: Vec<Row>,
}

/// Fetches and judges every document. `written` is what has just been written.
pub(super) async fn look(issuer: &Issuer, written: &[Written]) -> Outcome<Report> {
    let fetch = HttpsFetch::new(FetchLimits::default());
    let settings = issuer.settings();
    let (max_age, mut rows) = (settings.jwks_max_age, Vec::new());
    for (path, document) in issuer.documents().iter() {
        let url = settings.issuer.join(path);
        let parsed = KeyUrl::parse(&url).map_err(|why| configuration(format!("{url}: {why}")))?;
        let before = written.iter().find(|written| written.path == path);
        let before = before.and_then(|written| written.before.as_deref());
        let found = judge(fetch.fetch(&parsed).await, document, before, max_age);
        rows.push(Row { url, found });
    }
    Ok(Report { issuer: settings.issuer.to_string(), max_age, rows })
}

impl Report {
    fn wrong(&self) -> impl Iterator<Item = (&str, &Fault)> {
        self.rows.iter().filter_map(|row| match &row.found {
            Found::Wrong(fault) => Some((row.url.as_str(), fault)),
            Found::Right | Found::Before => None,
        })
    }

    /// For programs: a row for each document.
    pub(crate) fn json(&self) -> serde_json::Value {
        let rows = self.rows.iter().map(|Row { url, found }| match found {
            Found::Right => serde_json::json!({ "url": url, "cause": null, "message": null }),
            Found::Before => serde_json::json!({
                "url": url, "cause": null, "message": "a cache shows what was there before this run",
            }),
            Found::Wrong(Fault { cause, message }) => {
                serde_json::json!({ "url": url, "cause": cause, "message": message })
            }
        });
        rows.collect()
    }

    /// Whether the world is shown every document as it should be now.
    pub(crate) fn shows_all(&self) -> bool {
        self.rows.iter().all(|row| row.found == Found::Right)
    }

    /// For people, where nothing is wrong.
    pub(crate) fn text(&self) -> String {
        let Self { issuer, rows, max_age } = self;
        let before = rows.iter().filter(|row| row.found == Found::Before).count();
        let right = format!("{} documents at {issuer} are what they should be", rows.len() - before);
        match before {
            0 => right,
            _ => format!(
                "{right}; a cache shows {before} as they were before this run, for up to {} (jwks.max_age)",
                humantime::format_duration(*max_age)
            ),
        }
    }

    /// What is wrong, in one line: each fault once, with the documents that have it.
    pub(crate) fn outcome(&self) -> Outcome {
        let mut faults: Vec<(&Fault, &str, usize)> = Vec::new();
        for (url, fault) in self.wrong() {
            match faults.iter_mut().find(|(known, ..)| *known == fault) {
                Some((_, _, more)) => *more += 1,
                None => faults.push((fault, url, 0)),
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        let lines = faults.iter().map(|(fault, url, more)| match more {
            0 => format!("{url} {}", fault.message),
            _ => format!("{url} and {more} more: {}", fault.message),
        });
        // What cannot be had at all is another case than what is wrong.
        let nothing = self.rows.len() == self.wrong().count()
            && self.wrong().all(|(_, fault)| fault.cause.starts_with("fetch_"));
        let lines = lines.collect::<Vec<_>>().join("; ");
        Err(match nothing {
            true => away("published_unreachable", lines),
            false => refused("published_differs", lines),
        })
    }
}

/// The command itself.
pub(super) async fn run(json: bool, issuer: &Issuer) -> Outcome {
    let report = look(issuer, &[]).await?;
    report.outcome().map_err(|why: Failure| why.with("documents", report.json()))?;
    if json {
        let said = serde_json::json!({ "checked": report.rows.len(), "documents": report.json() });
        output::line(&said.to_string());
    } else {
        output::line(&report.text());
    }
    Ok(())
}

/// What is to be said of an answer. `before` is what was there until this run.
fn judge(
    answer: Result<Fetched, FetchError>,
    document: &Document,
    before: Option<&[u8]>,
    max_age: Duration,
) -> Found {
    let Fetched { body, stated, .. } = match answer {
        Ok(answer) => answer,
        Err(why) => return Found::Wrong(not_had(&why)),
    };
    let was_before = before == Some(&*body);
    if body != document.body && !was_before {
        return Found::Wrong(instead(&body, document));
    }
    match header_fault(&stated, document, max_age) {
        Some(fault) => Found::Wrong(fault),
        None if was_before && body != document.body => Found::Before,
        None => Found::Right,
    }
}

/// A document that could not be had.
fn not_had(why: &FetchError) -> Fault {
    let advice = match why {
        FetchError::Status(404) => {
            "; it is not there: run `countersign publish` to where this address leads, and see that the path is the issuer's"
        }
        FetchError::Status(403) => {
            "; S3 says so of an object that is not there, too: run `countersign publish`, and see that who serves it may read it"
        }
        FetchError::Redirect => {
            ": verifiers do not follow it either, and S3 redirects where a bucket is in another region; serve it at this address"
        }
        FetchError::Connection(_) => {
            "; see that something serves this address, and that its certificate is valid"
        }
        _ => "",
    };
    fault(why.code(), format!("{why}{advice}"))
}

/// What came instead of the document.
fn instead(body: &[u8], document: &Document) -> Fault {
    let json = serde_json::from_slice::<serde_json::Value>(body).ok();
    if let Some(member) = json.as_ref().and_then(private_member) {
        return fault(
            "private_key",
            format!(
                "shows private keys (`{member}`): take it down now, revoke every key in it with `countersign keys revoke`, and serve what \
                 `countersign publish` writes"
            ),
        );
    }
    let start = body.trim_ascii_start();
    if start.starts_with(b"<") {
        let xml = start.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"<?xml"));
        return match xml {
            true => fault("xml", "is XML, as S3 answers with an error; see what stands at this address"),
            false => fault(
                "html",
                "is an HTML page: a web server that answers every path with its index page, or a page to log in; serve the published \
                 document at this path",
            ),
        };
    }
    if let Some((here, there)) = older::sequences(body, document)
        && there < here
    {
        return fault(
            "stale",
            format!(
                "is older than the keyring: its sequence is {there}, and that of the keyring is {here}; run `countersign publish`, and if \
                 that was done, a cache in front keeps it for too long"
            ),
        );
    }
    if let Some(why) = older::objection(body, document) {
        return fault(
            "newer",
            format!("is newer than the keyring: {why}; the store went back or is another one; restore it"),
        );
    }
    let Ok(serde_json::Value::Object(expected)) = serde_json::from_slice(&document.body) else {
        return fault("differs", "is not what it should be: another key; run `countersign publish`");
    };
    let Some(serde_json::Value::Object(found)) = json else {
        return fault(
            "not_json",
            "is not a JSON object; run `countersign publish`, and see what changes it on the way",
        );
    };
    let names = expected.keys().chain(found.keys().filter(|name| !expected.contains_key(*name)));
    let differing: Vec<_> = names.filter(|name| expected.get(*name) != found.get(*name)).collect();
    let what = match differing.as_slice() {
        [] => "it says the same in other bytes, so something changes it on the way".to_owned(),
        // They are whatever stands there, so a few are enough.
        [..] => {
            let shown: Vec<_> =
                differing.iter().take(5).map(|name| format!("`{}`", printable(name))).collect();
            format!("{} differ{}", shown.join(", "), if differing.len() == 1 { "s" } else { "" })
        }
    };
    fault("differs", format!("is not what it should be: {what}; run `countersign publish`"))
}

/// What stands at an address that others may have, in a message.
fn printable(name: &str) -> String {
    name.chars().take(60).flat_map(char::escape_debug).collect()
}

/// A member that no public key has (RFC 7518 §6, RFC 8037 §2).
fn private_member(document: &serde_json::Value) -> Option<&'static str> {
    let keys = document.get("keys").and_then(serde_json::Value::as_array).into_iter().flatten();
    let mut keys = keys.chain(std::iter::once(document));
    let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    keys.find_map(|key| {
        key.get("kty")?;
        private.into_iter().find(|member| key.get(member).is_some())
    })
}

/// Whether it is served as what it is, and for as long as the rotation reckons with.
fn header_fault(stated: &Stated, document: &Document, max_age: Duration) -> Option<Fault> {
    let time = |time: Duration| humantime::format_duration(time).to_string();
    let expected = document.content_type;
    let reckoned = time(max_age);
    let found = stated.content_type.as_deref();
    if !found.is_some_and(|found| is_type(found, expected)) {
        let found = found.map_or_else(|| "nothing".to_owned(), |found| format!("`{}`", printable(found)));
        return Some(fault(
            "content_type",
            format!(
                "is served with the Content-Type {found}, and has to be `{expected}`: some verifiers refuse it; `countersign publish s3://…` \
                 sets it, and a web server has to be told"
            ),
        ));
    }
    let right = &document.cache_control;
    match stated.kept_for {
        None => Some(fault(
            "cache_unlimited",
            format!(
                "is served without a max-age, so that caches keep it for as long as they like (CloudFront: a day), and the rotation reckons \
                 with {reckoned} (jwks.max_age); serve it with `Cache-Control: {right}`"
            ),
        )),
        Some(kept_for) if kept_for > max_age => Some(fault(
            "cache_longer",
            format!(
                "may be kept for {} by its Cache-Control, and the rotation reckons with {reckoned} (jwks.max_age), so that verifiers would go \
                 on with old keys; serve it with `Cache-Control: {right}`, or set jwks.max_age to that time",
                time(kept_for)
            ),
        )),
        Some(_) if stated.age > max_age => Some(fault(
            "cache_older",
            format!(
                "comes from a cache that has kept it for {}, longer than `{right}` allows; give the cache no minimum time (CloudFront: \
                 the minimum TTL)",
                time(stated.age)
            ),
        )),
        Some(_) => None,
    }
}

/// Whether a type says what the document is. JSON is JSON: verifiers take a JWKS as
/// `application/json`, which is what most web servers know.
fn is_type(found: &str, expected: &str) -> bool {
    let essence = found.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = |essence: &str| essence == "application/json" || essence.ends_with("+json");
    essence == expected
        || (is_json(expected) && is_json(&essence))
        || (!is_json(expected) && essence == "text/plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: Duration = Duration::from_secs(300);

    fn document(body: &str) -> Document {
        Document {
            content_type: "application/jwk-set+json",
            cache_control: "public, max-age=300".to_owned(),
            etag: String::new(),
            body: body.to_owned().into(),
        }
    }

    fn answer(
        body: &str,
        content_type: &str,
        kept_for: Option<u64>,
        age: u64,
    ) -> Result<Fetched, FetchError> {
        let stated = Stated {
            content_type: Some(content_type.to_owned()),
            kept_for: kept_for.map(Duration::from_secs),
            age: Duration::from_secs(age),
            date: None,
        };
        Ok(Fetched { body: body.to_owned().into(), fresh_for: None, stated })
    }

    fn cause(found: &Found) -> Option<&'static str> {
        match found {
            Found::Wrong(fault) => Some(fault.cause),
            Found::Right | Found::Before => None,
        }
    }

    #[test]
    fn each_fault_has_a_cause_of_its_own() {
        let right = r#"{"keys":[{"kty":"EC","kid":"a"}],"countersign_sequence":5}"#;
        let json = "application/json";
        let good = Some(300);
        for (answer, expected) in [
            (answer(right, json, good, 0), None),
            (answer(right, "Application/JWK-Set+JSON; charset=utf-8", Some(1), 300), None),
            (answer(right, "binary/octet-stream", good, 0), Some("content_type")),
            (answer(right, "text/plain", good, 0), Some("content_type")),
            (answer(right, json, Some(86_400), 0), Some("cache_longer")),
            (answer(right, json, None, 0), Some("cache_unlimited")),
            (answer(right, json, good, 301), Some("cache_older")),
            (answer("<!DOCTYPE html>", "text/html", good, 0), Some("html")),
            (answer(" <?XML version='1.0'?><Error/>", "application/xml", good, 0), Some("xml")),
            (answer(r#"{"keys":[{"kty":"EC","kid":"a","d":"x"}]}"#, json, good, 0), Some("private_key")),
            (answer(r#"{"keys":[{"kty":"EC"}],"countersign_sequence":4}"#, json, good, 0), Some("stale")),
            (answer(r#"{"keys":[{"kty":"EC"}],"countersign_sequence":6}"#, json, good, 0), Some("newer")),
            (
                answer(r#"{"keys":[{"kty":"EC","kid":"b"}],"countersign_sequence":5}"#, json, good, 0),
                Some("differs"),
            ),
            (answer("plain", json, good, 0), Some("not_json")),
            (Err(FetchError::Status(404)), Some("fetch_status")),
            (Err(FetchError::Redirect), Some("fetch_redirect")),
        ] {
            let found = judge(answer.clone(), &document(right), None, FIVE);
            assert_eq!(cause(&found), expected, "{answer:?}");
        }
    }

    #[test]
    fn what_was_there_before_this_run_is_no_fault_and_is_told() {
        let (old, new) = (r#"{"countersign_sequence":4}"#, r#"{"countersign_sequence":5}"#);
        let json = "application/json";
        let cached = judge(answer(old, json, Some(300), 9), &document(new), Some(old.as_bytes()), FIVE);
        assert_eq!(cached, Found::Before);
        let other = judge(answer(old, json, Some(300), 9), &document(new), Some(b"another"), FIVE);
        assert_eq!(cause(&other), Some("stale"));
        // For longer than was reckoned with it is one.
        let long = judge(answer(old, json, Some(86_400), 9), &document(new), Some(old.as_bytes()), FIVE);
        assert_eq!(cause(&long), Some("cache_longer"));
    }

    #[test]
    fn members_that_differ_are_named_and_cut() {
        let message = |found: &str| instead(found.as_bytes(), &document(r#"{"issuer":"a","b":1}"#)).message;
        assert!(message(r#"{"issuer":"x","b":1}"#).contains("`issuer` differs;"));
        assert!(message(r#"{"issuer":"x","c":1}"#).contains("`b`, `issuer`, `c` differ;"));
        assert!(message(r#"{"b":1, "issuer":"a"}"#).contains("other bytes"));
        let long = message(&format!("{{\"issuer\":\"a\",\"b\":1,\"{}\\n\":2}}", "x".repeat(500)));
        assert!(long.len() < 200 && !long.contains('\n'), "{long}");
    }
}
