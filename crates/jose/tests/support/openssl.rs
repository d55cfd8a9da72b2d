//! Keys made by the openssl command at test time, each in a folder that belongs to one test.
//!
//! No private key is kept in the repository, and the files are what users have. A missing openssl
//! fails the test.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A folder to run openssl in.
pub(crate) struct OpenSsl(PathBuf);

impl OpenSsl {
    /// An empty folder named after the test.
    pub(crate) fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Runs `openssl` with these words and gives what it printed; fails with its message.
    pub(crate) fn run(&self, words: &str) -> Vec<u8> {
        self.run_with(words, b"")
    }

    /// The same with something to read on standard input.
    pub(crate) fn run_with(&self, words: &str, input: &[u8]) -> Vec<u8> {
        let mut child = Command::new("openssl")
            .args(words.split_whitespace())
            .current_dir(&self.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the openssl command is needed by these tests: install openssl");
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {words}: {complaint}");
        output.stdout
    }

    /// What openssl printed, as text.
    pub(crate) fn text(&self, words: &str) -> String {
        String::from_utf8(self.run(words)).unwrap()
    }

    /// The text of a file that openssl wrote.
    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap()
    }

    /// Makes a PKCS#8 key in `file` and gives its text. `kind` is what `openssl genpkey` takes.
    pub(crate) fn genpkey(&self, kind: &str, file: &str) -> String {
        self.run(&format!("genpkey -algorithm {kind} -out {file}"));
        self.read(file)
    }
}

/// Each kind of key this crate knows, in the words of `openssl genpkey`.
pub(crate) const KINDS: [(&str, &str); 6] = [
    ("rsa2048", "RSA -pkeyopt rsa_keygen_bits:2048"),
    ("rsa3072", "RSA -pkeyopt rsa_keygen_bits:3072"),
    ("p256", "EC -pkeyopt ec_paramgen_curve:P-256"),
    ("p384", "EC -pkeyopt ec_paramgen_curve:P-384"),
    ("p521", "EC -pkeyopt ec_paramgen_curve:P-521"),
    ("ed25519", "ED25519"),
];
