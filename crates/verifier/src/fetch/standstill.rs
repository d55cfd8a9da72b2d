//! A fetch that the process did not stand still in: what failed while it did says nothing of the
//! server, and is asked again.
//!
//! AWS Lambda freezes a function that has answered, and with it a fetch that is in the air. When
//! the function runs on, the limit of the fetch is over and its connection is gone, although the
//! server is well. Such an end is told by its time: within its limit a fetch ends while the process
//! runs. Called by `remote` and `revocation`.

use super::{Fetch, FetchError, Fetched};
use crate::source::KeyUrl;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The most that a fetch may take, for those that have forgotten a limit of their own.
pub(crate) const LONGEST_FETCH: Duration = Duration::from_secs(30);
/// How much later than its limit a fetch may end on a machine that is busy.
const MARGIN: Duration = Duration::from_secs(1);

/// The document at `url`, and how much time had passed when the request that was answered was sent:
/// none, unless the process stood still.
pub(crate) async fn ask(fetch: &dyn Fetch, url: &KeyUrl) -> Result<(Fetched, Duration), FetchError> {
    let limit = fetch.limit().min(LONGEST_FETCH);
    let begun = Instant::now();
    let mut sent = begun;
    loop {
        let answer = timeout(limit, fetch.fetch(url)).await.unwrap_or(Err(FetchError::Timeout(limit)));
        match answer {
            Ok(fetched) => return Ok((fetched, sent - begun)),
            Err(why) if sent.elapsed() <= limit + MARGIN => return Err(why),
            Err(_) => sent = Instant::now(),
        }
    }
}
