//! The document of revocations: a bounded list of entries, each with the time until which it
//! matters.
//!
//! It has room for everybody: of a client that revokes more tokens one by one than
//! `MOST_OF_CLIENT`, those of the subject with the most become one entry about all access tokens of
//! that subject, and else all of the client one about its access tokens. In a full document the
//! client with the most gives way so. A client that is public is anybody: one entry about all it
//! has would let one user end the tokens of the others, so single ones of it go instead. Pure
//! functions of a passed-in time.

use countersign_jose::Timestamp;
use countersign_verifier::{RevocationList, Revoked, RevokedName};
use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

/// The most entries. As JSON they are less than a document may be.
pub(super) const MOST: usize = 2000;
/// The most that are about single tokens of one client.
pub(super) const MOST_OF_CLIENT: usize = 500;
/// How many single tokens of one subject are left alone where a client that authenticates has too
/// many.
const MOST_OF_SUBJECT: usize = 20;
/// The most entries of lost documents that a process remembers. With a full document beside them,
/// the signed list is still one that a verifier reads (`FetchLimits`).
const MOST_LOST: usize = 1200;
/// The longest name of a subject that is kept to be shown, in bytes as JSON: a full document has to
/// fit into the store.
const LONGEST_SHOWN: usize = 48;

/// What is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// One token, by its `jti`.
    Token,
    /// The access tokens of a family of refresh tokens.
    Family,
    /// Everything about somebody that was issued up to a time.
    Subject,
    /// Everything of a client that was issued up to a time.
    Client,
}

/// One revocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What is revoked.
    pub kind: Reach,
    /// What stands for it in the list.
    name: String,
    /// The subject or client as it is called, for people; cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
    /// What stands for the client whose token it is, where a client has revoked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    /// What stands for the subject of that token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// Whether that client is public.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    public: bool,
    /// Whether it is in place of single tokens: it ends access tokens alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    crowd: bool,
    /// Up to when something must have been issued; without one, whenever it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
    /// From when on no access token that it concerns is alive.
    pub until: Timestamp,
    /// The same of refresh tokens; it is kept until then.
    pub kept: Timestamp,
}

/// The document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entries {
    /// Which document it is; another one in its place has another.
    pub(super) id: String,
    /// Counts the changes.
    pub(super) sequence: u64,
    pub(super) entries: Vec<Entry>,
}

/// What a process remembers.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The document that was read last.
    base: Entries,
    /// What was in documents that are gone, or were newer.
    lost: Vec<Entry>,
    /// The highest number that was seen.
    sequence: u64,
}

/// The newest document of which a process knew when it began to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Began {
    id: String,
    sequence: u64,
}

impl Known {
    /// To be noted before the store is asked.
    pub(super) fn begin(&self) -> Began {
        Began { id: self.base.id.clone(), sequence: self.base.sequence }
    }

    /// Whether something newer has come to be known while this was read: it is no older than what
    /// was known when that began.
    fn has_overtaken(&self, read: &Entries, began: &Began) -> bool {
        let is_same = read.id == self.base.id && read.sequence < self.base.sequence;
        let was_unwritten = *read == Entries::default() && began.id.is_empty() && !self.base.id.is_empty();
        was_unwritten || is_same && (read.id != began.id || read.sequence >= began.sequence)
    }

