//! The raw RS256-2048 signing rate of one core: aws-lc-rs in a loop over the bytes of a usual token.
//!
//! Prints signatures per second, and per second of processor time (the two differ where the core is shared).
//! Usage: `raw_sign SECONDS`, pinned to a core by the caller.

use anyhow::{Context, Result};
use countersign_benches::{
    contenders::Bench,
    measure::{Operation, Plan, compare},
};
use countersign_jose::Algorithm;
use std::time::Duration;

fn main() -> Result<()> {
    let seconds: f64 = std::env::args().nth(1).context("usage: raw_sign SECONDS")?.parse()?;
    let bench = Bench::new(Algorithm::RS256)?;
    let count = std::cell::Cell::new(0_u32);
    let [mut raw, ..] = bench.signers();
    let counted: Operation<'_> = Box::new(|| {
        count.set(count.get() + 1);
        raw()
    });
    let used = cpu_seconds()?;
    // One turn of the whole time; calibrating warms up.
    let plan = Plan { rounds: 1, turn: Duration::from_secs_f64(seconds) };
    let nanos = compare(&mut [counted], plan)?.nanos(0);
    println!("{:.1} {:.1}", 1e9 / nanos, f64::from(count.get()) / (cpu_seconds()? - used));
    Ok(())
}

/// Processor time of this thread: the first figure of schedstat, in nanoseconds (proc(5)).
fn cpu_seconds() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().context("no figure")?.parse::<f64>()? / 1e9)
}
