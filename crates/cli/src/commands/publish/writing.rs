//! Writes what differs, and nothing over what a run with newer keys has written meanwhile.
//!
//! Runs of different keyrings can be at work in a bucket at once: one that has loaded its keys, and
//! one after `keys revoke`. So the JWKS goes first and takes the place of exactly the one that was
//! compared; of two at once the slower one compares again. Before every other change it is looked
//! at again, *after* what is there was read, and the change is made on the condition that this is
//! still there. A run whose JWKS was replaced can therefore change nothing that the newer one has
//! written, and ends. One thing is left: a PEM file that it was just making, which the newer one
//! may not have seen; it takes that away again. In a folder a lock does all this before (`target`).
//! Pinned by tests/e2e/test_publish_bucket.py (docs/decisions/0082).

use super::{
    Changes, NewerKeys, Written, both, older,
    target::{ASAP, Found, Target},
};
use crate::failure::{Failure, Outcome, away};
use countersign_issuer::{Document, JWKS_PATH, asap_path};
use std::time::Duration;

/// How often a document is begun anew that others change at the same moment.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);

/// Whether there are caches, which have to be told of what changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caches {
    Absent,
    Present,
}

/// One run, and what became of it so far.
#[derive(Debug)]
pub(super) struct Run<'a> {
    target: &'a Target,
    /// What is to be there, discovery last.
    documents: &'a [(String, Document)],
    newer: NewerKeys,
    caches: Caches,
    pub(super) changes: Changes,
    /// Whether there is a mark that the caches have to be told.
    pub(super) is_marked: bool,
    /// Whether there was one before this run, which does not know of what.
    pub(super) owes_all: bool,
    /// The JWKS of another run that took the place of this one's.
    overtaken_by: Option<Vec<u8>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        target: &'a Target,
        documents: &'a [(String, Document)],
        newer: NewerKeys,
        caches: Caches,
    ) -> Self {
        let changes = Changes::default();
        let (is_marked, owes_all, overtaken_by) = (false, false, None);
        Self { target, documents, newer, caches, changes, is_marked, owes_all, overtaken_by }
    }

    fn jwks(&self) -> Option<&'a Document> {
        self.documents.iter().find(|(path, _)| path == JWKS_PATH).map(|(_, jwks)| jwks)
    }

    /// Brings all documents there. What was changed is in `changes`, however it ends.
    pub(super) async fn write(&mut self) -> Outcome {
        let outcome = self.write_all().await;
        match self.overtaken_by.take() {
            Some(jwks) => both(outcome, self.take_back(&jwks).await),
            None => outcome,
        }
    }

    async fn write_all(&mut self) -> Outcome {
        if let Some(jwks) = self.jwks() {
            self.bring(JWKS_PATH, jwks).await?;
        }
        for (path, document) in self.documents.iter().filter(|(path, _)| path != JWKS_PATH) {
            self.bring(path, document).await?;
        }
        self.remove_gone().await?;
        // What was written last may have come too late.
        if self.changes.is_empty() { Ok(()) } else { self.check_own().await }
    }

    /// Puts one document there, unless it is there.
    async fn bring(&mut self, path: &str, document: &Document) -> Outcome {
        let mut before = None;
        for attempt in 1..=ATTEMPTS {
            let found = self.target.look(path).await?;
            let is_right = found.as_ref().is_some_and(|found| found.is(document));
            // Where an answer was lost, it is there by an attempt of this run.
            if is_right && attempt > 1 {
                self.changes.written.push(Written { path: path.to_owned(), before });
                return Ok(());
            }
            if is_right {
                return Ok(());
            }
            match path {
                JWKS_PATH => self.check_older(found.as_ref(), document, attempt)?,
                _ => self.check_own().await?,
            }
            self.mark().await?;
            if self.target.write(path, document, found.as_ref()).await? {
                let before = found.and_then(|found| found.bytes);
                self.changes.written.push(Written { path: path.to_owned(), before });
                return Ok(());
            }
            before = found.and_then(|found| found.bytes);
            tokio::time::sleep(PAUSE * attempt).await;
        }
        let why = format!(
            "others keep changing {path} at {}; run one `countersign publish` at a time there, and run this again",
            self.target
        );
        Err(away("publish_busy", why))
    }

    /// Refuses to replace newer keys.
    fn check_older(&self, found: Option<&Found>, jwks: &Document, attempt: u32) -> Outcome {
        let Some(bytes) = found.and_then(|found| found.bytes.as_deref()) else { return Ok(()) };
        if self.newer == NewerKeys::Replace {
            return Ok(());
        }
        match older::objection(bytes, jwks) {
            None => Ok(()),
            Some(why) if attempt == 1 => Err(older::refusal(self.target, &why)),
            Some(_) => Err(self.overtaken(bytes, jwks)),
        }
    }

    /// Whether the JWKS there is still the one of this run.
    async fn check_own(&mut self) -> Outcome {
        let Some(jwks) = self.jwks() else { return Ok(()) };
        match self.target.look(JWKS_PATH).await? {
            Some(found) if found.is(jwks) => Ok(()),
            found => {
                let bytes = found.and_then(|found| found.bytes).unwrap_or_default();
                let why = self.overtaken(&bytes, jwks);
                self.overtaken_by = Some(bytes);
                Err(why)
            }
        }
    }

    fn overtaken(&self, found: &[u8], jwks: &Document) -> Failure {
        let what = match older::sequences(found, jwks) {
            Some((here, there)) if there != here => {
                format!("the sequence there is {there} now, and that of this run is {here}")
            }
            _ => "it is of another configuration now".to_owned(),
        };
        let why = format!(
            "the JWKS at {} was replaced by another process while this one was publishing: {what}. This one has stopped, so that nothing of \
             the other is overwritten; run it again",
            self.target
        );
        away("published_meanwhile", why)
    }

    /// PEM files that this run has made, of keys that are not in the JWKS which took the place of
    /// its own.
    async fn take_back(&self, jwks: &[u8]) -> Outcome {
        let Some(kids) = older::kids(jwks) else { return Ok(()) };
        let known: Vec<_> = kids.iter().map(|kid| asap_path(kid)).collect();
        let made = self.changes.written.iter().filter(|written| written.before.is_none());
        for Written { path, .. } in made.filter(|written| written.path.starts_with(ASAP)) {
            if !known.contains(path) {
                self.target.remove(path).await?;
            }
        }
        Ok(())
    }

    /// PEM files of keys that are gone. They are listed before the JWKS is looked at: those of a
    /// newer run come after its JWKS.
    async fn remove_gone(&mut self) -> Outcome {
        let there = self.target.of_keys().await?;
        self.owes_all |= self.caches == Caches::Present && there.is_marked && !self.is_marked;
        self.is_marked |= there.is_marked;
        let known = |path: &String| self.documents.iter().any(|(known, _)| known == path);
        let gone: Vec<_> = there.paths.into_iter().filter(|path| !known(path)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.check_own().await?;
        self.mark().await?;
        for path in gone {
            self.target.remove(&path).await?;
            self.changes.removed.push(path);
        }
        Ok(())
    }

    /// Before the first change, where there are caches.
    async fn mark(&mut self) -> Outcome {
        if self.caches == Caches::Present && !self.is_marked {
            self.owes_all = self.target.mark().await?;
            self.is_marked = true;
        }
        Ok(())
    }
}