    /// What a document says together with what those before it said that it does not follow:
    /// nothing is taken back by replacing it. `longest` is the longest that an access token lives.
    /// Returns whether it does not follow.
    pub(super) fn with(
        &mut self,
        read: Entries,
        began: &Began,
        longest: Duration,
        now: Timestamp,
    ) -> (Entries, Followed) {
        let read = if self.has_overtaken(&read, began) { self.base.clone() } else { read };
        let follows =
            self.base == Entries::default() || read.id == self.base.id && read.sequence >= self.base.sequence;
        if !follows {
            self.lost.append(&mut self.base.entries);
        }
        if !self.lost.is_empty() {
            let known: BTreeMap<_, _> = read.entries.iter().map(|entry| (entry.about(), entry)).collect();
            let is_covered = |lost: &Entry| known.get(&lost.about()).is_some_and(|entry| entry.covers(lost));
            self.lost.retain(|entry| now < entry.kept && !is_covered(entry));
        }
        let forgotten = if follows { 0 } else { self.bound_lost(longest, now) };
        self.sequence = self.sequence.max(read.sequence);
        let mut together = read.clone();
        together.entries.extend(self.lost.iter().cloned());
        together.sequence = self.sequence;
        self.base = read;
        (together, if follows { Followed::Yes } else { Followed::No { forgotten } })
    }

    /// Whether nothing was lost.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        self.lost.is_empty()
    }

    /// Makes what was lost so small that the list with it can be read: the same entry once, single
    /// tokens as one entry about their subject or client, then without those that matter for the
    /// shortest time. How many of these there were.
    fn bound_lost(&mut self, longest: Duration, now: Timestamp) -> usize {
        self.lost.sort_by(|one, other| one.about().cmp(&other.about()));
        self.lost.dedup_by(|next, first| {
            let is_same = next.is_about(first);
            if is_same {
                first.widen(next);
            }
            is_same
        });
        let mut crowded: Vec<String> = by_crowd(&self.lost);
        while self.lost.len() > MOST_LOST
            && let Some(client) = crowded.last()
        {
            if !collapse(&mut self.lost, client, longest, now) {
                crowded.pop();
            }
        }
        self.lost.sort_by_key(|entry| Reverse(entry.kept));
        let forgotten = self.lost.len().saturating_sub(MOST_LOST);
        self.lost.truncate(MOST_LOST);
        forgotten
    }
}

/// Whether a document is what the one before it has become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Followed {
    Yes,
    /// It is older, gone or another one; so many entries of lost ones found no room.
    No {
        forgotten: usize,
    },
}

/// Whose a single token is, where a client has revoked it.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The client that has it.
    pub client: &'a str,
    /// Whether that client is public, so that anybody may be it.
    pub is_public: bool,
    /// The subject of the token, where it is known.
    pub subject: Option<&'a str>,
}

/// There is no room for another entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Entry {
    /// A token or a family, whenever it was issued, on behalf of the client that has it.
    pub fn single(kind: Reach, name: &str, of: Option<Owner<'_>>, until: Timestamp) -> Self {
        Self {
            kind,
            name: key(kind, name),
            shown: None,
            of: of.map(|owner| key(Reach::Client, owner.client)),
            by: of.and_then(|owner| owner.subject).map(|subject| key(Reach::Subject, subject)),
            public: of.is_some_and(|owner| owner.is_public),
            crowd: false,
            before: None,
            until,
            kept: until,
        }
    }

    /// The same, for as long as refresh tokens of it may live.
    #[must_use]
    pub fn kept_until(self, kept: Timestamp) -> Self {
        Self { kept: kept.max(self.until), ..self }
    }

    /// All of a subject or client that was issued up to `before`. `access` is the longest that an
    /// access token lives, `all` the longest that anything does.
    pub fn all(kind: Reach, name: &str, before: Timestamp, access: Duration, all: Duration) -> Self {
        Self {
            kind,
            name: key(kind, name),
            shown: Some(cut(name)),
            of: None,
            by: None,
            public: false,
            crowd: false,
            before: Some(before),
            until: before.plus(access),
            kept: before.plus(all.max(access)),
        }
    }

    /// All access tokens of a subject or client, in place of single ones: each of the families was
    /// ended by itself. `name` is what stands for it.
    fn of_crowd(kind: Reach, name: String, longest: Duration, now: Timestamp) -> Self {
        Self { name, shown: None, crowd: true, ..Self::all(kind, "", now, longest, longest) }
    }

    /// What it is about, and on whose behalf: what an operator has revoked is not the client's to
    /// lose.
    fn about(&self) -> (Reach, &str, Option<&str>, bool) {
        (self.kind, &self.name, self.of.as_deref(), self.crowd)
    }

    fn is_about(&self, other: &Self) -> bool {
        self.about() == other.about()
    }

    /// Whether it takes the room of the client that `client` stands for.
    fn is_of(&self, client: &str) -> bool {
        self.of.as_deref() == Some(client)
    }

    /// Of whom it revokes something on behalf of a client.
    fn subject(&self) -> Option<&str> {
        match self.kind {
            Reach::Subject if self.crowd => Some(&self.name),
            _ => self.by.as_deref(),
        }
    }

    /// Whether it revokes all that another entry about the same does, for as long.
    fn covers(&self, other: &Self) -> bool {
        let before = match (self.before, other.before) {
            (Some(own), Some(others)) => own >= others,
            // Whenever it was issued.
            (None, _) => true,
            (Some(_), None) => false,
        };
        before && self.until >= other.until && self.kept >= other.kept
    }

    /// Revokes what another entry about the same does, too.
    fn widen(&mut self, other: &Self) {
        self.before = self.before.max(other.before);
        self.until = self.until.max(other.until);
        self.kept = self.kept.max(other.kept);
    }
}

