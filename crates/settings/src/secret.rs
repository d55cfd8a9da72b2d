//! Secrets by reference: the configuration says where a secret is, never what it is.
//!
//! So a configuration can be shown, logged and committed. A file that others can read holds no
//! secret and is refused, unless the reference itself says that it may be so (`shared-file:`), as
//! platforms that set the mode themselves need it. What is kept in AWS is fetched before
//! ([`Environment::note_fetched`]), because only some programs ask AWS. Reading gives text that is
//! wiped when it is dropped, and errors name the place alone. Anything that is not one of the
//! references of [`SecretRef`] is refused.

use crate::{Environment, files};
use std::{
    fmt,
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    str::FromStr,
};
use zeroize::Zeroizing;

/// The longest secret: a key or a URL is far shorter.
const MAX_BYTES: u64 = 64 * 1024;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// `file:PATH`, relative to the configuration file; readable by its owner alone.
    File(PathBuf),
    /// `shared-file:PATH`: the same, no matter who may read it.
    SharedFile(PathBuf),
    /// `env:NAME`.
    Env(String),
    /// `ssm:/NAME`: a parameter of AWS Systems Manager.
    Parameter(String),
    /// `secretsmanager:ARN`, or the name of a secret: a secret of AWS Secrets Manager, or with
    /// `#MEMBER` behind it a member of one that is a JSON object.
    Secret {
        /// Its ARN or name.
        id: String,
        /// The member.
        member: Option<String>,
    },
}

/// Why a secret cannot be had. Never holds it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The reference has none of these forms.
    #[error("write env:NAME, file:PATH, shared-file:PATH, ssm:/NAME or secretsmanager:ARN")]
    Malformed,
    /// `env:` names a variable that is not set, or is empty.
    #[error("the environment variable {0} {1}")]
    NoVariable(String, &'static str),
    /// The file is not there.
    #[error("there is no file {0}")]
    NoFile(PathBuf),
    /// The file is there and cannot be read, or is not a file.
    #[error("the file {0} cannot be read: {1}")]
    Unreadable(PathBuf, io::Error),
    /// The file is readable by others than its owner.
    #[error(
        "the file {path} can be read by other users (mode {mode:04o}); run: chmod 600 {path}; where the platform sets the mode, \
         write shared-file: for file:"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody who has no business there has put the file into its folder.
    #[error(
        "the file {path} belongs to user {owner}, neither to the user of this program nor to the owner of its folder; \
         chown it, or write shared-file: for file:"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// There is nothing in the file.
    #[error("the file {0} is empty")]
    Empty(PathBuf),
    /// The program that reads this does not ask AWS.
    #[error(
        "this program does not read secrets of AWS; give it a file or a variable, or use `countersign` built with --features aws-secrets"
    )]
    NotFetched,
    /// The place on AWS does not hand it out.
    #[error("{0}")]
    Refused(String),
}

impl FromStr for SecretRef {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("shared-file", path)) if !path.is_empty() => Ok(Self::SharedFile(path.into())),
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.into())),
            Some(("ssm", name)) if is_parameter(name) => Ok(Self::Parameter(name.into())),
            Some(("secretsmanager", id)) => {
                let (id, member) = match id.split_once('#') {
                    Some((_, "")) => return Err(SecretError::Malformed),
                    Some((id, member)) => (id, Some(member.to_owned())),
                    None => (id, None),
                };
                if is_secret(id) {
                    Ok(Self::Secret { id: id.into(), member })
                } else {
                    Err(SecretError::Malformed)
                }
            }
            _ => Err(SecretError::Malformed),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::SharedFile(path) => write!(f, "shared-file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::Parameter(name) => write!(f, "ssm:{name}"),
            Self::Secret { id, member: None } => write!(f, "secretsmanager:{id}"),
            Self::Secret { id, member: Some(member) } => write!(f, "secretsmanager:{id}#{member}"),
        }
    }
}

/// The name or ARN of a parameter, perhaps with a version or label behind it (Systems Manager user
/// guide, "About requirements and constraints for parameter names").
fn is_parameter(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.-/:".contains(&b);
    (name.starts_with('/') || name.starts_with("arn:"))
        && name.len() > 1
        && name.len() <= 2048
        && name.bytes().all(fits)
}

/// The name or ARN of a secret (Secrets Manager API reference, `CreateSecret`).
fn is_secret(id: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"/_+=.@-:".contains(&b);
    (1..=2048).contains(&id.len()) && id.bytes().all(fits)
}

