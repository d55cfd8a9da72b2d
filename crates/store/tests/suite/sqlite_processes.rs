//! Several real processes on one file: killed while writing, racing to create, locked out, out of
//! space.
//!
//! The child processes are this test binary again, running the first test below in the role that
//! the environment gives it. They report on standard error, each line of a report starting with `>
//! `.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "functions of this file that are no tests serve only tests"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use countersign_store::{Expect, Key, SqliteConfig, SqliteStore, Store, StoreError, SystemClock};
use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};
use tempfile::tempdir;

const ROLE: &str = "STORE_TEST_ROLE";
const PATH: &str = "STORE_TEST_PATH";
const CREATORS: usize = 8;

async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(SqliteConfig::new(path), Arc::new(SystemClock)).await
}

fn key() -> Key {
    Key::parse("k").unwrap()
}

/// The document with this number: recognisable from its first eight bytes, different in length and
/// content.
fn numbered(number: u64) -> Vec<u8> {
    let length = usize::try_from(number * 7919 % 60_000).unwrap();
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(8 + length, u8::try_from(number % 251).unwrap());
    bytes
}

/// The number of a stored document, which has to be whole; 0 when none exists.
async fn stored_number(store: &dyn Store) -> u64 {
    let Some(document) = store.get(&key()).await.unwrap() else { return 0 };
    let number = u64::from_be_bytes(*document.bytes.first_chunk().unwrap());
    assert!(document.bytes == numbered(number), "document {number} is torn");
    number
}

// ---- the children

/// The test that child processes run too: with a role in the environment it plays that role
/// instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_can_use_a_store_that_the_first_one_has_open() {
    let (Ok(role), Ok(path)) = (std::env::var(ROLE), std::env::var(PATH)) else {
        let dir = tempdir().unwrap();
        let path = dir.path().join("store.db");
        let store = open(&path).await.unwrap();
        let version = store.put(&key(), b"first", Expect::Absent, None).await.unwrap();
        let output = command("try", &path).output().unwrap();
        assert_eq!(reports(&String::from_utf8(output.stderr).unwrap()), ["ok"]);
        assert_eq!(store.get(&key()).await.unwrap().unwrap().version, version);
        return;
    };
    let path = Path::new(&path);
    match role.as_str() {
        "write" => write_until_killed(path).await,
        "create" => create_on_signal(path).await,
        "count" => count(path).await,
        "lock" => lock_until_told(path).await,
        "fill" => fill(path).await,
        "try" => eprintln!("> {}", try_all(path).await.map_or_else(|error| error.code(), |()| "ok")),
        other => panic!("no role {other}"),
    }
}

async fn write_until_killed(path: &Path) {
    let store = open(path).await.unwrap();
    loop {
        let document = store.get(&key()).await.unwrap();
        let number = stored_number(&store).await + 1;
        let expect = document.map_or(Expect::Absent, |document| Expect::Version(document.version));
        store.put(&key(), &numbered(number), expect, None).await.unwrap();
        eprintln!("> {number}");
    }
}

async fn create_on_signal(path: &Path) {
    eprintln!("> ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let outcome = match open(path).await {
        Ok(store) => store.put(&key(), b"mine", Expect::Absent, None).await.map(|_| ()),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => eprintln!("> won"),
        Err(StoreError::Conflict { .. }) => eprintln!("> conflict"),
        Err(error) => eprintln!("> {error}"),
    }
}