/// How many entries there are on behalf of each client.
fn crowds(entries: &[Entry]) -> BTreeMap<&String, usize> {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for client in entries.iter().filter_map(|entry| entry.of.as_ref()) {
        *counts.entry(client).or_default() += 1;
    }
    counts
}

/// The clients with more than one, the one with the most last.
fn by_crowd(entries: &[Entry]) -> Vec<String> {
    let mut counts: Vec<_> = crowds(entries).into_iter().filter(|(_, count)| *count > 1).collect();
    counts.sort_by_key(|(_, count)| *count);
    counts.into_iter().map(|(client, _)| client.clone()).collect()
}

/// Puts one entry in place of many of a client: about the subject with the most, and of a client
/// that authenticates about the client if no subject has many. Whether there are fewer now.
fn collapse(entries: &mut Vec<Entry>, client: &str, longest: Duration, now: Timestamp) -> bool {
    let own = || entries.iter().filter(|entry| entry.is_of(client));
    let public = own().any(|entry| entry.public);
    let mut subjects: BTreeMap<&str, usize> = BTreeMap::new();
    for subject in own().filter_map(Entry::subject) {
        *subjects.entry(subject).or_default() += 1;
    }
    let least = if public { 1 } else { MOST_OF_SUBJECT };
    let most = subjects.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > least);
    let mut all = match most {
        Some((subject, _)) => {
            let all = Entry::of_crowd(Reach::Subject, subject.to_owned(), longest, now);
            Entry { of: Some(client.to_owned()), public, ..all }
        }
        None if public || own().count() < 2 => return false,
        None => Entry::of_crowd(Reach::Client, client.to_owned(), longest, now),
    };
    let is_replaced = |entry: &Entry| {
        entry.is_of(client) && (all.kind == Reach::Client || entry.subject() == Some(all.name.as_str()))
    };
    let (replaced, others): (Vec<_>, Vec<_>) = entries.drain(..).partition(is_replaced);
    *entries = others;
    for entry in &replaced {
        all.widen(entry);
    }
    match entries.iter_mut().find(|entry| entry.is_about(&all)) {
        Some(known) => known.widen(&all),
        None => entries.push(all),
    }
    true
}

/// Drops the entry of a client that matters for the shortest time, but not `new`. Whether there was
/// one.
fn drop_shortest(entries: &mut Vec<Entry>, client: &str, new: &Entry) -> bool {
    let own = entries.iter().enumerate().filter(|(_, entry)| entry.is_of(client) && !entry.is_about(new));
    let Some((at, _)) = own.min_by_key(|(_, entry)| entry.kept) else { return false };
    entries.remove(at);
    true
}

