//! `Server`: a program started for tests, ended with them.
//!
//! A shell stands between: it holds the program as its child and ends it when its own standard
//! input closes, which the kernel does for it when the test process ends in whatever way. So a
//! server in a `static`, which is never dropped, and one of a test that was killed do not stay
//! behind either.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

/// How often it is looked whether a server listens: for two minutes. The slowest takes about ten
/// seconds on a busy machine.
const LOOKS: u32 = 2400;
const PAUSE: Duration = Duration::from_millis(50);

/// Starts its arguments and ends them with its standard input.
const SUPERVISE: &str = r#""$@" </dev/null & pid=$!
{ cat >/dev/null; kill -KILL "$pid" 2>/dev/null; } <&3 &
wait "$pid""#;

/// A running program that listens on 127.0.0.1.
#[derive(Debug)]
pub struct Server {
    port: u16,
    supervisor: Child,
}

/// A port of 127.0.0.1 that is free and is given to nobody else: from below those that the kernel
/// takes for connections, and from a part that tests/ports.py leaves to tests in Rust.
pub fn free_port() -> u16 {
    const FIRST: u16 = 28_000;
    const COUNT: u16 = 4_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // From somewhere in it, so that two runs at once on a machine are seldom at the same place.
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap();
    (0..COUNT)
        .map(|_| FIRST + (start + TAKEN.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .unwrap()
}

/// What scripts/test installed: `.tools`, or the folder that `TESTBED_TOOLS` names.
pub(crate) fn tools() -> PathBuf {
    let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools");
    std::env::var_os("TESTBED_TOOLS").map_or_else(here, PathBuf::from)
}

/// A program of one of the Python environments there.
pub(crate) fn python(environment: &str, program: &str) -> PathBuf {
    let program = tools().join(environment).join("bin").join(program);
    assert!(program.exists(), "{} is not there; scripts/test installs it", program.display());
    program
}

impl Server {
    /// Starts `command`, which is to listen on `port` of 127.0.0.1, and waits until something
    /// accepts connections there. What it prints goes to `log`.
    pub fn start(command: &Command, port: u16, log: &Path) -> Self {
        let output = File::create(log).unwrap();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("exec 3<&0; {SUPERVISE}"), "supervise"]);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            shell.current_dir(folder);
        }
        shell.stdin(Stdio::piped()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut supervisor = shell.spawn().expect("a shell starts");
        let mut looks = 0;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = supervisor.try_wait().unwrap();
            assert!(
                ended.is_none() && looks < LOOKS,
                "{:?} does not listen on port {port} ({ended:?}):\n{}",
                command.get_program(),
                std::fs::read_to_string(log).unwrap_or_default(),
            );
            looks += 1;
            std::thread::sleep(PAUSE);
        }
        Self { port, supervisor }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}
