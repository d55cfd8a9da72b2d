//! The servers that tests are run against: one of each kind per test process, shared by its tests.
//!
//! Tests keep out of each other's way by names (tables, buckets, keys) of their own. Anyone who
//! needs a server in a bad state puts a [`Relay`](crate::Relay) in front, or starts one of its own.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    ops::Deref,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    Server, free_port,
    server::{python, tools},
};

/// Where a server's output goes: read when it does not start.
fn log(name: &str, port: u16) -> PathBuf {
    let folder = tools().join("logs");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(format!("{name}-{port}.log"))
}

/// MongoDB's wire protocol as tests/servers/mongo.py plays it; see there for what that does not
/// show.
pub fn mongo() -> &'static Server {
    static MONGO: OnceLock<Server> = OnceLock::new();
    MONGO.get_or_init(|| start_mongo(&[]))
}

/// One of a test's own, with options of tests/servers/mongo.py.
pub fn start_mongo(options: &[&str]) -> Server {
    let port = free_port();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/servers/mongo.py");
    let mut command = Command::new(python("venv", "python"));
    command.arg(script).args(["--port", &port.to_string()]).args(options);
    Server::start(&command, port, &log("mongo", port))
}

/// AWS as MiniStack plays it: DynamoDB, KMS with `ECC_NIST_EDWARDS25519`, S3. It lets in anyone and
/// checks no signature.
pub fn ministack() -> &'static Server {
    static MINISTACK: OnceLock<Server> = OnceLock::new();
    MINISTACK.get_or_init(|| {
        let port = free_port();
        let folder = tools().join("logs").join(format!("ministack-{port}"));
        for name in ["state", "tmp"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        let mut command = Command::new(python("ministack", "ministack"));
        command.current_dir(&folder).env("STATE_DIR", folder.join("state")).env("TMPDIR", folder.join("tmp"));
        let port_text = port.to_string();
        // Without these it listens on every address.
        for (name, value) in [
            ("BIND_HOST", "127.0.0.1"),
            ("GATEWAY_PORT", &port_text),
            ("IOT_MTLS_ENABLED", "0"),
            ("SFTP_ENABLED", "0"),
        ] {
            command.env(name, value);
        }
        Server::start(&command, port, &log("ministack", port))
    })
}

/// Who the tests are at S3, and what must be seen nowhere.
const USER: (&str, &str) = ("AKIDSECRET", "SECRET-never-shown");

/// An S3 with the one user that it lets in.
#[derive(Debug)]
pub struct S3 {
    server: &'static Server,
    /// Where versitygw has its buckets.
    objects: Option<PathBuf>,
    /// Its one user's access key.
    pub key_id: &'static str,
    /// That key's secret.
    pub secret: &'static str,
}

impl S3 {
    /// That of [`ministack`], which lets in anyone.
    pub fn ministack() -> Self {
        Self { server: ministack(), objects: None, key_id: USER.0, secret: USER.1 }
    }

    /// The name of a bucket that is made now.
    pub fn bucket(&self) -> String {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("tests-{}", MADE.fetch_add(1, Ordering::Relaxed));
        if let Some(objects) = &self.objects {
            std::fs::create_dir(objects.join(&name)).unwrap();
            return name;
        }
        let request =
            format!("PUT /{name} HTTP/1.1\r\nhost: s3\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        name
    }
}

impl Deref for S3 {
    type Target = Server;

    fn deref(&self) -> &Server {
        self.server
    }
}

/// S3 as versitygw has it, which checks signatures and heeds every precondition; [`ministack`] on a
/// machine without Go, which says so.
pub fn s3() -> &'static S3 {
    static VERSITYGW: OnceLock<Server> = OnceLock::new();
    static S3: OnceLock<S3> = OnceLock::new();
    S3.get_or_init(|| {
        let (key_id, secret) = USER;
        let Some(mut command) = built("versitygw", "S3 as versitygw has it") else {
            return S3::ministack();
        };
        let port = free_port();
        let objects = tools().join("logs").join(format!("versitygw-{port}"));
        std::fs::create_dir_all(&objects).unwrap();
        command.arg("posix").arg(&objects);
        command.env("ROOT_ACCESS_KEY", key_id).env("ROOT_SECRET_KEY", secret);
        command.env("VGW_PORT", format!("127.0.0.1:{port}"));
        command.env("VGW_KEEP_ALIVE", "true").env("VGW_QUIET", "true");
        let server = VERSITYGW.get_or_init(|| Server::start(&command, port, &log("versitygw", port)));
        S3 { server, objects: Some(objects), key_id, secret }
    })
}

/// MongoDB as mongo-java-server has it, with its documents in memory; `None` on a machine without
/// Java, which says so. `TESTBED_MONGODB` names the port of another server to be used in its place.
pub fn mongo_java() -> Option<u16> {
    static MONGO: OnceLock<Option<Server>> = OnceLock::new();
    if let Some(port) = std::env::var_os("TESTBED_MONGODB") {
        return Some(port.to_str().unwrap().parse().unwrap());
    }
    let server = MONGO.get_or_init(|| {
        let mut command = built("mongo-java-server", "MongoDB as mongo-java-server has it")?;
        let port = free_port();
        command.arg(port.to_string());
        Some(Server::start(&command, port, &log("mongo-java-server", port)))
    });
    server.as_ref().map(Server::port)
}

/// The command of a program in Go or Java, which tests/toolchains.py builds once. `None` where the
/// machine has not what it takes, which is an error where `CI` is set.
fn built(name: &str, what: &str) -> Option<Command> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/toolchains.py");
    let done = Command::new(python("venv", "python")).arg(script).arg(name).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.code() == Some(3) {
        assert!(std::env::var_os("CI").is_none(), "NOT TESTED: {what}, because {said}");
        eprintln!("NOT TESTED: {what}, because {said}");
        return None;
    }
    assert!(done.status.success(), "{name} cannot be built: {said}");
    let words = String::from_utf8(done.stdout).unwrap();
    let mut words = words.lines();
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    Some(command)
}
