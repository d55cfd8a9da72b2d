//! `Recent`: what a provider has said about a token in the last seconds, by the token's SHA-256.
//!
//! However many ask about one token at the same time, the provider is asked once, in a task of its
//! own, so that a caller who goes away spoils it for no other. An answer is kept for the rule's
//! time and never beyond the token's end; a refusal shortly; a limit for as long as the provider
//! says; a failure only for those who have waited for it. The number is bounded; where it is full,
//! refusals go first, so that guesses displace no user. Times are arguments.

use super::{
    error::{Endpoint, Failure, UpstreamError},
    http::unavailable,
    profile::Profile,
};
use aws_lc_rs::digest::{SHA256, digest};
use countersign_jose::Timestamp;
use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use zeroize::Zeroizing;

/// Answers that are kept.
const MAX_KNOWN: usize = 4096;
/// What the profiles of kept answers have together: a provider may send large ones.
const MAX_KNOWN_BYTES: usize = 16 * 1024 * 1024;
/// Tokens and codes that are asked about, or wait for their turn, at the same time.
const MAX_ASKED: usize = 128;
/// How long a refusal is kept at most.
const REFUSED: Duration = Duration::from_secs(5);
/// A clock that is set back by no more than this is callers overtaking each other.
const WOBBLE: Duration = Duration::from_secs(60);

pub(super) type Outcome = Result<Arc<Profile>, UpstreamError>;

/// What was said, and what is being asked.
#[derive(Clone)]
pub(super) struct Recent {
    held: Arc<Mutex<Held>>,
    places: Arc<Semaphore>,
    keep: Duration,
}

#[derive(Default)]
struct Held {
    known: HashMap<[u8; 32], Known>,
    asked: HashMap<[u8; 32], watch::Receiver<Option<Outcome>>>,
    swept: Timestamp,
}

struct Known {
    outcome: Outcome,
    from: Timestamp,
    until: Timestamp,
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").field("keep", &self.keep).finish_non_exhaustive()
    }
}

impl Recent {
    pub(super) fn new(keep: Duration) -> Self {
        Self { held: Arc::default(), places: Arc::new(Semaphore::new(MAX_ASKED)), keep }
    }

    /// What is known of a token, else what `ask` finds out.
    pub(super) async fn of(
        &self,
        token: &str,
        now: Timestamp,
        ask: impl Future<Output = Result<Profile, UpstreamError>> + Send + 'static,
    ) -> Outcome {
        let name = name(token);
        let mut waiting = {
            let mut held = self.lock();
            if let Some(known) = held.known.get(&name).filter(|known| known.is_fresh(now)) {
                return known.answer(now);
            }
            let in_the_air = |asked: &&watch::Receiver<_>| asked.has_changed().is_ok();
            match held.asked.get(&name).filter(in_the_air) {
                Some(asked) => asked.clone(),
                None => {
                    let permit = self.place(Endpoint::Check)?;
                    let (said, waiting) = watch::channel(None);
                    held.asked.insert(name, waiting.clone());
                    tokio::spawn(self.clone().find_out(name, now, ask, said, permit));
                    waiting
                }
            }
        };
        let said = waiting.wait_for(Option::is_some).await;
        let said = said.ok().and_then(|said| said.clone());
        said.unwrap_or_else(|| Err(unavailable(Endpoint::Check, Failure::Interrupted)))
    }

    /// What `ask` finds out about a code. It is spent thereby, so that a limit alone is kept, for
    /// as long as it says.
    pub(super) async fn of_code(
        &self,
        code: &str,
        now: Timestamp,
        ask: impl Future<Output = Result<Profile, UpstreamError>>,
    ) -> Outcome {
        let name = name(&Zeroizing::new(format!("code {code}")));
        if let Some(known) = self.lock().known.get(&name).filter(|known| known.is_fresh(now)) {
            return known.answer(now);
        }
        let _permit = self.place(Endpoint::Token)?;
        let outcome = ask.await.map(Arc::new);
        if matches!(outcome, Err(UpstreamError::Limited(_))) {
            self.lock().keep(name, &outcome, now, self.keep);
        }
        outcome
    }

    /// A place among those who ask. Where there is none, nobody waits for one: the provider is slow
    /// or away, and who waits holds memory, a connection and a request of ours.
    fn place(&self, endpoint: Endpoint) -> Result<OwnedSemaphorePermit, UpstreamError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| unavailable(endpoint, Failure::Busy))
    }

    async fn find_out(
        self,
        name: [u8; 32],
        now: Timestamp,
        ask: impl Future<Output = Result<Profile, UpstreamError>> + Send + 'static,
        said: watch::Sender<Option<Outcome>>,
        _permit: OwnedSemaphorePermit,
    ) {
        let place = Place { recent: &self, name, left: false };
        let outcome = ask.await.map(Arc::new);
        place.leave(&outcome, now);
        let _ = said.send(Some(outcome));
    }

    /// Nothing can be left half-changed by a panic, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those that are asked about. It is given up even if the request panics.
