//! Connections to the server: made within a time limit, prepared for what follows, lent one at a
//! time.
//!
//! Not the driver's pool: that one tries again until its time is up when nobody listens, and then
//! does not say why; and it waits for the answer of a statement whose caller has gone. Here a
//! connection that was not handed back after a statement ended well is closed, whatever went wrong
//! and callers that stopped waiting, so an answer can never reach the wrong question. What the
//! environment says to libpq about the server (`PGHOST`, `PGPASSWORD`, …) is not listened to.

use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::time::{Instant, timeout};

use super::{
    config::{Host, PostgresConfig, TlsMode},
    error,
};
use crate::StoreError;

/// A connection that has been idle for less is taken to be alive.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// A connection that has been idle for longer is closed; firewalls forget such.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// How long an idle connection has to show that it is alive.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// How much longer than the server this side waits for a statement to end.
const GRACE: Duration = Duration::from_secs(1);

/// What holds for every statement of a connection. A commit is on disk when it is acknowledged,
/// even where the server is set to be quicker than that; how the server waits for its standbys is
/// left as it is set.
const SESSION: &str = "SELECT set_config('search_path', $1, false), set_config('statement_timeout', $2, false), \
     set_config('default_transaction_isolation', 'read committed', false), \
     set_config('synchronous_commit', CASE current_setting('synchronous_commit') \
         WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)";

/// The connections of one store.
pub(super) struct Connections {
    pub(super) config: PostgresConfig,
    options: PgConnectOptions,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: PgConnection,
    since: Instant,
}

/// The use of one connection. Dropped before [`Lease::hand_back`], it closes the connection.
pub(super) struct Lease<'a> {
    of: &'a Connections,
    connection: PgConnection,
}

impl Connections {
    /// Reads the certificates that the configuration names; connects to nothing yet.
    pub(super) fn new(config: PostgresConfig) -> Result<Self, StoreError> {
        let options = options(&config)?;
        Ok(Self { idle: Mutex::default(), options, config })
    }

    /// A connection that works, as far as can be known. The store's permits bound how many there
    /// are.
    pub(super) async fn lease(&self) -> Result<Lease<'_>, StoreError> {
        let place = &self.config.place;
        if let Some(connection) = self.take_idle().await {
            return Ok(Lease { of: self, connection });
        }
        let connection = match timeout(self.config.connect_timeout, self.connect()).await {
            Ok(outcome) => outcome.map_err(|problem| error::translate(place, &problem))?,
            Err(_) => return Err(error::connecting_took_too_long(place, self.config.connect_timeout)),
        };
        Ok(Lease { of: self, connection })
    }

    /// The connection that was used last, if it is still good. If it is not, the server went away
    /// and came back, or the way to it did: then the others are not either.
    async fn take_idle(&self) -> Option<PgConnection> {
        let Idle { mut connection, since } = self.idle().pop()?;
        let age = since.elapsed();
        let is_alive = age < TRUSTED_FOR
            || age < KEPT_FOR && matches!(timeout(PING_TIMEOUT, connection.ping()).await, Ok(Ok(())));
        if !is_alive {
            self.idle().clear();
        }
        is_alive.then_some(connection)
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        sqlx::query(SESSION)
            .bind(format!("\"{}\"", self.config.schema))
            .bind(self.config.statement_timeout.as_millis().to_string())
            .persistent(false)
            .execute(&mut connection)
            .await?;
        Ok(connection)
    }

    /// A panic elsewhere cannot leave the list half changed: every change is one call.
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease<'_> {
    /// Waits for what is done on the connection, but not forever.
    pub(super) async fn wait<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Failed> {
        let patience = self.of.config.statement_timeout + GRACE;
        match timeout(patience, work(&mut self.connection)).await {
            Ok(outcome) => outcome.map_err(Failed::Engine),
            Err(_) => Err(Failed::NoAnswer),
        }
    }

    /// To be called when everything asked of the connection was answered.
    pub(super) fn hand_back(self) {
        let mut idle = self.of.idle();
        idle.retain(|idle| idle.since.elapsed() < KEPT_FOR);
        idle.push(Idle { connection: self.connection, since: Instant::now() });
    }
}

/// Why a statement brought nothing.
pub(super) enum Failed {
    /// The server or the driver says so.
    Engine(sqlx::Error),
    /// Nobody says anything.
    NoAnswer,
}

fn options(config: &PostgresConfig) -> Result<PgConnectOptions, StoreError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|problem| error::no_certificate(&config.place, path, &problem.to_string()))
    };
    let mut options = PgConnectOptions::new_without_pgpass()
        .port(config.port)
        .password(&config.password)
        .database(&config.database)
        .application_name("countersign")
        .extra_float_digits(None) // a setting that poolers in between do not take
        .statement_cache_capacity(16)
        .disable_statement_logging();
    options = match &config.host {
        Host::Network(host) => options.host(host),
        Host::Socket(folder) => options.host("localhost").socket(folder),
    };
    if let Some(user) = &config.user {
        options = options.username(user);
    }
    options = options.ssl_mode(match config.tls {
        TlsMode::Off => PgSslMode::Disable,
        TlsMode::Unverified => PgSslMode::Require,
        TlsMode::Verified => PgSslMode::VerifyFull,
    });
    let roots = match &config.root_certificate {
        Some(path) => {
            let pem = read(path)?;
            if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
                return Err(error::no_certificate(&config.place, path, "it holds no certificate in PEM"));
            }
            pem
        }
        None => Vec::new(),
    };
    options = options.ssl_root_cert_from_pem(roots);
    if let Some((certificate, key)) = &config.client_certificate {
        options = options.ssl_client_cert_from_pem(read(certificate)?).ssl_client_key_from_pem(read(key)?);
    }
    Ok(options)
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
