//! The document of revocations: its bounds, whose entries give way, and what a lost document leaves
//! behind.

use super::*;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn token(number: usize, of: &str) -> Entry {
    let owner = Owner { client: of, is_public: false, subject: None };
    Entry::single(Reach::Token, &format!("t{number}"), Some(owner), NOW.plus(HOUR))
}

fn of_user(number: usize, client: &str, is_public: bool, subject: &str) -> Entry {
    let owner = Owner { client, is_public, subject: Some(subject) };
    Entry::single(Reach::Token, &format!("t{number}"), Some(owner), NOW.plus(HOUR))
}

#[test]
fn one_user_of_a_client_ends_nobody_elses_tokens_and_nobodys_families() {
    for is_public in [true, false] {
        let mut entries = Entries::default().with(&of_user(0, "spa", is_public, "alice"), HOUR, NOW).unwrap();
        for number in 1..2 * MOST {
            entries = entries.with(&of_user(number, "spa", is_public, "mallory"), HOUR, NOW).unwrap();
            assert!(entries.entries.len() <= MOST_OF_CLIENT);
        }
        let list = entries.list(NOW);
        assert!(list.revokes_issued(Some("mallory"), Some("spa"), Some(NOW)));
        assert!(!list.revokes_issued(Some("alice"), Some("spa"), Some(NOW)), "{is_public}");
        assert!(list.tokens.contains(&RevokedName::of(Revoked::Token, "t0")));
        let whole = entries.whole(NOW);
        assert!(!whole.revokes_issued(Some("mallory"), Some("spa"), Some(NOW)), "access tokens alone");
    }
    // A client that authenticates, without a subject that has many: its access tokens, and no
    // family of it.
    let mut entries = Entries::default();
    for number in 0..=MOST_OF_CLIENT {
        let one = of_user(number, "backend", false, &format!("user{}", number / MOST_OF_SUBJECT));
        entries = entries.with(&one, HOUR, NOW).unwrap();
    }
    assert!(entries.list(NOW).revokes_issued(Some("alice"), Some("backend"), Some(NOW)));
    assert!(!entries.whole(NOW).revokes_issued(Some("alice"), Some("backend"), Some(NOW)));
    // What the operator says of all of it is about families too, and stays what it is.
    let all = Entry::all(Reach::Client, "backend", NOW, HOUR, HOUR * 24);
    entries = entries.with(&all, HOUR, NOW).unwrap();
    for number in 0..=MOST_OF_CLIENT {
        entries = entries.with(&token(MOST + number, "backend"), HOUR, NOW.plus(HOUR / 2)).unwrap();
    }
    let later = NOW.plus(HOUR / 2);
    assert!(entries.list(later).revokes_issued(None, Some("backend"), Some(later)));
    assert!(!entries.whole(later).revokes_issued(None, Some("backend"), Some(later)));
    assert!(entries.whole(later).revokes_issued(None, Some("backend"), Some(NOW)));
}

#[test]
fn many_users_of_a_public_client_take_the_room_of_one_client_and_end_nobodys_tokens() {
    let mut entries = Entries::default().with(&token(0, "quiet"), HOUR, NOW).unwrap();
    let longest = of_user(1, "spa", true, "alice");
    entries = entries
        .with(&Entry { until: NOW.plus(HOUR * 2), kept: NOW.plus(HOUR * 2), ..longest }, HOUR, NOW)
        .unwrap();
    for number in 2..2 * MOST {
        let new = of_user(number, "spa", true, &format!("user{number}"));
        entries = entries.with(&new, HOUR, NOW).unwrap();
        assert!(entries.entries.contains(&new) && entries.entries.len() <= MOST_OF_CLIENT + 1);
    }
    let list = entries.list(NOW);
    assert!(list.before.is_empty(), "nothing is revoked but single tokens");
    let has = |name: &str| list.tokens.contains(&RevokedName::of(Revoked::Token, name));
    assert!(has("t0") && has("t1") && !has("t2"), "the shortest-lived of the client give way");
    // Users who revoke again and again are an entry each, which make way as well.
    for number in 0..4 * MOST {
        let new = of_user(number, "spa", true, &format!("user{}", number / 2));
        entries = entries.with(&new, HOUR, NOW).unwrap();
    }
    assert!(entries.entries.len() <= MOST_OF_CLIENT + 1);
    assert!(!entries.list(NOW).revokes_issued(Some("bob"), Some("spa"), Some(NOW)));
    let operators = Entry::all(Reach::Subject, "login:alice", NOW, HOUR, HOUR);
    assert!(entries.with(&operators, HOUR, NOW).is_ok());
}

