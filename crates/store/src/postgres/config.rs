//! `PostgresConfig`: which server, as whom, how protected, and how long to wait; taken from a URL
//! as libpq has it.
//!
//! `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`; see docs/stores.md for the options.
//! Stricter than libpq where that would be unsafe: a connection that leaves this machine is
//! encrypted and the server's name proven unless the URL says otherwise in so many words, and modes
//! that fall back to plain text, or take a certificate of any name, are refused. An option that is
//! not known is refused too, and not repeated: it may be half a password.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use percent_encoding::percent_decode_str;

use crate::{Engine, Missing, StoreError, StoreUrl};

/// Where a database is and how it is talked to. `Debug` shows what may be shown.
#[derive(Clone)]
pub struct PostgresConfig {
    /// How errors call it.
    pub(super) place: String,
    pub(super) host: Host,
    pub(super) port: u16,
    /// The operating system's user when the URL names none.
    pub(super) user: Option<String>,
    /// Empty when the URL has none.
    pub(super) password: String,
    pub(super) database: String,
    pub(super) schema: String,
    pub(super) tls: TlsMode,
    pub(super) root_certificate: Option<PathBuf>,
    pub(super) client_certificate: Option<(PathBuf, PathBuf)>,
    /// How long making a connection may take: the way there, TLS, logging in. URL:
    /// `connect_timeout`, in seconds.
    pub connect_timeout: Duration,
    /// How long an operation waits for one of [`connections`](Self::connections) to be free.
    pub acquire_timeout: Duration,
    /// How long one statement may take. The server gives it up then; when the server does not even
    /// say so, this side does a second later.
    pub statement_timeout: Duration,
    /// How many connections this process has open at most; idle ones are closed after a minute.
    pub connections: usize,
    /// Whether the tables are made where there are none.
    pub missing: Missing,
}

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// A name or an address.
    Network(String),
    /// The folder of its socket, on this machine.
    Socket(PathBuf),
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Not at all: the socket of this machine, or a network that is trusted (`sslmode=disable`).
    Off,
    /// Against listening only: a man in the middle can be the server (`sslmode=require`).
    Unverified,
    /// The certificate is trusted and names the host (`sslmode=verify-full`). For hosts that are
    /// not this machine.
    Verified,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// With Debian's `max_connections` of 100, twenty processes still leave room for people.
const CONNECTIONS: usize = 4;
const SCHEMA: &str = "countersign";
const OPTIONS: &str = "sslmode, sslrootcert, sslcert, sslkey, host, connect_timeout, schema";

impl PostgresConfig {
    /// What `url` says, and the usual patience. Paths of certificates start at `base_dir`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] when the URL does not hold together; it repeats nothing that
    /// may be secret.
    pub fn parse(url: &StoreUrl, base_dir: &Path) -> Result<Self, StoreError> {
        let place = format!("the Postgres store {url}");
        Parser { place: &place }.parse(url, base_dir)
    }