async fn count(path: &Path) {
    let store = open(path).await.unwrap();
    for _ in 0..25 {
        loop {
            let document = store.get(&key()).await.unwrap();
            let number = stored_number(&store).await;
            let expect = document.map_or(Expect::Absent, |document| Expect::Version(document.version));
            match store.put(&key(), &numbered(number + 1), expect, None).await {
                Ok(_) => break,
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

async fn lock_until_told(path: &Path) {
    let mut connection =
        SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut connection).await.unwrap();
    eprintln!("> ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// Puts until that fails, then reports how many there are and why it ended.
async fn fill(path: &Path) {
    let store = open(path).await.unwrap();
    for number in 0..1000 {
        let name = Key::parse(&format!("fill/{number}")).unwrap();
        if let Err(error) = store.put(&name, &numbered(number), Expect::Absent, None).await {
            eprintln!("> {number}\n> {}", error.code());
            return;
        }
    }
}

async fn try_all(path: &Path) -> Result<(), StoreError> {
    let store = open(path).await?;
    let name = Key::parse("try").unwrap();
    let version = store.put(&name, b"x", Expect::Absent, None).await?;
    store.delete(&name, &version).await
}

// ---- their parents

fn command(role: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    configure(&mut command, role, path);
    command
}

fn configure(command: &mut Command, role: &str, path: &Path) {
    command.args([
        "--exact",
        "sqlite_processes::a_second_process_can_use_a_store_that_the_first_one_has_open",
        "--nocapture",
    ]);
    command.env(ROLE, role).env(PATH, path);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
}

fn await_ready(child: &mut Child) -> BufReader<std::process::ChildStderr> {
    let mut reports = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    reports.read_line(&mut line).unwrap();
    assert_eq!(line, "> ready\n");
    reports
}

/// A line without its end was cut short by a kill and does not count.
fn reports(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_prefix("> ")?.strip_suffix('\n')).collect()
}

fn tell(child: &mut Child) {
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
}

#[tokio::test]
async fn a_killed_writer_leaves_the_old_or_the_new_document_and_loses_none_that_was_acknowledged() {
    const KILLS: u64 = 40;
    let dir = tempdir().unwrap();
    let (mut written, mut before_the_first_put) = (0, 0);
    let mut expected = 0; // in the file that is written in every second round
    for round in 0..KILLS {
        let grows = round % 2 == 0;
        let path = dir.path().join(if grows { "grows.db".to_owned() } else { format!("{round}.db") });
        let start = if grows { expected } else { 0 };
        let mut child = command("write", &path).spawn().unwrap();
        let (mut said, mut text) = (BufReader::new(child.stderr.take().unwrap()), String::new());
        // In every fourth round it may not have written yet.
        while round % 4 != 3 && reports(&text).len() < 3 {
            assert!(said.read_line(&mut text).unwrap() > 0, "it ended by itself: {text}");
        }
        thread::sleep(Duration::from_micros(1_000 + round * 6_364_136 % 60_000));
        child.kill().unwrap(); // SIGKILL
        said.read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        let acknowledged = reports(&text).last().map_or(start, |last| last.parse().unwrap());
        assert!(!text.contains("panicked"), "{text}");

        let store = open(&path).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        let found = stored_number(&store).await;
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "round {round}: {found} is stored, {acknowledged} was acknowledged"
        );
        let mut connection = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
        let verdict: String =
            sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
        assert_eq!(verdict, "ok", "round {round}");

        written += acknowledged - start;
        before_the_first_put += u64::from(acknowledged == start);
        if grows {
            expected = found;
        }
    }
    println!(
        "{KILLS} kills, {before_the_first_put} of them before the first put; {written} puts acknowledged"
    );
    assert!(written >= KILLS, "the children were killed before they wrote anything: this proved nothing");
}

#[test]
fn of_eight_processes_that_create_the_file_and_the_document_at_once_one_wins() {
    let dir = tempdir().unwrap();
    for round in 0..15 {
        let path = dir.path().join(format!("{round}.db"));
        let mut children: Vec<_> = (0..CREATORS).map(|_| command("create", &path).spawn().unwrap()).collect();
        let mut outputs: Vec<_> = children.iter_mut().map(await_ready).collect();
        children.iter_mut().for_each(tell);
        let mut outcomes = String::new();
        for output in &mut outputs {
            output.read_to_string(&mut outcomes).unwrap();
        }
        let mut outcomes = reports(&outcomes);
        outcomes.sort_unstable();
        assert_eq!(outcomes, [&["conflict"; CREATORS - 1][..], &["won"]].concat(), "round {round}");
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
    }
}

#[tokio::test]
async fn increments_of_four_processes_are_never_lost() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    let children: Vec<_> = (0..4).map(|_| command("count", &path).spawn().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(stored_number(&open(&path).await.unwrap()).await, 100);
}

#[tokio::test]
async fn a_file_that_another_process_keeps_locked_is_unavailable_and_comes_back() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    let config = SqliteConfig { busy_timeout: Duration::from_millis(200), ..SqliteConfig::new(&path) };
    let impatient = async || SqliteStore::open(config.clone(), Arc::new(SystemClock)).await;
    let store = impatient().await.unwrap();
    let version = store.put(&key(), b"old", Expect::Absent, None).await.unwrap();

    let mut holder = command("lock", &path).spawn().unwrap();
    let _reports = await_ready(&mut holder);
    let put = store.put(&key(), b"new", Expect::Version(version.clone()), None).await.unwrap_err();
    assert_eq!(put.code(), "store_unavailable", "{put}");
    assert!(put.to_string().contains("locked"), "{put}");
    assert_eq!(store.delete(&key(), &version).await.unwrap_err().code(), "store_unavailable");
    assert_eq!(store.get(&key()).await.unwrap().unwrap().bytes, b"old", "reading does not wait for a writer");
    assert!(impatient().await.is_ok(), "nor does opening");

    tell(&mut holder);
    holder.wait().unwrap();
    store.put(&key(), b"new", Expect::Version(version), None).await.unwrap();
}

#[tokio::test]
async fn opening_a_file_that_is_locked_while_it_is_made_is_unavailable() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    let mut holder = command("lock", &path).spawn().unwrap();
    let _reports = await_ready(&mut holder);
    let config = SqliteConfig { busy_timeout: Duration::from_millis(200), ..SqliteConfig::new(&path) };
    let error = SqliteStore::open(config, Arc::new(SystemClock)).await.unwrap_err();
    assert_eq!(error.code(), "store_unavailable", "{error}");
    tell(&mut holder);
    holder.wait().unwrap();
    open(&path).await.unwrap();
}

/// SQLite gives up after eight seconds, the store after sixteen; the lock goes after nine.
#[tokio::test]
async fn opening_tries_again_when_the_engine_gives_up_waiting() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    let mut holder = command("lock", &path).spawn().unwrap();
    let _reports = await_ready(&mut holder);
    let config = SqliteConfig { busy_timeout: Duration::from_secs(8), ..SqliteConfig::new(path) };
    let opening = tokio::spawn(SqliteStore::open(config, Arc::new(SystemClock)));
    tokio::time::sleep(Duration::from_secs(9)).await;
    tell(&mut holder);
    opening.await.unwrap().unwrap();
    holder.wait().unwrap();
}

