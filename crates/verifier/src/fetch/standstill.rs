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
/// How often a fetch is made at most. A process that stands still in each is too slow to fetch anything, and those who wait
/// for it are to be told so.
const MOST_FETCHES: u32 = 5;

/// The document at `url`, and how much time had passed when the request that was answered was sent:
/// none, unless the process stood still.
pub(crate) async fn ask(fetch: &dyn Fetch, url: &KeyUrl) -> Result<(Fetched, Duration), FetchError> {
    let limit = fetch.limit().min(LONGEST_FETCH);
    let begun = Instant::now();
    let mut sent = begun;
    let mut fetches = 1;
    loop {
        let answer = timeout(limit, fetch.fetch(url)).await.unwrap_or(Err(FetchError::Timeout(limit)));
        match answer {
            Ok(fetched) => return Ok((fetched, sent - begun)),
            Err(why) if sent.elapsed() <= limit + MARGIN || fetches == MOST_FETCHES => return Err(why),
            Err(_) => (sent, fetches) = (Instant::now(), fetches + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::time::advance;

    /// The process stands still in each of its fetches.
    #[derive(Debug, Default)]
    struct Frozen(AtomicU32);

    #[async_trait::async_trait]
    impl Fetch for Frozen {
        async fn fetch(&self, _: &KeyUrl) -> Result<Fetched, FetchError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            advance(LONGEST_FETCH * 2).await;
            Err(FetchError::Interrupted)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_is_not_made_again_without_end() {
        let (frozen, url) = (Frozen::default(), KeyUrl::parse("https://issuer.example/keys").unwrap());
        assert!(ask(&frozen, &url).await.is_err());
        assert_eq!(frozen.0.into_inner(), MOST_FETCHES);
    }
}