fn key(kind: Reach, name: &str) -> String {
    RevokedName::of(kind.revoked(), name).to_string()
}

impl Reach {
    fn revoked(self) -> Revoked {
        match self {
            Self::Token => Revoked::Token,
            Self::Family => Revoked::Family,
            Self::Subject => Revoked::Subject,
            Self::Client => Revoked::Client,
        }
    }
}

/// The beginning of a name, as much as `LONGEST_SHOWN` has room for.
fn cut(name: &str) -> String {
    let mut room = LONGEST_SHOWN;
    let fits = |c: &char| {
        let bytes = match c {
            '"' | '\\' => 2,
            c if c.is_ascii_control() => 6,
            c => c.len_utf8(),
        };
        let left = room.checked_sub(bytes);
        room = left.unwrap_or_default();
        left.is_some()
    };
    name.chars().take_while(fits).collect()
}

/// The client whose entries make way for fewer: the one that revokes, if
/// it has too many or the document is full; if that makes no room, the one with the most. So nobody
/// can keep others, or the operator, from revoking.
fn crowding(entries: &[Entry], new: &Entry) -> Option<String> {
    let counts = crowds(entries);
    let own = new.of.as_ref().map(|client| (client, counts.get(client).copied().unwrap_or_default()));
    let full = entries.len() > MOST;
    let own = own.filter(|(_, count)| *count > MOST_OF_CLIENT || full && *count > 1);
    match own {
        Some((client, _)) => Some(client.clone()),
        None if full => by_crowd(entries).pop(),
        None => None,
    }
}

impl Entries {
    /// With one more entry; itself if that changes nothing. What nobody needs any more goes. And
    /// how many entries went that did matter still, so that what they revoked is not revoked any
    /// more.
    pub(super) fn change(
        &self,
        new: &Entry,
        longest: Duration,
        now: Timestamp,
    ) -> Result<(Self, usize), Full> {
        let mut dropped = 0;
        let mut entries = self.entries.clone();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.is_about(new)) {
            entry.widen(new);
            if entries == self.entries {
                return Ok((self.clone(), dropped));
            }
        } else {
            entries.push(new.clone());
        }
        entries.retain(|entry| now < entry.kept);
        while let Some(client) = crowding(&entries, new) {
            if collapse(&mut entries, &client, longest, now) {
                continue;
            }
            if !drop_shortest(&mut entries, &client, new) {
                break;
            }
            dropped += 1;
        }
        if entries.len() > MOST {
            return Err(Full);
        }
        let next = Self { id: self.id.clone(), sequence: self.sequence.saturating_add(1), entries };
        Ok((next, dropped))
    }

    /// The same for tests of what is in it.
    #[cfg(test)]
    fn with(&self, new: &Entry, longest: Duration, now: Timestamp) -> Result<Self, Full> {
        self.change(new, longest, now).map(|(next, _)| next)
    }

    /// What is revoked of access tokens.
    pub(super) fn list(&self, now: Timestamp) -> RevocationList {
        self.list_of(|entry| now < entry.until)
    }

    /// What is revoked of everything, for refresh tokens.
    pub(super) fn whole(&self, now: Timestamp) -> RevocationList {
        self.list_of(|entry| now < entry.kept && !entry.crowd)
    }

    fn list_of(&self, matters: impl Fn(&Entry) -> bool) -> RevocationList {
        let mut list = RevocationList { sequence: self.sequence, ..RevocationList::default() };
        for entry in self.entries.iter().filter(|entry| matters(entry)) {
            let Some(name) = RevokedName::parse(&entry.name) else { continue };
            match entry.before {
                Some(before) => {
                    let known = list.before.entry(name).or_insert(before);
                    *known = before.max(*known);
                }
                None => {
                    list.tokens.insert(name);
                }
            }
        }
        list
    }
}

#[cfg(test)]
mod tests;
