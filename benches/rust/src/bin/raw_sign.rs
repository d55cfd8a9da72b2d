//! The raw signing rate of one core: aws-lc-rs in a loop over the bytes of a usual token.
//!
//! Prints signatures per second, and per second of processor time (the two differ where the core is
//! shared). Usage: `raw_sign SECONDS ALGORITHM`, pinned to a core by the caller.

use anyhow::{Context, Result};
use countersign_benches::{contenders::Bench, measure::rate};
use countersign_jose::Algorithm;
use std::time::Duration;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().context("usage: raw_sign SECONDS ALGORITHM");
    let seconds: f64 = argument()?.parse()?;
    let bench = Bench::new(argument()?.parse::<Algorithm>()?)?;
    let [mut raw, ..] = bench.signers();
    // To warm up.
    rate(&mut raw, Duration::from_secs_f64(seconds / 10.0))?;
    let rate = rate(&mut raw, Duration::from_secs_f64(seconds))?;
    println!("{:.1} {:.1}", rate.per_second, rate.per_cpu_second);
    Ok(())
}