    /// How a connection will be protected.
    pub const fn tls(&self) -> TlsMode {
        self.tls
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("place", &self.place)
            .field("schema", &self.schema)
            .field("tls", &self.tls)
            .field("connect_timeout", &self.connect_timeout)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

struct Parser<'a> {
    place: &'a str,
}

impl Parser<'_> {
    fn parse(&self, url: &StoreUrl, base_dir: &Path) -> Result<PostgresConfig, StoreError> {
        let location = url.location_of(Engine::Postgres).and_then(|location| location.strip_prefix("//"));
        let rest = location.ok_or_else(|| self.refuse("write `postgres://USER:PASSWORD@HOST/DATABASE`"))?;
        if rest.contains('#') {
            return Err(self.refuse("a `#` in it has to be written `%23`"));
        }
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, host) =
            authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (Some(self.decode(user)?), self.decode(password)?),
            None => (None, String::new()),
        };
        let (host, port) = self.host(host)?;
        let mut found = Options::default();
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            self.option(&mut found, name, self.decode(value)?)?;
        }
        let host = match (found.host, host) {
            (Some(host), _) if host.starts_with('/') => Host::Socket(host.into()),
            (Some(_), _) => {
                return Err(self.refuse("`host=` takes the folder of a socket, like /run/postgresql"));
            }
            (None, host) if host.starts_with('/') => Host::Socket(host.into()),
            (None, host) if host.is_empty() => {
                return Err(
                    self.refuse("name the host, or the folder of a socket with `?host=/run/postgresql`")
                );
            }
            (None, host) => Host::Network(host),
        };
        let database = self.decode(database)?;
        if database.is_empty() || database.contains('/') {
            return Err(self.refuse("name the database: `postgres://HOST/DATABASE`"));
        }
        let client_certificate = match (found.certificate, found.key) {
            (Some(certificate), Some(key)) => Some((base_dir.join(certificate), base_dir.join(key))),
            (None, None) => None,
            _ => return Err(self.refuse("`sslcert` and `sslkey` belong together")),
        };
        let tls = self.tls(found.mode.as_deref(), &host, found.root.is_some())?;
        Ok(PostgresConfig {
            place: self.place.to_owned(),
            host,
            port,
            user: user.filter(|user| !user.is_empty()),
            password,
            database,
            schema: found.schema.unwrap_or_else(|| SCHEMA.to_owned()),
            tls,
            root_certificate: found.root.map(|path| base_dir.join(path)),
            client_certificate,
            connect_timeout: found.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            acquire_timeout: ACQUIRE_TIMEOUT,
            statement_timeout: STATEMENT_TIMEOUT,
            connections: CONNECTIONS,
            missing: Missing::Make,
        })
    }

    fn host(&self, text: &str) -> Result<(String, u16), StoreError> {
        let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(Some((address, port))) => (address, port),
            Some(None) => return Err(self.refuse("a `]` is missing behind the IPv6 address")),
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match port {
            "" => 5432,
            _ => port
                .strip_prefix(':')
                .and_then(|port| port.parse().ok())
                .filter(|port| *port != 0)
                .ok_or_else(|| self.refuse("name one host, and as its port a number below 65536"))?,
        };
        if host.contains(',') {
            return Err(self.refuse("name one host: the one that takes writes"));
        }
        Ok((self.decode(host)?, port))
    }

    fn option(&self, found: &mut Options, name: &str, value: String) -> Result<(), StoreError> {
        let place = match name {
            "sslmode" => &mut found.mode,
            "sslrootcert" => &mut found.root,
            "sslcert" => &mut found.certificate,
            "sslkey" => &mut found.key,
            "host" => &mut found.host,
            "schema" => {
                let letter = |b: u8| b.is_ascii_lowercase() || b == b'_';
                let fits = (1..=63).contains(&value.len())
                    && value.bytes().all(|b| letter(b) || b.is_ascii_digit())
                    && value.bytes().next().is_some_and(letter)
                    && !value.starts_with("pg_");
                if !fits {
                    return Err(
                        self.refuse("`schema` is 1 to 63 of `a-z 0-9 _`, not a number first, not `pg_`")
                    );
                }
                &mut found.schema
            }
            "connect_timeout" => {
                let seconds = value.parse().ok().filter(|seconds| (1..=60).contains(seconds));
                let seconds = seconds.ok_or_else(|| self.refuse("`connect_timeout` is 1 to 60 seconds"))?;
                found.connect_timeout = Some(Duration::from_secs(seconds));
                return Ok(());
            }
            _ => {
                let reason = format!("it has an option that is not known; known are {OPTIONS}");
                return Err(self.refuse(&reason));
            }
        };
        *place = Some(value);
        Ok(())
    }

    fn tls(&self, mode: Option<&str>, host: &Host, has_root: bool) -> Result<TlsMode, StoreError> {
        let is_here = match host {
            Host::Socket(_) => true,
            Host::Network(name) => {
                name.eq_ignore_ascii_case("localhost")
                    || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
            }
        };
        let mode = match mode {
            None if is_here && !has_root => TlsMode::Off,
            None | Some("verify-full") => TlsMode::Verified,
            Some("disable") => TlsMode::Off,
            Some("require") if !has_root => TlsMode::Unverified,
            Some("verify-ca" | "require") => {
                return Err(self.refuse(
                    "a certificate for another host would be as good; write `sslmode=verify-full` with `sslrootcert`",
                ));
            }
            Some("allow" | "prefer") => {
                return Err(self.refuse(
                    "this `sslmode` falls back to plain text; write `sslmode=verify-full`, or `disable` where the \
                     network is trusted",
                ));
            }
            Some(_) => return Err(self.refuse("`sslmode` is verify-full, require or disable")),
        };
        match (mode, host) {
            (TlsMode::Off, _) if has_root => Err(self.refuse("`sslrootcert` means nothing without TLS")),
            (TlsMode::Verified | TlsMode::Unverified, Host::Socket(_)) => {
                Err(self.refuse("a socket of this machine has no TLS; leave `sslmode` out"))
            }
            _ => Ok(mode),
        }
    }

    /// Percent-decoded text. Control characters would end a field of the protocol early.
    fn decode(&self, text: &str) -> Result<String, StoreError> {
        let text = percent_decode_str(text).decode_utf8();
        match text {
            Ok(text) if !text.contains(char::is_control) => Ok(text.into_owned()),
            _ => Err(self.refuse("a part of it is no UTF-8 text, or holds control characters")),
        }
    }

    fn refuse(&self, reason: &str) -> StoreError {
        StoreError::Misconfigured { place: self.place.to_owned(), reason: reason.to_owned() }
    }
}