impl SecretRef {
    /// Reads the secret. A relative file begins in `folder`; its content is given as it is, a last
    /// line break included.
    ///
    /// # Errors
    ///
    /// All of [`SecretError`] but [`SecretError::Malformed`].
    pub fn read(&self, folder: &Path, environment: &Environment) -> Result<Zeroizing<String>, SecretError> {
        match self {
            Self::Env(name) => {
                let value = environment
                    .get(name)
                    .ok_or_else(|| SecretError::NoVariable(name.clone(), environment.why_missing(name)))?;
                Ok(Zeroizing::new(value.to_owned()))
            }
            Self::File(path) => {
                let path = folder.join(path);
                read_file(&path, |metadata| check_private(&path, metadata))
            }
            Self::SharedFile(path) => read_file(&folder.join(path), |_| Ok(())),
            Self::Parameter(_) | Self::Secret { .. } => {
                let fetched = environment.fetched(&self.to_string()).ok_or(SecretError::NotFetched)?;
                fetched.map_err(SecretError::Refused)
            }
        }
    }

    /// Whether it leads to AWS, so that somebody has to fetch it before it is read.
    pub const fn is_remote(&self) -> bool {
        matches!(self, Self::Parameter(_) | Self::Secret { .. })
    }
}

fn read_file(
    path: &Path,
    check: impl FnOnce(&Metadata) -> Result<(), SecretError>,
) -> Result<Zeroizing<String>, SecretError> {
    let failed = |why: io::Error| match why.kind() {
        io::ErrorKind::NotFound => SecretError::NoFile(path.to_owned()),
        _ => SecretError::Unreadable(path.to_owned(), why),
    };
    let (file, metadata) = files::open_regular(path).map_err(failed)?;
    // Of the file that is open, and not of whatever may have its name by now.
    check(&metadata)?;
    // Large enough from the start, or copies of its beginning would be left behind as it grows.
    let capacity = usize::try_from(metadata.len().min(MAX_BYTES) + 2).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    files::read_limited(file, MAX_BYTES, &mut text).map_err(failed)?;
    if text.trim().is_empty() { Err(SecretError::Empty(path.to_owned())) } else { Ok(text) }
}

