//! `countersign explain`: every check of a token, one line each, then the verdict. Exit code 0 when
//! it is to be accepted.
//!
//! Takes the arguments of `verify` and has its verdict: both ask the same verifier. Values of the
//! token are shown, cut and escaped, to the holder of the token.

use super::{
    Context,
    verify::{self, Asked},
};
use crate::{
    args::VerifyArgs,
    checks::{self, ReportedCheck},
    failure::{Exit, Outcome},
    output,
};
use countersign_jose::shown_json;
use countersign_store::{Clock, SystemClock};
use countersign_verifier::{Check, Explanation, Verdict};
use serde::Serialize;
use serde_json::value::RawValue;

pub(super) async fn run(context: &Context<'_>, args: &VerifyArgs) -> Outcome<Exit> {
    let asked = Asked::read(context, args).await?;
    asked.tell_of_what_was_around();
    let explanation = told(asked.verifier.explain(&asked.token, SystemClock.now()).await);
    if context.json {
        let report = report(&explanation, &asked.unchecked);
        output::line(&shown_json(&serde_json::to_string(&report).map_err(crate::failure::internal)?));
    } else {
        lines(&explanation, &asked.unchecked).iter().for_each(|line| output::line(line));
    }
    Ok(if explanation.outcome.is_ok() { Exit::Done } else { Exit::Refused })
}

/// The reason under the name that `verify` gives it. It is that of the first check that failed.
fn told(mut explanation: Explanation) -> Explanation {
    let first = explanation.checks.iter_mut().find(|check| check.failed());
    if let (Err(why), Some(Check { verdict: Verdict::Failed { code, .. }, .. })) =
        (&explanation.outcome, first)
    {
        *code = verify::code(why);
    }
    explanation
}

fn lines(explanation: &Explanation, unchecked: &[&str]) -> Vec<String> {
    let mut lines = checks::lines(&explanation.checks);
    lines.push(match &explanation.outcome {
        Ok(_) => "valid".to_owned(),
        Err(why) => format!("refused: {why}"),
    });
    lines.extend(verify::not_checked(unchecked));
    lines
}

#[derive(Serialize)]
struct Report<'a> {
    valid: bool,
    checks: Vec<ReportedCheck<'a>>,
    /// Claims that nothing was expected of.
    unchecked: &'a [&'a str],
    /// Only those of a token that is to be accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

fn report<'a>(explanation: &'a Explanation, unchecked: &'a [&'a str]) -> Report<'a> {
    let why = explanation.outcome.as_ref().err();
    Report {
        valid: explanation.outcome.is_ok(),
        checks: checks::reported(&explanation.checks),
        unchecked,
        claims: explanation.outcome.as_ref().ok().and_then(|accepted| accepted.verified().claims().ok()),
        error: why.map(verify::code),
        message: why.map(|why| verify::refusal(why).message().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_verifier::VerifyError;

    fn check(name: &'static str, found: &str, verdict: Verdict) -> Check {
        Check { name: name.into(), expected: format!("a good {name}"), found: found.into(), verdict }
    }

    fn failed(why: &VerifyError) -> Verdict {
        Verdict::Failed { code: why.code(), why: why.to_string() }
    }

    fn refused() -> Explanation {
        let why = VerifyError::UnknownIssuer;
        let checks = vec![
            check("form", "JWS", Verdict::Passed),
            check("issuer", "\"b\"", failed(&why)),
            check("keys", "", failed(&VerifyError::NoIssuer)),
            check("signature", "", Verdict::NotReached),
        ];
        told(Explanation { checks, outcome: Err(why) })
    }

    #[test]
    fn every_check_is_a_line_and_the_verdict_the_last_word() {
        assert_eq!(
            lines(&refused(), &["aud"]),
            [
                "✓ form       expected a good form; found JWS",
                "✗ issuer     expected a good issuer; found \"b\": the token's issuer is not trusted here",
                "✗ keys       expected a good keys: the token names no issuer (`iss`)",
                "– signature  expected a good signature; not reached",
                "refused: the token's issuer is not trusted here",
                "not checked: aud (name what you expect with --audience)",
            ]
        );
    }

    #[test]
    fn the_reason_has_the_name_that_verify_gives_it() {
        let json = serde_json::to_value(report(&refused(), &["aud"])).unwrap();
        assert_eq!((&json["valid"], &json["error"]), (&false.into(), &"claim_mismatch".into()));
        let check = |at: usize| serde_json::to_string(&json["checks"][at]).unwrap();
        assert_eq!(check(0), r#"{"expected":"a good form","found":"JWS","name":"form","verdict":"passed"}"#);
        assert_eq!(
            (&json["checks"][1]["verdict"], &json["checks"][1]["code"]),
            (&"failed".into(), &"claim_mismatch".into())
        );
        assert_eq!(json["checks"][2]["code"], "issuer_missing");
        assert_eq!(json["checks"][3]["verdict"], "not_reached");
        assert!(json["checks"][3].get("code").is_none());
    }
}
