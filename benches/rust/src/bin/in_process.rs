//! Signing and verifying in process: Countersign against raw aws-lc-rs and the crate jsonwebtoken,
//! in one run.
//!
//! Prints a Markdown table of medians and ratios. Usage: `in_process [ROUNDS]`.

use anyhow::Result;
use countersign_benches::{
    contenders::Bench,
    measure::{Measured, Operation, Plan, compare},
};
use countersign_jose::Algorithm;
use std::time::Duration;

/// Verifying RS256 with its claims checked, as a part of the rate of raw verification.
const VERIFY_FLOOR: f64 = 0.9;

fn main() -> Result<()> {
    let rounds = std::env::args().nth(1).map_or(Ok(41), |rounds| rounds.parse())?;
    let plan = Plan { rounds, turn: Duration::from_millis(20) };
    println!(
        "| in process | raw aws-lc-rs | Countersign | jsonwebtoken | of raw | of jsonwebtoken | floor | met |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|---|");
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::HS256] {
        let bench = Bench::new(algorithm)?;
        let floor = (algorithm == Algorithm::RS256).then_some(VERIFY_FLOOR);
        row(&format!("{algorithm} sign"), &measure(bench.signers(), plan)?, None);
        row(&format!("{algorithm} verify, claims checked"), &measure(bench.verifiers(), plan)?, floor);
        row(
            &format!("{algorithm} verify, issuer selected"),
            &measure(bench.trusting_verifiers(), plan)?,
            floor,
        );
    }
    Ok(())
}

fn measure(mut contenders: [Operation<'_>; 3], plan: Plan) -> Result<Measured> {
    compare(&mut contenders, plan)
}

fn row(what: &str, measured: &Measured, floor: Option<f64>) {
    let micros = |contender| format!("{:.2} µs", measured.nanos(contender) / 1000.0);
    let (of_raw, of_peer) = (measured.ratio(1, 0), measured.ratio(1, 2));
    let (least, met) = match floor {
        Some(floor) => (format!("{floor:.2} of raw"), if of_raw >= floor { "yes" } else { "no" }),
        None => ("".into(), ""),
    };
    println!(
        "| {what} | {} | {} | {} | {of_raw:.3} | {of_peer:.2} | {least} | {met} |",
        micros(0),
        micros(1),
        micros(2),
    );
}