#[test]
fn what_the_operator_revoked_is_not_dropped_for_a_client() {
    let name = "family";
    let operators = Entry::single(Reach::Family, name, None, NOW.plus(HOUR)).kept_until(NOW.plus(HOUR * 24));
    let owner = Owner { client: "spa", is_public: false, subject: Some("mallory") };
    let own = Entry::single(Reach::Family, name, Some(owner), NOW.plus(HOUR));
    let mut entries = Entries::default().with(&own, HOUR, NOW).unwrap().with(&operators, HOUR, NOW).unwrap();
    for number in 0..=MOST_OF_CLIENT {
        entries = entries.with(&of_user(number, "spa", false, "mallory"), HOUR, NOW).unwrap();
    }
    assert!(entries.whole(NOW).revokes_family(name));
}

#[test]
fn a_client_that_revokes_one_by_one_takes_nobodys_room() {
    let mut entries = Entries::default();
    for number in 0..10 {
        entries = entries.with(&token(number, "quiet"), HOUR, NOW).unwrap();
    }
    for number in 0..2 * MOST {
        entries = entries.with(&token(100 + number, "busy"), HOUR, NOW).unwrap();
    }
    assert!(entries.entries.len() <= MOST_OF_CLIENT + 12, "{}", entries.entries.len());
    let list = entries.list(NOW);
    assert!(list.tokens.contains(&RevokedName::of(Revoked::Token, "t5")));
    // All of the busy one up to now, and nothing of the quiet one.
    assert!(list.revokes_issued(None, Some("busy"), Some(NOW)));
    assert!(!list.revokes_issued(None, Some("busy"), Some(NOW.plus(Duration::from_secs(1)))));
    assert!(!list.revokes_issued(None, Some("quiet"), Some(NOW)));
}

#[test]
fn a_full_document_fits_into_the_store_and_makes_room_of_what_is_the_clients_own() {
    let long = "c".repeat(128);
    let clients: Vec<String> = (0..4).map(|n| format!("{long}{n}")).collect();
    let mut entries = Entries::default();
    for number in 0..MOST {
        entries = entries.with(&token(number, &clients[number % 4]), HOUR, NOW).unwrap();
    }
    assert_eq!(entries.entries.len(), MOST);
    assert!(entries.with(&token(0, &clients[0]), HOUR, NOW).unwrap() == entries, "nothing new");
    let size = serde_json::to_vec(&entries).unwrap().len();
    assert!(size > 100_000 && size + 10_000 < countersign_store::MAX_DOCUMENT_BYTES, "{size}");
    // Filling it keeps neither the operator nor another client from revoking.
    let subject = Entry::all(Reach::Subject, "login:alice", NOW, HOUR, HOUR);
    let whole = Entry::all(Reach::Client, "late", NOW, HOUR, HOUR);
    for new in [subject.clone(), whole, token(MOST, "late")] {
        let next = entries.with(&new, HOUR, NOW).unwrap();
        assert!(next.entries.contains(&new) && next.entries.len() < MOST, "{new:?}");
        let list = next.list(NOW);
        let crowded = |client: &&String| list.revokes_issued(None, Some(client), Some(NOW));
        assert_eq!(clients.iter().filter(crowded).count(), 1, "{new:?}");
    }
    let fewer = entries.with(&token(MOST, &clients[1]), HOUR, NOW).unwrap();
    assert!(fewer.entries.len() < MOST && fewer.list(NOW).revokes_issued(None, Some(&clients[1]), Some(NOW)));
    // So it does where each entry knows its subject.
    let mut public = Entries::default();
    for number in 0..MOST {
        let one = of_user(number, &clients[number % 4], true, &format!("user{}", number / 4));
        public = public.with(&one, HOUR, NOW).unwrap();
    }
    assert_eq!(public.entries.len(), MOST);
    let size = serde_json::to_vec(&public).unwrap().len();
    assert!(size + 10_000 < countersign_store::MAX_DOCUMENT_BYTES, "{size}");
    let next = public.with(&subject, HOUR, NOW).unwrap();
    assert!(next.entries.contains(&subject) && next.entries.len() == MOST, "one of a public client made way");
    // What is about more than single tokens is never dropped.
    let mut subjects = Entries::default();
    for number in 0..MOST {
        let one = Entry::all(Reach::Subject, &format!("login:{number}"), NOW, HOUR, HOUR);
        subjects = subjects.with(&one, HOUR, NOW).unwrap();
    }
    assert_eq!(subjects.with(&subject, HOUR, NOW), Err(Full));
}

