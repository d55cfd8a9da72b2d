//! Timing in turns: each round runs every contender for about the same time, in an order that
//! rotates.
//!
//! The figure of a contender is the median over the rounds, and a ratio is the median of the ratios
//! within each round, so a round that was disturbed counts once and not more.

use anyhow::{Context, Result};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Something to be timed. One call is one operation; it fails if its own result is wrong.
pub type Operation<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

/// How long and how often to measure.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Rounds; each contender runs once in each.
    pub rounds: usize,
    /// About how long a contender runs in one round.
    pub turn: Duration,
}

/// Operations per second, of time and of processor time; the two differ where the core is shared.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rate {
    /// Per second.
    pub per_second: f64,
    /// Per second of processor time of this thread.
    pub per_cpu_second: f64,
}

/// Nanoseconds per operation, by contender and round.
#[derive(Debug, Clone)]
pub struct Measured(Vec<Vec<f64>>);

impl Measured {
    /// Nanoseconds per operation of a contender: the median over the rounds.
    pub fn nanos(&self, contender: usize) -> f64 {
        median(self.0.get(contender).cloned().unwrap_or_default())
    }

    /// Operations of `contender` in the time of one operation of `base`: the median over the
    /// rounds.
    pub fn ratio(&self, contender: usize, base: usize) -> f64 {
        let (Some(contender), Some(base)) = (self.0.get(contender), self.0.get(base)) else {
            return f64::NAN;
        };
        median(base.iter().zip(contender).map(|(base, contender)| base / contender).collect())
    }
}

/// Runs all contenders in turns.
pub fn compare(contenders: &mut [Operation<'_>], plan: Plan) -> Result<Measured> {
    let mut counts = Vec::new();
    for operation in &mut *contenders {
        counts.push(calibrate(operation, plan.turn)?);
    }
    let mut measured = vec![Vec::with_capacity(plan.rounds); contenders.len()];
    for round in 0..plan.rounds {
        for turn in 0..contenders.len() {
            let index = (round + turn) % contenders.len();
            let operation = contenders.get_mut(index).context("no such contender")?;
            let count = counts.get(index).copied().unwrap_or(1);
            let each = time(operation, count)?.as_secs_f64() * 1e9 / f64::from(count);
            measured.get_mut(index).context("no such contender")?.push(each);
        }
    }
    Ok(Measured(measured))
}

/// Runs one operation for a while, as the programs in other languages do it: the clock is looked at
/// after every batch.
pub fn rate(operation: &mut Operation<'_>, turn: Duration) -> Result<Rate> {
    const BATCH: u32 = 64;
    let (used, mut took, mut count) = (cpu_seconds()?, Duration::ZERO, 0_u32);
    while took < turn {
        took += time(operation, BATCH)?;
        count += BATCH;
    }
    let count = f64::from(count);
    Ok(Rate { per_second: count / took.as_secs_f64(), per_cpu_second: count / (cpu_seconds()? - used) })
}

/// Processor time of this thread: the first figure of schedstat, in nanoseconds (proc(5)).
fn cpu_seconds() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().context("no figure")?.parse::<f64>()? / 1e9)
}

/// How many operations take about as long as `turn`.
fn calibrate(operation: &mut Operation<'_>, turn: Duration) -> Result<u32> {
    let mut count = 1;
    loop {
        let took = time(operation, count)?;
        if took * 2 >= turn || count >= 1 << 24 {
            return Ok((f64::from(count) * turn.as_secs_f64() / took.as_secs_f64()).ceil().max(1.0) as u32);
        }
        count *= 2;
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn time(operation: &mut Operation<'_>, count: u32) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..count {
        operation()?;
    }
    Ok(start.elapsed())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
