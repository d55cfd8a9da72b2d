//! Several real processes on one database, and a server that is killed while they write.
//!
//! The child processes are this test binary again, running the first test below in the role that
//! the environment gives it. They report on standard error, each line of a report starting with `>
//! `.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use countersign_store::{Document, Expect, Key, PostgresStore, Store, StoreError};
use countersign_testbed::until;

use super::{
    cluster::{self, Cluster},
    key,
};

const ROLE: &str = "STORE_TEST_ROLE";
const URL: &str = "STORE_TEST_URL";
const FIRST_STARTS: usize = 8;

/// The document with this number: recognisable from its first eight bytes, different in length and
/// content.
fn numbered(number: u64) -> Vec<u8> {
    let length = usize::try_from(number * 7919 % 60_000).unwrap();
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(8 + length, u8::try_from(number % 251).unwrap());
    bytes
}

/// The number of a stored document, which has to be whole; 0 when none exists.
fn number_of(document: Option<&countersign_store::Document>) -> u64 {
    let Some(document) = document else { return 0 };
    let number = u64::from_be_bytes(*document.bytes.first_chunk().unwrap());
    assert!(document.bytes == numbered(number), "document {number} is torn");
    number
}

// ---- the children

/// The test that child processes run too: with a role in the environment it plays that role
/// instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_can_use_a_store_that_the_first_one_has_open() {
    let (Ok(role), Ok(url)) = (std::env::var(ROLE), std::env::var(URL)) else {
        let database = cluster::database().await;
        let store = database.open().await.unwrap();
        count(&store).await;
        assert!(command("count", &database.url("")).status().unwrap().success());
        assert_eq!(number_of(store.get(&key("k")).await.unwrap().as_ref()), 50);
        return;
    };
    match role.as_str() {
        "create" => create_on_signal(&url).await,
        "count" => count(&cluster::open(&url).await.unwrap()).await,
        other => panic!("no role {other}"),
    }
}

async fn create_on_signal(url: &str) {
    eprintln!("> ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let outcome = match cluster::open(url).await {
        Ok(store) => store.put(&key("k"), b"mine", Expect::Absent, None).await.map(|_| ()),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => eprintln!("> won"),
        Err(StoreError::Conflict { .. }) => eprintln!("> conflict"),
        Err(error) => eprintln!("> {error}"),
    }
}

async fn count(store: &PostgresStore) {
    for _ in 0..25 {
        loop {
            let document = store.get(&key("k")).await.unwrap();
            let number = number_of(document.as_ref());
            let expect = document.map_or(Expect::Absent, |document| Expect::Version(document.version));
            match store.put(&key("k"), &numbered(number + 1), expect, None).await {
                Ok(_) => break,
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

// ---- their parents

fn command(role: &str, url: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "postgres::processes::a_second_process_can_use_a_store_that_the_first_one_has_open",
    ]);
    command.arg("--nocapture").env(ROLE, role).env(URL, url);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn await_ready(child: &mut Child) -> BufReader<ChildStderr> {
    let mut reports = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    reports.read_line(&mut line).unwrap();
    assert_eq!(line, "> ready\n");
    reports
}

#[tokio::test]
async fn of_eight_processes_that_make_the_tables_and_the_document_at_once_one_wins() {
    let database = cluster::database().await;
    for round in 0..5 {
        let url = database.url(&format!("?schema=round_{round}"));
        let mut children: Vec<_> =
            (0..FIRST_STARTS).map(|_| command("create", &url).spawn().unwrap()).collect();
        let mut outputs: Vec<_> = children.iter_mut().map(await_ready).collect();
        for child in &mut children {
            child.stdin.take().unwrap().write_all(b"\n").unwrap();
        }
        let mut outcomes = String::new();
        for output in &mut outputs {
            output.read_to_string(&mut outcomes).unwrap();
        }
        let mut outcomes: Vec<_> = outcomes.lines().filter_map(|line| line.strip_prefix("> ")).collect();
        outcomes.sort_unstable();
        assert_eq!(outcomes, [&["conflict"; FIRST_STARTS - 1][..], &["won"]].concat(), "round {round}");
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
    }
}

#[tokio::test]
async fn increments_of_four_processes_are_never_lost() {
    let database = cluster::database().await;
    let store = database.open().await.unwrap();
    let children: Vec<_> = (0..4).map(|_| command("count", &database.url("")).spawn().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(number_of(store.get(&key("k")).await.unwrap().as_ref()), 100);
}

/// Four writers, each with a document of its own, and a server that dies with all its processes at
/// any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_in_the_middle_of_writes_loses_nothing_that_was_acknowledged() {
    const KILLS: u64 = 6;
    const WRITERS: usize = 4;
    let cluster = Cluster::start();
    let database = cluster.database().await;
    let store = Arc::new(database.open().await.unwrap());
    let (mut written, mut in_doubt) = (0, 0);
    let acknowledged_so_far = Arc::new(AtomicU64::new(0));
    let mut expected = [0_u64; WRITERS];
    for round in 0..KILLS {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (store, count) = (Arc::clone(&store), Arc::clone(&acknowledged_so_far));
                tokio::spawn(async move { write_until_it_fails(&store, writer, &count).await })
            })
            .collect();
        // It is in the middle of writes, and then dies at any moment.
        let before = acknowledged_so_far.load(Ordering::SeqCst);
        until("something is written", async || acknowledged_so_far.load(Ordering::SeqCst) > before + 20)
            .await;
        tokio::time::sleep(Duration::from_millis(50 + round * 6_364_136 % 300)).await;
        cluster.tell("crash");
        cluster.tell("start");
        drop(database.connection().await); // it takes connections again
        for (writer, task) in writers.into_iter().enumerate() {
            let acknowledged = task.await.unwrap().unwrap_or(expected[writer]);
            let found = number_of(once_available(&store, &key(&format!("k/{writer}"))).await.as_ref());
            assert!(
                found == acknowledged || found == acknowledged + 1,
                "round {round}: {found} is stored, {acknowledged} was acknowledged"
            );
            written += acknowledged - expected[writer];
            in_doubt += u64::from(found == acknowledged + 1);
            expected[writer] = found;
        }
    }
    println!("{KILLS} kills; {written} puts acknowledged, {in_doubt} done without their answer");
    assert!(written > KILLS * 20, "{written}: the server was killed before anything was written");
}

/// What is stored. A connection that the crash cut off says so once, when it is used.
async fn once_available(store: &PostgresStore, name: &Key) -> Option<Document> {
    for _ in 0..20 {
        match store.get(name).await {
            Err(StoreError::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(100)).await,
            answer => return answer.unwrap(),
        }
    }
    store.get(name).await.unwrap()
}

/// The last number that was acknowledged, if one was.
async fn write_until_it_fails(store: &PostgresStore, writer: usize, count: &AtomicU64) -> Option<u64> {
    let name = key(&format!("k/{writer}"));
    let mut last = None;
    loop {
        let Ok(document) = store.get(&name).await else { return last };
        let number = number_of(document.as_ref()) + 1;
        let expect = document.map_or(Expect::Absent, |document| Expect::Version(document.version));
        match store.put(&name, &numbered(number), expect, None).await {
            Ok(_) => {
                last = Some(number);
                count.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => {
                assert_eq!(error.code(), "store_unavailable", "{error}");
                return last;
            }
        }
    }
}
