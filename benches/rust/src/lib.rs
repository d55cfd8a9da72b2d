//! What the benchmarks share: how to time contenders against each other, and the contenders
//! themselves.
//!
//! Every figure is a ratio within one run: the contenders take turns, round by round, so that
//! whatever else the machine does hits all of them. Nothing here is a test; `benches/run` runs it
//! and prints the tables.

pub mod contenders;
pub mod given;
pub mod measure;

use anyhow::{Result, bail};
use countersign_jose::Timestamp;
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{SystemTime, UNIX_EPOCH},
};

/// Every verifier looks at the clock for every token, so all are charged for it.
#[expect(clippy::disallowed_methods, reason = "the others read the clock themselves; ours must pay the same")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_seconds(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// The outcome of a future that has nothing to wait for: with keys at hand, nothing is fetched.
fn at_once<T>(future: impl Future<Output = T>) -> Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Ok(outcome),
        Poll::Pending => bail!("it waits for something"),
    }
}