/// A file that nobody else can read, and that was not put there by somebody else.
fn check_private(path: &Path, metadata: &Metadata) -> Result<(), SecretError> {
    if files::is_readable_by_others(metadata) {
        return Err(SecretError::Exposed { path: path.to_owned(), mode: metadata.mode() & 0o7777 });
    }
    let owner = metadata.uid();
    let folder =
        || std::fs::metadata(path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    // Who owns the folder could have put anything there anyway: root looks after the files of a
    // service.
    let expected = owner == 0 || owner == files::user() || folder().is_ok_and(|folder| folder.uid() == owner);
    if expected { Ok(()) } else { Err(SecretError::Foreign { path: path.to_owned(), owner }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, chown, symlink},
    };

    /// Somebody else.
    const OTHER: u32 = 65_534;

    fn secret(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn read(folder: &Path, text: &str) -> Result<Zeroizing<String>, SecretError> {
        let environment = Environment::of(&[("KEY", "a-secret"), ("EMPTY", "")]);
        text.parse::<SecretRef>().unwrap().read(folder, &environment)
    }

    #[test]
    fn a_reference_is_one_of_the_known_ones_and_is_shown_as_it_was_written() {
        for text in [
            "file:sealing.key",
            "file:/run/secrets/key",
            "shared-file:key",
            "env:KEY",
            "ssm:/countersign/sealing-key",
            "ssm:/countersign/sealing-key:3",
            "ssm:arn:aws:ssm:eu-central-1:123456789012:parameter/key",
            "secretsmanager:countersign/sealing-key",
            "secretsmanager:arn:aws:secretsmanager:eu-central-1:123456789012:secret:key-AbCdEf",
            "secretsmanager:countersign#sealing_key",
        ] {
            let reference = text.parse::<SecretRef>().unwrap();
            assert_eq!(reference.to_string(), text);
            assert_eq!(reference.is_remote(), text.starts_with('s') && !text.starts_with("shared"), "{text}");
        }
        for text in [
            "",
            "file:",
            "env:",
            "shared-file:",
            "plain-text",
            "vault:key",
            "ssm:",
            "ssm:name",
            "ssm:/",
            "ssm:/a b",
            "secretsmanager:",
            "secretsmanager:#x",
            "secretsmanager:a#",
            "secretsmanager:a b",
        ] {
            let why = text.parse::<SecretRef>().unwrap_err();
            let says = "write env:NAME, file:PATH, shared-file:PATH, ssm:/NAME or secretsmanager:ARN";
            assert_eq!(why.to_string(), says, "{text}");
        }
    }

    #[test]
    fn what_is_kept_in_aws_is_what_was_fetched_and_never_taken_for_a_name() {
        let environment = Environment::default();
        let read = |text: &str| text.parse::<SecretRef>().unwrap().read(Path::new("."), &environment);
        assert!(matches!(read("ssm:/key"), Err(SecretError::NotFetched)));
        environment.note_fetched("ssm:/key", Ok("a-secret".to_owned().into()));
        environment.note_fetched("ssm:/gone", Err("there is no such parameter".to_owned()));
        assert_eq!(read("ssm:/key").unwrap().as_str(), "a-secret");
        assert_eq!(read("ssm:/gone").unwrap_err().to_string(), "there is no such parameter");
        assert!(matches!(read("secretsmanager:/key"), Err(SecretError::NotFetched)));
        assert!(!format!("{environment:?}").contains("a-secret"));
    }

    #[test]
    fn a_secret_that_is_not_there_is_named_by_its_place() {
        let folder = tempfile::tempdir().unwrap();
        secret(&folder.path().join("key"), "a-secret\n", 0o600);
        let read = |text: &str| read(folder.path(), text);
        assert_eq!(read("file:key").unwrap().as_str(), "a-secret\n");
        assert_eq!(read("env:KEY").unwrap().as_str(), "a-secret");
        assert!(matches!(read("file:other"), Err(SecretError::NoFile(path)) if path.ends_with("other")));
        assert!(matches!(read("env:EMPTY"), Err(SecretError::NoVariable(name, _)) if name == "EMPTY"));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_unless_the_reference_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for others in 0..0o100 {
            for owner in [0o400, 0o600, 0o700] {
                secret(&path, "a-secret", owner | others);
                let result = read(folder.path(), "file:key");
                if others == 0 {
                    assert_eq!(result.unwrap().as_str(), "a-secret", "{owner:o}");
                } else {
                    let why = result.unwrap_err();
                    assert!(matches!(why, SecretError::Exposed { mode, .. } if mode == owner | others));
                    let why = why.to_string();
                    let says = format!("chmod 600 {}", path.display());
                    assert!(
                        why.contains(&says) && why.contains("shared-file:") && !why.contains("a-secret"),
                        "{why}"
                    );
                }
                assert_eq!(read(folder.path(), "shared-file:key").unwrap().as_str(), "a-secret");
            }
        }
        // What a link leads to counts, as with Kubernetes' secrets.
        secret(&path, "a-secret", 0o644);
        symlink(&path, folder.path().join("link")).unwrap();
        assert!(matches!(read(folder.path(), "file:link"), Err(SecretError::Exposed { .. })));
        assert!(read(folder.path(), "shared-file:link").is_ok());
    }

    #[test]
    fn a_file_that_somebody_else_put_into_the_folder_is_refused() {
        if files::user() != 0 {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        secret(&path, "a-secret", 0o600);
        chown(&path, Some(OTHER), None).unwrap();
        assert!(matches!(read(folder.path(), "file:key"), Err(SecretError::Foreign { owner: OTHER, .. })));
        assert!(read(folder.path(), "shared-file:key").is_ok());
        chown(folder.path(), Some(OTHER), None).unwrap();
        assert!(read(folder.path(), "file:key").is_ok(), "root looks after the files of a service");
    }

    #[test]
    fn what_is_no_file_or_no_secret_is_named_and_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        fs::set_permissions(path("pipe"), PermissionsExt::from_mode(0o600)).unwrap();
        secret(&path("empty"), "", 0o600);
        secret(&path("blank"), " \n", 0o600);
        secret(&path("huge"), &"x".repeat(65_537), 0o600);
        secret(&path("large"), &"x".repeat(65_536), 0o600);
        for (name, says) in [
            ("pipe", "it is a pipe, not a file"),
            (".", "it is a folder, not a file"),
            ("empty", "is empty"),
            ("blank", "is empty"),
            ("huge", "larger than 64 KiB"),
            ("/dev/zero", "it is a device, not a file"),
            ("absent", "there is no file"),
        ] {
            for kind in ["file", "shared-file"] {
                let why = read(folder.path(), &format!("{kind}:{name}")).unwrap_err().to_string();
                assert!(why.contains(says), "{why}");
            }
        }
        assert_eq!(read(folder.path(), "file:large").unwrap().len(), 65_536);
    }
}
