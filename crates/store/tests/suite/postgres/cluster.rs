//! A real Postgres of the tests' own: Debian's programs, a folder that nobody else uses, 127.0.0.1
//! and a free port.
//!
//! Most tests share one server and have a database each; who stops or kills it starts another.
//! Where Postgres is not installed the tests fail and say so. It refuses to run as root; as root
//! the tests run it as Debian's user `postgres`. It is set to what the store must not depend on: a
//! collation that is not byte order, and commits that are acknowledged before they are on disk.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use countersign_store::{PostgresConfig, PostgresStore, StoreError, StoreUrl, SystemClock};
use countersign_testbed::free_port;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, postgres::PgConnectOptions};

/// The password of the superuser, which must never be seen.
pub(crate) const PASSWORD: &str = "PW-never-shown";

const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
fsync = off
synchronous_commit = off
wal_writer_delay = 10s
max_connections = 100
ssl = on
ssl_cert_file = '../server.pem'
ssl_key_file = '../server.key'
";

/// One server. Gone with its folder when this is dropped, or when the process ends.
pub(crate) struct Cluster {
    port: u16,
    folder: PathBuf,
    supervisor: Mutex<(Child, BufReader<ChildStdout>)>,
}

/// A database on a server.
pub(crate) struct Database<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) name: String,
}

/// The server that most tests share, with a new database in it.
pub(crate) async fn database() -> Database<'static> {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(Cluster::start).database().await
}

impl Cluster {
    /// Makes a server and starts it.
    pub(crate) fn start() -> Self {
        let programs = programs();
        let folder = tempfile::Builder::new().prefix("countersign-pg").tempdir().unwrap().keep();
        let port = free_port();
        fs::write(folder.join("password"), PASSWORD).unwrap();
        certificates(&folder);
        if is_root() {
            let user = fs::metadata("/var/lib/postgresql").expect("Debian's postgresql makes this folder");
            for entry in fs::read_dir(&folder).unwrap() {
                chown(entry.unwrap().path(), Some(user.uid()), Some(user.gid())).unwrap();
            }
            chown(&folder, Some(user.uid()), Some(user.gid())).unwrap();
        }
        let made = command(&programs.join("initdb"))
            .arg("-D")
            .arg(folder.join("data"))
            .arg("--pwfile")
            .arg(folder.join("password"))
            .args([
                "-U",
                "tester",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                "--no-sync",
                "-E",
                "UTF8",
            ])
            .args(["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"])
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = folder.join("data/postgresql.auto.conf");
        let sockets = format!("port = {port}\nunix_socket_directories = '{}'\n{SETTINGS}", folder.display());
        fs::write(settings, sockets).unwrap();

        let mut supervisor = command(Path::new("/bin/sh"))
            .args(["-c", include_str!("supervise.sh"), "supervise"])
            .arg(&programs)
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(supervisor.stdout.take().unwrap());
        let cluster = Self { port, folder, supervisor: Mutex::new((supervisor, answers)) };
        cluster.tell("start");
        cluster
    }

    /// `start`, `stop`, `crash` (SIGKILL to all of it), `freeze` or `thaw`; returns when that is
    /// so. A server that was started does not take connections yet.
    pub(crate) fn tell(&self, word: &str) {
        let mut supervisor = self.supervisor.lock().unwrap();
        let (child, answers) = &mut *supervisor;
        writeln!(child.stdin.as_mut().unwrap(), "{word}").unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n", "{word}");
    }

    /// A new database.
    pub(crate) async fn database(&self) -> Database<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let database = Database { cluster: self, name: "postgres".to_owned() };
        database.run(&format!("CREATE DATABASE {name}")).await;
        Database { cluster: self, name }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where its socket and its certificates are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let (child, _) = self.supervisor.get_mut().unwrap();
        drop(child.stdin.take());
        let _ = child.wait();
    }
}

impl Database<'_> {
    /// Its URL over the network, with `more` behind it.
    pub(crate) fn url(&self, more: &str) -> String {
        format!("postgres://tester:{PASSWORD}@127.0.0.1:{}/{}{more}", self.cluster.port, self.name)
    }

    pub(crate) async fn open(&self) -> Result<PostgresStore, StoreError> {
        open(&self.url("")).await
    }

    /// A connection past the store, as superuser; waits for a server that is starting.
    pub(crate) async fn connection(&self) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.cluster.port)
            .username("tester")
            .password(PASSWORD)
            .database(&self.name);
        let mut why = None;
        for _ in 0..600 {
            match options.connect().await {
                Ok(connection) => return connection,
                Err(problem) => why = Some(problem),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let log = fs::read_to_string(self.cluster.folder.join("log")).unwrap_or_default();
        panic!("the server does not take connections: {why:?}\n{log}");
    }

    /// Runs statements past the store.
    pub(crate) async fn run(&self, statements: &str) {
        let statements = AssertSqlSafe(statements.to_owned());
        sqlx::raw_sql(statements).execute(&mut self.connection().await).await.unwrap();
    }

    /// Asks past the store.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        let query = AssertSqlSafe(query.to_owned());
        sqlx::query_scalar(query).fetch_one(&mut self.connection().await).await.unwrap()
    }
}

/// Longer than anything takes on a busy machine. Tests of timeouts set their own.
pub(crate) const GENEROUS: Duration = Duration::from_secs(120);

/// The configuration of a URL, with more patience than usual.
pub(crate) fn config(url: &str) -> PostgresConfig {
    let mut config = PostgresConfig::parse(&StoreUrl::parse(url).unwrap(), Path::new("/")).unwrap();
    (config.acquire_timeout, config.statement_timeout) = (GENEROUS, GENEROUS);
    if !url.contains("connect_timeout=") {
        config.connect_timeout = GENEROUS;
    }
    config
}

pub(crate) async fn open(url: &str) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(config(url), Arc::new(SystemClock)).await
}

fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions
        .map(|version| version.path().join("bin"))
        .filter(|programs| programs.join("initdb").exists())
        .max_by_key(|programs| {
            let version =
                programs.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
            version.and_then(|version| version.parse::<u32>().ok())
        });
    found
        .expect("these tests need Postgres: run `apt-get install postgresql`, or scripts/test, which does it")
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn command(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").env("LC_ALL", "C.UTF-8");
    command
}

/// An authority (`ca.pem`) and the server's certificate for `localhost`, not for 127.0.0.1.
fn certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let done = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
        assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(&format!("{new} -subj /CN=tests -keyout ca.key -out ca.pem"));
    openssl(&format!(
        "{new} -subj /CN=server -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
         -CA ca.pem -CAkey ca.key -keyout server.key -out server.pem"
    ));
}