#[test]
fn a_document_full_of_the_longest_names_fits_into_the_store() {
    for filler in ["x", "\u{1}", "\"", "\u{1f511}"] {
        let mut subjects = Entries::default();
        for number in 0..MOST {
            let name = format!("{}{number}", filler.repeat(200));
            let one = Entry::all(Reach::Subject, &name, NOW, HOUR, HOUR);
            assert!(one.shown.as_ref().unwrap().chars().count() >= LONGEST_SHOWN / 6);
            subjects = subjects.with(&one, HOUR, NOW).unwrap();
        }
        let size = serde_json::to_vec(&subjects).unwrap().len();
        assert!(size + 5_000 < countersign_store::MAX_DOCUMENT_BYTES, "{filler:?}: {size}");
    }
}

#[test]
fn an_entry_goes_when_nothing_it_concerns_is_alive() {
    let all = Entry::all(Reach::Subject, "login:alice", NOW, HOUR, HOUR * 24);
    let entries =
        Entries::default().with(&all, HOUR, NOW).unwrap().with(&token(1, "app"), HOUR, NOW).unwrap();
    let later = NOW.plus(HOUR);
    assert_eq!((entries.list(NOW).tokens.len(), entries.list(NOW).before.len()), (1, 1));
    assert_eq!((entries.list(later).tokens.len(), entries.list(later).before.len()), (0, 0));
    assert_eq!(entries.whole(later).before.len(), 1, "for its refresh tokens");
    let next = entries.with(&token(2, "app"), HOUR, later).unwrap();
    assert_eq!((next.entries.len(), next.sequence), (1, 3));
    assert_eq!(entries.with(&token(3, "app"), HOUR, NOW.plus(HOUR * 24)).unwrap().entries.len(), 0);
}

#[test]
fn a_document_that_is_older_gone_or_another_one_takes_nothing_back() {
    let named = |id: &str| Entries { id: id.to_owned(), ..Entries::default() };
    let first = named("a").with(&token(1, "app"), HOUR, NOW).unwrap();
    let second = first.with(&token(2, "app"), HOUR, NOW).unwrap();
    let other =
        named("b").with(&token(3, "app"), HOUR, NOW).unwrap().with(&token(4, "app"), HOUR, NOW).unwrap();
    let later = other.with(&token(5, "app"), HOUR, NOW).unwrap();
    for (read, follows, count, sequence) in [
        (first.clone(), true, 1, 1),
        (second.clone(), true, 2, 2),
        (second.clone(), true, 2, 2),
        (first.clone(), false, 2, 2),
        (first.clone(), true, 2, 2),
        (Entries::default(), false, 2, 2),
        (other.clone(), true, 4, 2),
        (later, true, 5, 3),
        (second, false, 5, 3),
    ]
    .into_iter()
    .scan(Known::default(), |known, (read, follows, count, sequence)| {
        let began = known.begin();
        let (together, followed) = known.with(read, &began, HOUR, NOW);
        let followed = followed == Followed::Yes;
        Some(((together.entries.len(), together.sequence, followed), follows, count, sequence))
    }) {
        assert_eq!(read, (count, sequence, follows));
    }
}

/// Reads and writes of one process run at once, and a read that began before a write may end after
/// it.
#[test]
fn what_has_become_newer_while_it_was_read_was_not_taken_back() {
    let named = |id: &str| Entries { id: id.to_owned(), ..Entries::default() };
    let first = named("a").with(&token(1, "app"), HOUR, NOW).unwrap();
    let second = first.with(&token(2, "app"), HOUR, NOW).unwrap();
    let third = second.with(&token(3, "app"), HOUR, NOW).unwrap();
    let other = named("b").with(&token(4, "app"), HOUR, NOW).unwrap();
    let none = Entries::default();
    // What was known when the read began, what came to be known meanwhile, what was read, and
    // whether that is as it should be.
    for (before, meanwhile, read, follows, count) in [
        (&none, &first, &none, true, 1),
        (&none, &second, &first, true, 2),
        (&first, &second, &first, true, 2),
        (&first, &third, &second, true, 3),
        (&second, &third, &first, false, 3),
        (&first, &second, &none, false, 2),
        (&first, &second, &other, false, 3),
        (&none, &second, &other, false, 3),
        (&second, &second, &first, false, 2),
    ] {
        let mut known = Known::default();
        for document in [before, meanwhile] {
            let began = known.begin();
            known.with(document.clone(), &began, HOUR, NOW);
        }
        let began = Began { id: before.id.clone(), sequence: before.sequence };
        let (together, followed) = known.with(read.clone(), &began, HOUR, NOW);
        assert_eq!(
            (followed == Followed::Yes, together.entries.len()),
            (follows, count),
            "{began:?} {read:?}"
        );
        if follows {
            assert_eq!((&known.base, known.lost.len()), (meanwhile, 0), "the newer one is kept");
        }
    }
}

