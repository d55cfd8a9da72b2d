//! `MongoConfig`: which servers, as whom, how protected, and how long to wait; taken from a URL as
//! MongoDB's drivers have it.
//!
//! `mongodb://USER:PASSWORD@HOST:PORT,…/DATABASE?…` and `mongodb+srv://…`; see docs/stores.md for
//! the options. Stricter than the drivers: connections that leave this machine are encrypted unless
//! the URL says `tls=false`, a certificate is always proven, and a URL that asks for writes or
//! reads the store cannot be built on is refused, not overridden. An option that is not known is
//! refused too, and not repeated: it may be half a password. Nothing is looked up or connected to
//! here; the driver gets the URL without what is ours.

use std::{
    collections::BTreeSet,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ::mongodb::options::ConnectionString;

use crate::{Engine, Missing, StoreError, StoreUrl};

/// Where documents are and how the servers are talked to. `Debug` shows what may be shown.
#[derive(Clone)]
pub struct MongoConfig {
    /// How errors call it.
    pub(super) place: String,
    /// What the driver gets. With the password.
    pub(super) url: String,
    pub(super) database: String,
    pub(super) collection: String,
    pub(super) protection: Protection,
    /// `None`: linearizable where there is more than one server to ask.
    pub(super) reads: Option<Reads>,
    /// How long making one connection may take. URL: `connectTimeoutMS`.
    pub connect_timeout: Duration,
    /// How long a server that takes writes is looked for. URL: `serverSelectionTimeoutMS`.
    pub selection_timeout: Duration,
    /// How long the server may work on one command. Looking for a server and this, and it is given
    /// up on this side.
    pub operation_timeout: Duration,
    /// How many connections to one server this process has at most, beside those that watch it.
    pub connections: u32,
    /// Whether the collection is made where none exists.
    pub missing: Missing,
}

/// How connections are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Protection {
    /// Not at all: this machine, or a network that is trusted (`tls=false`).
    Off,
    /// TLS with a certificate that is trusted and names the host.
    Tls { authority: Option<PathBuf>, certificate: Option<PathBuf> },
}

/// What a read of one document is sure of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// Every write that was acknowledged before is seen, whatever server thinks that it is the
    /// primary.
    Linearizable,
    /// The same, as long as no server is wrong about that.
    Majority,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SELECTION_TIMEOUT: Duration = Duration::from_secs(5);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTIONS: u32 = 4;
const COLLECTION: &str = "countersign_documents";
const FORM: &str = "write `mongodb://USER:PASSWORD@HOST/DATABASE`, special characters percent-encoded";
const OPTIONS: &str = "tls, tlsCAFile, tlsCertificateKeyFile, authSource, authMechanism, authMechanismProperties, \
     replicaSet, directConnection, loadBalanced, srvServiceName, srvMaxHosts, retryWrites, retryReads, \
     readConcernLevel, connectTimeoutMS, serverSelectionTimeoutMS, appName, collection";
const MECHANISMS: [&str; 4] = ["MONGODB-AWS", "MONGODB-X509", "SCRAM-SHA-1", "SCRAM-SHA-256"];

impl MongoConfig {
    /// What `url` says, and the usual patience. Paths of certificates start at `base_dir`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] when the URL does not hold together; it repeats nothing that
    /// may be secret.
    pub fn parse(url: &StoreUrl, base_dir: &Path) -> Result<Self, StoreError> {
        let place = format!("the MongoDB store {url}");
        Parser { place: &place }.parse(url, base_dir)
    }

    /// Whether connections are encrypted.
    pub const fn is_encrypted(&self) -> bool {
        matches!(self.protection, Protection::Tls { .. })
    }
}

impl fmt::Debug for MongoConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoConfig")
            .field("place", &self.place)
            .field("collection", &self.collection)
            .field("encrypted", &self.is_encrypted())
            .field("connect_timeout", &self.connect_timeout)
            .field("selection_timeout", &self.selection_timeout)
            .field("operation_timeout", &self.operation_timeout)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

struct Parser<'a> {
    place: &'a str,
}

/// The options that are not simply handed on.
#[derive(Default)]
struct Options {
    seen: BTreeSet<String>,
    /// What the driver gets, as typed.
    handed_on: Vec<String>,
    tls: Option<bool>,
    authority: Option<PathBuf>,
    certificate: Option<PathBuf>,
    reads: Option<Reads>,
    collection: Option<String>,
    connect_timeout: Option<Duration>,
    selection_timeout: Option<Duration>,
}