struct Place<'r> {
    recent: &'r Recent,
    name: [u8; 32],
    left: bool,
}

impl Place<'_> {
    /// Gives it up and keeps the answer, in one step.
    fn leave(mut self, outcome: &Outcome, now: Timestamp) {
        let mut held = self.recent.lock();
        held.asked.remove(&self.name);
        held.keep(self.name, outcome, now, self.recent.keep);
        self.left = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.left {
            self.recent.lock().asked.remove(&self.name);
        }
    }
}

impl Known {
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.from <= now.plus(WOBBLE) && now < self.until
    }

    fn bytes(&self) -> usize {
        self.outcome.as_ref().map_or(0, |profile| profile.claims.len())
    }

    /// What was said. Of a limit, what is left of it.
    fn answer(&self, now: Timestamp) -> Outcome {
        match &self.outcome {
            Err(UpstreamError::Limited(_)) => Err(UpstreamError::Limited(self.until.since(now))),
            said => said.clone(),
        }
    }
}

impl Held {
    fn keep(&mut self, name: [u8; 32], outcome: &Outcome, now: Timestamp, keep: Duration) {
        let until = match outcome {
            Ok(profile) => profile.ends.map_or(now.plus(keep), |ends| ends.min(now.plus(keep))),
            Err(UpstreamError::Limited(wait)) => now.plus(*wait),
            Err(why) if why.is_temporary() => return,
            Err(_) => now.plus(keep.min(REFUSED)),
        };
        if self.swept.plus(keep) <= now || self.known.len() >= MAX_KNOWN {
            self.known.retain(|_, known| known.is_fresh(now));
            self.swept = now;
        }
        if now >= until {
            return;
        }
        self.known.remove(&name);
        let new = Known { outcome: outcome.clone(), from: now, until };
        let mut bytes = self.known.values().map(Known::bytes).sum::<usize>() + new.bytes();
        while self.known.len() >= MAX_KNOWN || bytes > MAX_KNOWN_BYTES {
            let first = self.known.iter().min_by_key(|(_, known)| (known.outcome.is_ok(), known.until));
            let Some(first) = first.map(|(name, _)| *name) else { break };
            bytes -= self.known.remove(&first).map_or(0, |known| known.bytes());
        }
        self.known.insert(name, new);
    }
}

