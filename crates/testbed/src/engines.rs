//! The servers that tests are run against: one of each kind per test process, shared by its tests.
//!
//! Tests keep out of each other's way by names (tables, buckets, keys) of their own. Anyone who needs
//! a server in a bad state puts a [`Relay`](crate::Relay) in front, or starts one of its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
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

/// AWS's S3 and DynamoDB as tests/servers/amazon.py plays them (not its KMS, which signs the wrong
/// thing for a `DIGEST`).
pub fn moto() -> &'static Server {
    static MOTO: OnceLock<Server> = OnceLock::new();
    MOTO.get_or_init(|| {
        let port = free_port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/servers/amazon.py");
        let mut command = Command::new(python("venv", "python"));
        command.arg(script).args(["--port", &port.to_string()]);
        Server::start(&command, port, &log("moto", port))
    })
}

/// AWS's KMS as LocalStack plays it, in host mode, without a container: with `DIGEST`, disabled
/// keys and exact lengths, and without `ECC_NIST_EDWARDS25519`.
pub fn localstack() -> &'static Server {
    static LOCALSTACK: OnceLock<Server> = OnceLock::new();
    LOCALSTACK.get_or_init(|| {
        let port = free_port();
        let folder = tools().join("logs").join(format!("localstack-{port}"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(python("localstack", "python"));
        command.args(["-m", "localstack.runtime.main"]).current_dir(&folder);
        command.env("GATEWAY_LISTEN", format!("127.0.0.1:{port}"));
        command.env("FILESYSTEM_ROOT", &folder).env("LOCALSTACK_VOLUME_DIR", &folder);
        for (name, value) in [
            ("DISABLE_EVENTS", "1"),
            ("SKIP_SSL_CERT_DOWNLOAD", "1"),
            ("EAGER_SERVICE_LOADING", "0"),
            ("DNS_ADDRESS", "0"),
        ] {
            command.env(name, value);
        }
        Server::start(&command, port, &log("localstack", port))
    })
}