/// The shell's file size limit stands in for the full disk: the write fails half-way in the same
/// manner.
#[tokio::test]
async fn without_space_the_store_is_unavailable_and_keeps_what_it_acknowledged() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; ulimit -f 2000; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap());
    configure(&mut shell, "fill", &path);
    let output = shell.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let [count, "store_unavailable"] = reports(&text)[..] else { panic!("{text}") };
    let count: u64 = count.parse().unwrap();
    assert!(count > 5, "{count}");
    let store = open(&path).await.unwrap();
    for number in 0..count {
        let document = store.get(&Key::parse(&format!("fill/{number}")).unwrap()).await.unwrap().unwrap();
        assert!(document.bytes == numbered(number), "{number}");
    }
    assert!(try_all(&path).await.is_ok(), "and goes on when there is space again");
}

/// Permission bits do not bind root, so when the tests run as root the child runs as `nobody`
/// (65534).
#[tokio::test]
async fn a_file_or_folder_without_permission_is_denied() {
    let dir = tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let is_root = {
        let probe = dir.path().join("probe");
        fs::create_dir(&probe).unwrap();
        fs::set_permissions(&probe, fs::Permissions::from_mode(0o555)).unwrap();
        fs::write(probe.join("file"), b"").is_ok()
    };
    // A copy that everybody can run, wherever the build folder is.
    let binary = dir.path().join("child");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let outcome = |path: &Path| {
        let mut command = Command::new(&binary);
        configure(&mut command, "try", path);
        if is_root {
            command.uid(65534).gid(65534);
        }
        let output = command.output().unwrap();
        reports(&String::from_utf8(output.stderr).unwrap()).join(" ")
    };
    let folder = |name: &str, mode: u32| {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        (folder.clone(), move || fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap())
    };

    let (open_to_all, close) = folder("open", 0o777);
    close();
    assert_eq!(outcome(&open_to_all.join("store.db")), "ok", "the child can work at all");

    let (read_only, close) = folder("read-only", 0o555);
    close();
    assert_eq!(outcome(&read_only.join("store.db")), "store_denied", "cannot make the file");

    let (sealed, close) = folder("sealed", 0o000);
    close();
    assert_eq!(outcome(&sealed.join("store.db")), "store_denied", "cannot look into the folder");
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o755)).unwrap();

    for (mode, what) in [(0o000, "cannot read the file"), (0o444, "cannot write the file")] {
        let (folder, close) = folder(&format!("file-{mode:o}"), 0o777);
        let path = folder.join("store.db");
        open(&path).await.unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        close();
        assert_eq!(outcome(&path), "store_denied", "{what}");
    }
}
