//! A fetch without a network, for virtual time and for addresses that must not be asked by a test.

use async_trait::async_trait;
use countersign_verifier::{Fetch, FetchError, Fetched, KeyUrl, Stated};
use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

type Answer = Result<Fetched, FetchError>;

/// Answers as told, address by address; status 404 for all others.
#[derive(Debug, Default)]
pub(crate) struct FakeFetch {
    answers: Mutex<HashMap<String, Answer>>,
    asked: Mutex<Vec<String>>,
    waits: Mutex<Duration>,
    panics: AtomicUsize,
}

impl FakeFetch {
    pub(crate) fn on(&self, url: &str, body: &str, fresh_for: Option<u64>) {
        let fresh_for = fresh_for.map(Duration::from_secs);
        let stated = Stated::default();
        let answer = Ok(Fetched { body: body.to_owned().into(), fresh_for, stated });
        self.answers.lock().unwrap().insert(url.into(), answer);
    }

    pub(crate) fn fail(&self, url: &str) {
        self.refuse(url, 500);
    }

    pub(crate) fn refuse(&self, url: &str, status: u16) {
        self.answers.lock().unwrap().insert(url.into(), Err(FetchError::Status(status)));
    }

    /// Makes each answer take so long.
    pub(crate) fn wait(&self, time: Duration) {
        *self.waits.lock().unwrap() = time;
    }

    /// Panics in the next so many fetches.
    pub(crate) fn panic_next(&self, times: usize) {
        self.panics.store(times, Ordering::SeqCst);
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

#[async_trait]
impl Fetch for FakeFetch {
    async fn fetch(&self, url: &KeyUrl) -> Answer {
        self.asked.lock().unwrap().push(url.as_str().to_owned());
        let wait = *self.waits.lock().unwrap();
        tokio::time::sleep(wait).await;
        if self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            panic!("told to");
        }
        let answer = self.answers.lock().unwrap().get(url.as_str()).cloned();
        answer.unwrap_or(Err(FetchError::Status(404)))
    }
}