/// The options of a URL, as typed.
#[derive(Default)]
struct Options {
    mode: Option<String>,
    root: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    host: Option<String>,
    schema: Option<String>,
    connect_timeout: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<PostgresConfig, StoreError> {
        PostgresConfig::parse(&StoreUrl::parse(url)?, Path::new("/etc/countersign"))
    }

    #[test]
    fn takes_a_url_apart_as_libpq_does() {
        let config =
            parse("postgresql://a%40b:p%3Aw%2F%23@db.example:6432/na%20me?schema=other&connect_timeout=7");
        let config = config.unwrap();
        assert_eq!(config.host, Host::Network("db.example".to_owned()));
        assert_eq!((config.user.as_deref(), config.password.as_str()), (Some("a@b"), "p:w/#"));
        assert_eq!((config.port, config.database.as_str(), config.schema.as_str()), (6432, "na me", "other"));
        assert_eq!(config.connect_timeout, Duration::from_secs(7));

        let config = parse("postgres://[::1]/db").unwrap();
        assert_eq!((config.host, config.port), (Host::Network("::1".to_owned()), 5432));
        for url in ["postgres://me@/db?host=/run/postgresql", "postgres://me@%2Frun%2Fpostgresql/db"] {
            assert_eq!(parse(url).unwrap().host, Host::Socket("/run/postgresql".into()), "{url}");
        }
        let config = parse("postgres://h/db?sslrootcert=ca.pem&sslcert=c.pem&sslkey=/k.pem").unwrap();
        assert_eq!(config.root_certificate.as_deref(), Some(Path::new("/etc/countersign/ca.pem")));
        assert_eq!(config.client_certificate, Some(("/etc/countersign/c.pem".into(), "/k.pem".into())));
    }