/// Documents that are replaced again and again by others that are full.
fn replaced(count: usize, entry: impl Fn(usize, usize) -> Entry) -> (Known, Entries, usize) {
    let (mut known, mut last, mut forgotten) = (Known::default(), Entries::default(), 0);
    for document in 0..count {
        let entries = (0..MOST).map(|number| entry(document, number)).collect();
        let read = Entries { id: document.to_string(), sequence: 1, entries };
        let began = known.begin();
        let (together, followed) = known.with(read, &began, HOUR, NOW);
        if let Followed::No { forgotten: more } = followed {
            forgotten += more;
        }
        last = together;
    }
    (known, last, forgotten)
}

#[test]
fn whatever_was_lost_the_signed_list_is_one_that_a_verifier_reads() {
    let subject = |document: usize, number: usize| {
        Entry::all(Reach::Subject, &format!("login:{document}-{number}"), NOW, HOUR, HOUR)
    };
    let (_, together, forgotten) = replaced(5, subject);
    assert_eq!((together.entries.len(), forgotten), (MOST + MOST_LOST, 4 * MOST - MOST_LOST));
    let issuer = format!("https://{}", "i".repeat(247));
    let claims = together.list(NOW).claims(&issuer, NOW, NOW.plus(HOUR));
    // Header and RSA signature of 8192 bits, and the longest `kid`.
    let signed = claims.len().div_ceil(3) * 4 + 1366 + 512;
    let most = countersign_verifier::FetchLimits::default().max_bytes;
    assert!(signed < most, "{signed} bytes of {most}");
}

#[test]
fn single_tokens_that_were_lost_become_one_entry_about_their_client_before_any_is_forgotten() {
    let single = |document: usize, number: usize| token(document * MOST + number, &format!("c{document}"));
    let (known, together, forgotten) = replaced(5, single);
    assert_eq!((known.lost.len(), forgotten), (4, 0));
    let list = together.list(NOW);
    for document in 0..4 {
        assert!(list.revokes_issued(None, Some(&format!("c{document}")), Some(NOW)), "{document}");
    }
    assert!(list.tokens.contains(&RevokedName::of(Revoked::Token, &format!("t{}", 5 * MOST - 1))));
    // What is about one thing is one entry, the wider of them, and none where the document says as
    // much.
    let same = |hours: [u32; 3]| {
        replaced(3, move |document, number| {
            let before = NOW.plus(HOUR * hours[document]);
            Entry::all(Reach::Subject, &format!("login:{}", number % MOST_LOST), before, HOUR, HOUR)
        })
    };
    let (known, together, forgotten) = same([2, 3, 1]);
    assert_eq!((known.lost.len(), forgotten), (MOST_LOST, 0));
    assert!(together.list(NOW).before.values().all(|before| *before == NOW.plus(HOUR * 3)));
    let (known, together, forgotten) = same([1, 2, 3]);
    assert_eq!((known.lost.len(), forgotten), (0, 0));
    assert!(together.list(NOW).before.values().all(|before| *before == NOW.plus(HOUR * 3)));
}

#[test]
fn what_finds_no_room_any_more_is_counted() {
    let mut entries = Entries::default();
    for number in 0..MOST_OF_CLIENT + 3 {
        let one = of_user(number, "spa", true, &format!("user{number}"));
        let (next, dropped) = entries.change(&one, HOUR, NOW).unwrap();
        assert_eq!(dropped, usize::from(number >= MOST_OF_CLIENT), "{number}");
        entries = next;
    }
    assert_eq!(entries.entries.len(), MOST_OF_CLIENT);
    // One entry in place of many revokes as much as they did.
    let mut entries = Entries::default();
    for number in 0..MOST_OF_CLIENT + 3 {
        let (next, dropped) = entries.change(&of_user(number, "spa", true, "one"), HOUR, NOW).unwrap();
        assert_eq!(dropped, 0, "{number}");
        entries = next;
    }
}