/// What a token is known by: nobody can get the token from it.
fn name(token: &str) -> [u8; 32] {
    let mut name = [0; 32];
    for (to, from) in name.iter_mut().zip(digest(&SHA256, token.as_bytes()).as_ref()) {
        *to = *from;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_700_000_000);
    const KEEP: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn profile(ends: Option<Timestamp>) -> Profile {
        Profile { subject: "1".into(), claims: "{}".into(), scopes: None, ends }
    }

    /// How often the provider was asked about a token at these seconds.
    async fn asked(
        recent: &Recent,
        token: &str,
        seconds: &[u64],
        says: &Result<Profile, UpstreamError>,
    ) -> usize {
        let asked = Arc::new(AtomicUsize::new(0));
        for second in seconds {
            let (asked, says) = (asked.clone(), says.clone());
            let _ = recent
                .of(token, at(*second), async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    says
                })
                .await;
        }
        asked.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_its_time_and_not_beyond_the_tokens_end() {
        let recent = Recent::new(KEEP);
        assert_eq!(asked(&recent, "a", &[0, 9], &Ok(profile(None))).await, 1);
        assert_eq!(asked(&recent, "a", &[10], &Ok(profile(None))).await, 1);
        assert_eq!(asked(&recent, "b", &[0, 3, 4], &Ok(profile(Some(at(4))))).await, 2);
        // A clock that is set back by an hour makes nothing younger.
        assert_eq!(asked(&recent, "c", &[7200, 0], &Ok(profile(None))).await, 2);
        let off = Recent::new(Duration::ZERO);
        assert_eq!(asked(&off, "a", &[0, 0], &Ok(profile(None))).await, 2);
    }

    #[tokio::test]
    async fn a_refusal_is_kept_shortly_a_limit_as_long_as_it_says_and_a_failure_not_at_all() {
        let recent = Recent::new(KEEP);
        assert_eq!(asked(&recent, "a", &[0, 4, 5], &Err(UpstreamError::Refused)).await, 2);
        let limited = Err(UpstreamError::Limited(Duration::from_secs(60)));
        assert_eq!(asked(&recent, "b", &[0, 30, 59, 60], &limited).await, 2);
        let left = recent.of("b", at(80), async { Ok(profile(None)) }).await;
        assert_eq!(left, Err(UpstreamError::Limited(Duration::from_secs(40))));
        let down = Err(unavailable(Endpoint::Profile, Failure::Status(500)));
        assert_eq!(asked(&recent, "c", &[0, 0, 1], &down).await, 3);
    }

    #[tokio::test]
    async fn many_who_ask_about_one_token_make_one_request_and_none_is_spoilt_by_the_first_who_leaves() {
        let (recent, release) = (Recent::new(KEEP), Arc::new(Notify::new()));
        let asked = Arc::new(AtomicUsize::new(0));
        let ask = || {
            let (recent, release, asked) = (recent.clone(), release.clone(), asked.clone());
            async move {
                let request = async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    release.notified().await;
                    Ok(profile(None))
                };
                recent.of("a", NOW, request).await
            }
        };
        let first = tokio::spawn(ask());
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..50).map(|_| tokio::spawn(ask())).collect();
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        // One permit: a second request would wait forever.
        release.notify_one();
        for other in others {
            assert!(other.await.unwrap().is_ok());
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(recent.lock().asked.len(), 0);
    }

    #[tokio::test]
    async fn tokens_and_codes_have_so_many_places_together_and_who_finds_none_is_told_at_once() {
        let recent = Recent::new(KEEP);
        let busy = |endpoint| Err(unavailable(endpoint, Failure::Busy));
        let mut asking: Vec<_> = (0..MAX_ASKED - 1)
            .map(|of| {
                let recent = recent.clone();
                tokio::spawn(async move { recent.of(&of.to_string(), NOW, std::future::pending()).await })
            })
            .collect();
        let one = recent.clone();
        asking.push(tokio::spawn(async move { one.of_code("code", NOW, std::future::pending()).await }));
        while recent.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(recent.of("one more", NOW, std::future::pending()).await, busy(Endpoint::Check));
        assert_eq!(recent.of_code("one more", NOW, std::future::pending()).await, busy(Endpoint::Token));
        // Who shows a code and goes away gives up the place.
        let of_code = asking.pop().unwrap();
        of_code.abort();
        assert!(of_code.await.unwrap_err().is_cancelled());
        assert!(recent.of("one more", NOW, async { Ok(profile(None)) }).await.is_ok());
        asking.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn of_codes_a_limit_alone_is_kept() {
        let recent = Recent::new(KEEP);
        let limited = Err(UpstreamError::Limited(Duration::from_secs(60)));
        assert_eq!(recent.of_code("a", NOW, async { limited.clone() }).await, limited.clone().map(Arc::new));
        let left = recent.of_code("a", at(20), async { Ok(profile(None)) }).await;
        assert_eq!(left, Err(UpstreamError::Limited(Duration::from_secs(40))));
        assert!(recent.of_code("b", at(20), async { Ok(profile(None)) }).await.is_ok());
        assert!(recent.of_code("a", at(60), async { Ok(profile(None)) }).await.is_ok());
        let again = recent.of_code("a", at(60), async { Err(UpstreamError::Refused) }).await;
        assert_eq!(again, Err(UpstreamError::Refused));
    }

    #[tokio::test]
    async fn large_profiles_displace_the_oldest_ones() {
        let recent = Recent::new(KEEP);
        let large = |second: u64| {
            let claims = "x".repeat(MAX_KNOWN_BYTES / 4);
            (at(second), Ok(Profile { claims, ..profile(None) }))
        };
        for second in 0..6 {
            let (now, says) = large(second);
            assert!(recent.of(&second.to_string(), now, async { says }).await.is_ok());
        }
        assert_eq!(recent.lock().known.len(), 4);
        assert_eq!(asked(&recent, "5", &[5], &Ok(profile(None))).await, 0);
        assert_eq!(asked(&recent, "1", &[5], &Ok(profile(None))).await, 1);
    }

    #[tokio::test]
    async fn a_request_that_panics_is_a_failure_and_the_next_one_asks_again() {
        let recent = Recent::new(KEEP);
        let lost = recent.of("a", NOW, async { panic!("on purpose") }).await;
        assert_eq!(lost, Err(unavailable(Endpoint::Check, Failure::Interrupted)));
        assert!(recent.of("a", NOW, async { Ok(profile(None)) }).await.is_ok());
    }

    #[tokio::test]
    async fn guesses_displace_no_user_and_the_number_is_bounded() {
        let recent = Recent::new(KEEP);
        assert_eq!(asked(&recent, "user", &[0], &Ok(profile(None))).await, 1);
        for guess in 0..MAX_KNOWN + 10 {
            asked(&recent, &format!("guess {guess}"), &[0], &Err(UpstreamError::Refused)).await;
        }
        assert_eq!(recent.lock().known.len(), MAX_KNOWN);
        assert_eq!(asked(&recent, "user", &[1], &Ok(profile(None))).await, 0);
        // What has expired goes, whether there is room or not.
        asked(&recent, "later", &[60], &Ok(profile(None))).await;
        assert_eq!(recent.lock().known.len(), 1);
    }
}