impl Parser<'_> {
    fn parse(&self, url: &StoreUrl, base_dir: &Path) -> Result<MongoConfig, StoreError> {
        let location = url.location_of(Engine::MongoDb).and_then(|location| location.strip_prefix("//"));
        let rest = location.ok_or_else(|| self.refuse(FORM))?;
        // The driver splits escapes without looking for the borders of characters.
        if !rest.is_ascii() || rest.contains(|c: char| c.is_ascii_control() || c == ' ') {
            return Err(self.refuse("a character of it has to be percent-encoded"));
        }
        if rest.contains('#') {
            return Err(self.refuse("a `#` in it has to be written `%23`"));
        }
        let (rest, typed) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
        if hosts.is_empty() {
            return Err(self.refuse("name the host"));
        }
        if database.is_empty() || database.contains('/') {
            return Err(self.refuse("name the database: `mongodb://HOST/DATABASE`"));
        }
        let mut found = Options::default();
        for option in typed.split('&').filter(|option| !option.is_empty()) {
            self.option(&mut found, option)?;
        }
        let protection = self.protection(&found, url.scheme(), hosts, base_dir)?;
        let handed_on = found.handed_on.join("&");
        let url = format!("{}://{authority}/{database}?{handed_on}", url.scheme());
        // Its texts may repeat what was typed.
        let known = ConnectionString::parse(&url).map_err(|_| {
            self.refuse(&format!(
                "the driver cannot take it apart, or two options contradict each other; {FORM}"
            ))
        })?;
        let database = known.default_database.ok_or_else(|| self.refuse(FORM))?;
        Ok(MongoConfig {
            place: self.place.to_owned(),
            url,
            database,
            collection: found.collection.unwrap_or_else(|| COLLECTION.to_owned()),
            protection,
            reads: found.reads,
            connect_timeout: found.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            selection_timeout: found.selection_timeout.unwrap_or(SELECTION_TIMEOUT),
            operation_timeout: OPERATION_TIMEOUT,
            connections: CONNECTIONS,
            missing: Missing::Make,
        })
    }

    /// Names of options are written in any case.
    fn option(&self, found: &mut Options, option: &str) -> Result<(), StoreError> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let name = name.to_ascii_lowercase();
        let decoded = self.decode(value)?;
        match name.as_str() {
            "tls" | "ssl" => found.tls = Some(self.truth(&decoded, "tls")?),
            "tlscafile" => found.authority = Some(decoded.into()),
            "tlscertificatekeyfile" => found.certificate = Some(decoded.into()),
            "tlsinsecure" | "tlsallowinvalidcertificates" | "tlsallowinvalidhostnames" => {
                return Err(self.refuse(
                    "a man in the middle could be the server; leave `tlsInsecure` and `tlsAllowInvalid…` out, and \
                     give the authority's certificate as `tlsCAFile`",
                ));
            }
            "w" if decoded == "majority" => {}
            "journal" if decoded == "true" => {}
            "w" | "journal" | "wtimeoutms" => {
                return Err(self.refuse(
                    "what was written must be on the disks of a majority before it is built on; leave `w`, `journal` and \
                     `wTimeoutMS` out",
                ));
            }
            "readpreference" if decoded.eq_ignore_ascii_case("primary") => {}
            "readpreference" | "readpreferencetags" | "maxstalenessseconds" => {
                return Err(self.refuse("only the primary knows the last writes; leave `readPreference` out"));
            }
            "readconcernlevel" => {
                found.reads = Some(match decoded.as_str() {
                    "linearizable" => Reads::Linearizable,
                    "majority" => Reads::Majority,
                    _ => {
                        return Err(self.refuse(
                            "`readConcernLevel` is linearizable or, where the server has not that, \
                                                majority; others show what may be taken back",
                        ));
                    }
                });
            }
            "authmechanism" => {
                if !MECHANISMS.contains(&decoded.to_ascii_uppercase().as_str()) {
                    return Err(self.refuse(&format!("`authMechanism` is one of {}", MECHANISMS.join(", "))));
                }
                found.handed_on.push(option.to_owned());
            }
            "collection" => found.collection = Some(self.collection(decoded)?),
            "connecttimeoutms" => found.connect_timeout = Some(self.patience(&decoded, "connectTimeoutMS")?),
            "serverselectiontimeoutms" => {
                found.selection_timeout = Some(self.patience(&decoded, "serverSelectionTimeoutMS")?);
            }
            "authsource"
            | "authmechanismproperties"
            | "replicaset"
            | "directconnection"
            | "loadbalanced"
            | "srvservicename"
            | "srvmaxhosts"
            | "retrywrites"
            | "retryreads"
            | "appname" => {
                found.handed_on.push(option.to_owned());
            }
            _ => {
                let reason = format!("it has an option that is not known; known are {OPTIONS}");
                return Err(self.refuse(&reason));
            }
        }
        if !found.seen.insert(if name == "ssl" { "tls".to_owned() } else { name }) {
            return Err(self.refuse("an option of it stands there twice"));
        }
        Ok(())
    }

    fn protection(
        &self,
        found: &Options,
        scheme: &str,
        hosts: &str,
        base_dir: &Path,
    ) -> Result<Protection, StoreError> {
        let has_files = found.authority.is_some() || found.certificate.is_some();
        let is_here = scheme == "mongodb" && hosts.split(',').all(is_this_machine);
        match found.tls {
            Some(false) if has_files => {
                Err(self.refuse("certificates mean nothing without TLS; leave `tls=false` out"))
            }
            Some(false) => Ok(Protection::Off),
            None if is_here && !has_files => Ok(Protection::Off),
            None | Some(true) => {
                let file = |path: &Option<PathBuf>| path.as_ref().map(|path| base_dir.join(path));
                Ok(Protection::Tls {
                    authority: file(&found.authority),
                    certificate: file(&found.certificate),
                })
            }
        }
    }

    fn collection(&self, name: String) -> Result<String, StoreError> {
        let fits = (1..=100).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
            && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && !name.starts_with("system.");
        if fits {
            return Ok(name);
        }
        Err(self
            .refuse("`collection` is 1 to 100 of `A-Z a-z 0-9 _ - .`, a letter or `_` first, not `system.`"))
    }

    fn truth(&self, value: &str, name: &str) -> Result<bool, StoreError> {
        value.parse().map_err(|_| self.refuse(&format!("`{name}` is true or false")))
    }

    fn patience(&self, value: &str, name: &str) -> Result<Duration, StoreError> {
        let milliseconds = value.parse().ok().filter(|milliseconds| (100..=60_000).contains(milliseconds));
        let milliseconds =
            milliseconds.ok_or_else(|| self.refuse(&format!("`{name}` is 100 to 60000 milliseconds")))?;
        Ok(Duration::from_millis(milliseconds))
    }

    fn decode(&self, text: &str) -> Result<String, StoreError> {
        match percent_encoding::percent_decode_str(text).decode_utf8() {
            Ok(text) if !text.contains(char::is_control) => Ok(text.into_owned()),
            _ => Err(self.refuse("a part of it is no UTF-8 text, or holds control characters")),
        }
    }

    fn refuse(&self, reason: &str) -> StoreError {
        StoreError::Misconfigured { place: self.place.to_owned(), reason: reason.to_owned() }
    }
}