    #[test]
    fn only_what_stays_on_this_machine_goes_unprotected_by_itself() {
        for (url, mode) in [
            ("postgres://localhost/db", TlsMode::Off),
            ("postgres://127.0.0.1/db", TlsMode::Off),
            ("postgres://[::1]/db", TlsMode::Off),
            ("postgres:///db?host=/run/postgresql", TlsMode::Off),
            ("postgres://db.example/db", TlsMode::Verified),
            ("postgres://10.0.0.1/db", TlsMode::Verified),
            ("postgres://localhost.example/db", TlsMode::Verified),
            ("postgres://localhost/db?sslrootcert=ca.pem", TlsMode::Verified),
            ("postgres://localhost/db?sslmode=verify-full", TlsMode::Verified),
            ("postgres://db.example/db?sslmode=verify-full&sslrootcert=ca.pem", TlsMode::Verified),
            ("postgres://db.example/db?sslmode=require", TlsMode::Unverified),
            ("postgres://db.example/db?sslmode=disable", TlsMode::Off),
        ] {
            assert_eq!(parse(url).unwrap().tls(), mode, "{url}");
        }
    }

    #[test]
    fn refuses_what_cannot_be_meant_and_repeats_none_of_it() {
        for (url, hint) in [
            ("postgres:host/SECRET", "postgres://USER:PASSWORD@HOST/DATABASE"),
            ("postgres://me:SECRET@host", "name the database"),
            ("postgres://me:SECRET@host/", "name the database"),
            ("postgres://me:SECRET@host/a/b", "name the database"),
            ("postgres://me:SECRET@/db", "name the host"),
            ("postgres://me:SECRET@host:x/db", "as its port a number"),
            ("postgres://me:SECRET@host:99999/db", "as its port a number"),
            ("postgres://me:SECRET@host:0/db", "as its port a number"),
            ("postgres://me:SECRET@one,two/db", "name one host"),
            ("postgres://me:SECRET@one:1,two:2/db", "name one host"),
            ("postgres://me:SECRET@[::1/db", "`]` is missing"),
            ("postgres://me:SECRET#SECRET@host/db", "`%23`"),
            ("postgres://me:SECRET%00@host/db", "control characters"),
            ("postgres://me%0a:SECRET@host/db", "control characters"),
            ("postgres://me:%ffSECRET@host/db", "UTF-8"),
            ("postgres://me:pw@host/db?SECRET=SECRET", "known are sslmode"),
            ("postgres://me:pw@host/db?password=SECRET", "known are sslmode"),
            ("postgres://host/db?sslmode=prefer", "falls back to plain text"),
            ("postgres://host/db?sslmode=allow", "falls back to plain text"),
            ("postgres://host/db?sslmode=verify-ca", "verify-full"),
            ("postgres://host/db?sslmode=require&sslrootcert=ca.pem", "verify-full"),
            ("postgres://host/db?sslmode=SECRET", "`sslmode` is"),
            ("postgres://host/db?sslmode=disable&sslrootcert=SECRET", "without TLS"),
            ("postgres:///db?host=/run&sslmode=require", "has no TLS"),
            ("postgres:///db?host=SECRET", "folder of a socket"),
            ("postgres://host/db?sslcert=SECRET", "belong together"),
            ("postgres://host/db?connect_timeout=0", "1 to 60"),
            ("postgres://host/db?schema=Two", "`schema`"),
            ("postgres://host/db?schema=1a", "`schema`"),
            ("postgres://host/db?schema=pg_catalog", "`schema`"),
            ("postgres://host/db?schema=", "`schema`"),
            ("postgres://host/db?schema=a%22;SECRET", "`schema`"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.code(), "store_misconfigured", "{url}");
            let text = error.to_string();
            assert!(text.contains(hint), "{url}: {text}");
            assert!(!text.contains("SECRET"), "{url}: {text}");
        }
    }

    #[test]
    fn debug_shows_no_login() {
        let shown =
            format!("{:?}", parse("postgres://SECRET:SECRET@host/db?sslcert=SECRET&sslkey=SECRET").unwrap());
        assert!(!shown.contains("SECRET") && shown.contains("postgres://***@host/db"), "{shown}");
    }
}
