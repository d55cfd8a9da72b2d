//! What is found in rules, and what is not.

use super::*;

fn terms(when: &str, claims: &[(&str, &str)]) -> Terms {
    let compile = |text: &str| Expression::compile(text).unwrap();
    Terms {
        when: (!when.is_empty()).then(|| compile(when)),
        claims: claims.iter().map(|(name, text)| ((*name).to_owned(), compile(text))).collect(),
    }
}

fn found(when: &str, claims: &[(&str, &str)], source: SourceFacts<'_>) -> Vec<(Severity, String)> {
    lint(&terms(when, claims), source).into_iter().map(|found| (found.severity, found.setting)).collect()
}

const CLOSED: SourceFacts<'static> =
    SourceFacts { is_open_to_all: false, compared: &[], verifies_email: false };
const OPEN: SourceFacts<'static> = SourceFacts { is_open_to_all: true, ..CLOSED };

#[test]
fn a_condition_that_every_token_meets_is_an_error() {
    for when in [
        "true",
        "1 == 1",
        "'a'.startsWith('a')",
        "claims.sub == 'alice' || true",
        "claims.sub.startsWith('')",
        "claims.sub.endsWith('') && claims.groups == 'a'",
        "claims.sub.contains('')",
        "claims.sub.matches('.*')",
        "claims.sub.matches('^.*$')",
        "claims.sub.matches('.+')",
        "claims.sub.matches('')",
        "claims.sub.matches('^')",
        "claims.sub.matches('alice|.*')",
        "claims.sub.matches('(?s)^.{1,}$')",
        "claims.groups.exists(g, g.matches('.*'))",
        "claims.sub == claims.sub",
    ] {
        let found = found(when, &[], CLOSED);
        assert!(found.iter().any(|(severity, _)| *severity == Severity::Error), "{when}: {found:?}");
    }
    for when in [
        "claims.sub == 'alice'",
        "claims.sub.startsWith('team-')",
        "claims.sub.matches('^[a-z]+$')",
        "claims.groups.exists(g, g == 'admins')",
        "claims.level >= 3",
        "has(claims.admin) || claims.sub == 'alice'",
    ] {
        assert_eq!(found(when, &[], CLOSED), [], "{when}");
    }
    assert_eq!(found("claims.sub.matches('main')", &[], CLOSED), [(Severity::Warning, "when".to_owned())]);
}

#[test]
fn an_email_address_that_is_not_verified_is_no_identity() {
    let error = |setting: &str| vec![(Severity::Error, setting.to_owned())];
    let email = [("email", "claims.email")];
    assert_eq!(found("", &email, CLOSED), error("claims.email"));
    assert_eq!(found("", &[("username", "'u:' + claims.email")], CLOSED), error("claims.username"));
    assert_eq!(found("claims.email.endsWith('@a.example')", &[], CLOSED), error("when"));
    assert_eq!(found("claims.email_verified || claims.sub == 'a'", &email, CLOSED), error("claims.email"));
    assert_eq!(found("claims.email_verified == false", &email, CLOSED), error("claims.email"));
    assert_eq!(found("has(claims.email_verified)", &email, CLOSED), error("claims.email"));
    for when in [
        "claims.email_verified",
        "claims.email_verified == true && claims.email.endsWith('@a.example')",
        "claims.sub != '' && 'true' == claims.email_verified",
    ] {
        assert_eq!(found(when, &email, CLOSED), [], "{when}");
    }
    assert_eq!(found("", &email, SourceFacts { verifies_email: true, ..CLOSED }), []);
    let pair = [("email", "claims.email"), ("email_verified", "claims.email_verified")];
    assert_eq!(found("", &pair, CLOSED), []);
    let other = [("username", "claims.email"), ("email_verified", "claims.email_verified")];
    assert_eq!(found("", &other, CLOSED), error("claims.username"));
}

#[test]
fn a_rule_for_github_actions_says_which_repository_and_by_its_number() {
    let by_id = vec!["repository_id".to_owned()];
    assert_eq!(found("", &[], OPEN), [(Severity::Error, "when".to_owned())]);
    assert_eq!(found("claims.ref == 'refs/heads/main'", &[], OPEN), [(Severity::Error, "when".to_owned())]);
    assert_eq!(found("claims.repository == 'a/b'", &[], OPEN), [(Severity::Warning, "when".to_owned())]);
    assert_eq!(found("claims.repository_id == '1'", &[], OPEN), []);
    assert_eq!(found("", &[], SourceFacts { compared: &by_id, ..OPEN }), []);
}
