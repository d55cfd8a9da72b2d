//! The raw RS256-2048 signing rate of one core: aws-lc-rs in a loop over the bytes of a usual token.
//!
//! Prints signatures per second, and per second of processor time (the two differ where the core is shared).
//! Usage: `raw_sign SECONDS`, pinned to a core by the caller.

use anyhow::{Context, Result};
use countersign_benches::{contenders::Bench, measure::rate};
use countersign_jose::Algorithm;
use std::time::Duration;

fn main() -> Result<()> {
    let seconds: f64 = std::env::args().nth(1).context("usage: raw_sign SECONDS")?.parse()?;
    let bench = Bench::new(Algorithm::RS256)?;
    let [mut raw, ..] = bench.signers();
    // To warm up.
    rate(&mut raw, Duration::from_secs_f64(seconds / 10.0))?;
    let rate = rate(&mut raw, Duration::from_secs_f64(seconds))?;
    println!("{:.1} {:.1}", rate.per_second, rate.per_cpu_second);
    Ok(())
}