/// Whether a host with its port is reached without leaving this machine. A socket's path is
/// percent-encoded.
fn is_this_machine(host: &str) -> bool {
    if host.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("%2f")) {
        return true;
    }
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<MongoConfig, StoreError> {
        MongoConfig::parse(&StoreUrl::parse(url)?, Path::new("/etc/countersign"))
    }

    #[test]
    fn takes_a_url_apart_and_hands_the_driver_what_is_the_drivers() {
        let config = parse(
            "mongodb://a%40b:p%3Aw%2F%23@one.example:27018,two.example/na-me?collection=other&replicaSet=rs0&W=majority\
             &authSource=admin&connectTimeoutMS=700&serverSelectionTimeoutMS=900&readPreference=primary&retryWrites=true",
        );
        let config = config.unwrap();
        assert_eq!((config.database.as_str(), config.collection.as_str()), ("na-me", "other"));
        assert_eq!(
            config.url,
            "mongodb://a%40b:p%3Aw%2F%23@one.example:27018,two.example/na-me?replicaSet=rs0&authSource=admin&retryWrites=true"
        );
        assert_eq!(config.connect_timeout, Duration::from_millis(700));
        assert_eq!(config.selection_timeout, Duration::from_millis(900));
        assert_eq!(parse("mongodb://h/db").unwrap().collection, "countersign_documents");

        let aws =
            "mongodb+srv://cluster.example/db?authMechanism=MONGODB-AWS&authSource=%24external&appName=x";
        let config = parse(aws).unwrap();
        assert_eq!(config.url, aws);
        assert!(config.place.ends_with("mongodb+srv://cluster.example/db?***"), "{}", config.place);
        let config = parse("mongodb://h/db?tlsCAFile=ca.pem&tlsCertificateKeyFile=/k.pem").unwrap();
        let (authority, certificate) = (Some("/etc/countersign/ca.pem".into()), Some("/k.pem".into()));
        assert_eq!(config.protection, Protection::Tls { authority, certificate });
        assert_eq!(parse("mongodb://h/db?readConcernLevel=majority").unwrap().reads, Some(Reads::Majority));
    }

    #[test]
    fn only_what_stays_on_this_machine_goes_unprotected_by_itself() {
        for (url, encrypted) in [
            ("mongodb://localhost/db", false),
            ("mongodb://127.0.0.1:27018,LOCALHOST/db", false),
            ("mongodb://[::1]:27017/db", false),
            ("mongodb://%2Frun%2Fmongodb-27017.sock/db", false),
            ("mongodb://db.example/db", true),
            ("mongodb://10.0.0.1/db", true),
            ("mongodb://localhost.example/db", true),
            ("mongodb://localhost,db.example/db", true),
            ("mongodb://localhost@db.example/db", true),
            ("mongodb+srv://cluster.example/db", true),
            ("mongodb+srv://localhost.example/db?tls=false", false),
            ("mongodb://localhost/db?tls=true", true),
            ("mongodb://localhost/db?tlsCAFile=ca.pem", true),
            ("mongodb://db.example/db?TLS=false", false),
            ("mongodb://db.example/db?ssl=false", false),
        ] {
            assert_eq!(parse(url).unwrap().is_encrypted(), encrypted, "{url}");
        }
    }

    #[test]
    fn refuses_what_cannot_be_meant_and_repeats_none_of_it() {
        for (url, hint) in [
            ("mongodb:host/SECRET", "mongodb://USER:PASSWORD@HOST/DATABASE"),
            ("mongodb://me:SECRET@host", "name the database"),
            ("mongodb://me:SECRET@host/", "name the database"),
            ("mongodb://me:SECRET@host/?x=1", "name the database"),
            ("mongodb://me:SECRET@host/a/b", "name the database"),
            ("mongodb://me:SECRET@/db", "name the host"),
            ("mongodb://me:SECRET#SECRET@host/db", "`%23`"),
            ("mongodb://me:SECRET%aé@host/db", "percent-encoded"),
            ("mongodb://me:SECRET\n@host/db", "percent-encoded"),
            ("mongodb://me:SECRET%zz@host/db", "the driver cannot take it apart"),
            ("mongodb://me:SECRET%@host/db", "the driver cannot take it apart"),
            ("mongodb://me:SECRET:SECRET@host/db", "the driver cannot take it apart"),
            ("mongodb://me:SECRET@host:99999/db", "the driver cannot take it apart"),
            ("mongodb://host/SECRET$", "the driver cannot take it apart"),
            ("mongodb+srv://me:SECRET@host.example:27017/db", "the driver cannot take it apart"),
            ("mongodb+srv://one.example,two.example/db", "the driver cannot take it apart"),
            ("mongodb://host/db?retryWrites=SECRET", "the driver cannot take it apart"),
            ("mongodb://host/db?SECRET=SECRET", "known are tls"),
            ("mongodb://host/db?SECRET", "known are tls"),
            ("mongodb://host/db?proxyPassword=SECRET", "known are tls"),
            ("mongodb://host/db?replicaSet=a&REPLICASET=b", "twice"),
            ("mongodb://host/db?tls=true&ssl=true", "twice"),
            ("mongodb://host/db?tls=SECRET", "`tls` is true or false"),
            ("mongodb://host/db?tlsInsecure=true", "`tlsCAFile`"),
            ("mongodb://host/db?tlsallowinvalidcertificates=true", "`tlsCAFile`"),
            ("mongodb://host/db?tlsAllowInvalidHostnames=true", "`tlsCAFile`"),
            ("mongodb://host/db?tls=false&tlsCAFile=SECRET", "without TLS"),
            ("mongodb://host/db?w=1", "disks of a majority"),
            ("mongodb://host/db?w=0", "disks of a majority"),
            ("mongodb://host/db?journal=false", "disks of a majority"),
            ("mongodb://host/db?readPreference=secondaryPreferred", "only the primary"),
            ("mongodb://host/db?readConcernLevel=local", "may be taken back"),
            ("mongodb://host/db?authMechanism=PLAIN", "MONGODB-AWS"),
            ("mongodb://host/db?collection=system.users", "`collection`"),
            ("mongodb://host/db?collection=%24SECRET", "`collection`"),
            ("mongodb://host/db?collection=", "`collection`"),
            ("mongodb://host/db?connectTimeoutMS=0", "100 to 60000"),
            ("mongodb://host/db?serverSelectionTimeoutMS=SECRET", "100 to 60000"),
            ("mongodb://host/db?authSource=SECRET%00", "control characters"),
            ("mongodb://host/db?authSource=SECRET%ff", "UTF-8"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.code(), "store_misconfigured", "{url}");
            let text = error.to_string();
            assert!(text.contains(hint), "{url}: {text}");
            assert!(!text.contains("SECRET") || url.starts_with("mongodb://host/SECRET"), "{url}: {text}");
        }
    }

    #[test]
    fn debug_shows_no_login() {
        let url = "mongodb://SECRET:SECRET@host/db?authMechanismProperties=AWS_SESSION_TOKEN:SECRET&authMechanism=MONGODB-AWS";
        let shown = format!("{:?}", parse(url).unwrap());
        assert!(!shown.contains("SECRET") && shown.contains("mongodb://***@host/db"), "{shown}");
    }
}
