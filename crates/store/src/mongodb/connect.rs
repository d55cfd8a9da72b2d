//! Connections to the servers: the driver's own pool, with what the store is built on set whatever
//! the URL says.
//!
//! Writes are acknowledged when they are in the journals of a majority; reads ask the primary. A
//! document is read linearizably where there is a replica set: a primary that was cut off and does
//! not know yet that there is another one would otherwise answer with what was there before. A
//! server that stands alone has no such level and no need of it. The driver sends a write whose
//! answer was lost again, once, under the number of the first (`retryWrites`), and gives up waiting
//! when the future is dropped: the connection is closed then, so no answer reaches the wrong
//! question. But it waits without end for the first answer on a new connection, and makes two at a
//! time at most: two that are lost in the middle (a firewall that forgot them) would leave none for
//! anybody. So a client that did not answer in time is replaced.

use std::{
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ::mongodb::{
    Client, Database,
    bson::{Document, doc},
    options::{
        Acknowledgment, ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, Tls, TlsOptions,
        WriteConcern,
    },
};
use tokio::time::timeout;

use super::{
    config::{MongoConfig, Protection, Reads},
    error,
};
use crate::StoreError;

/// A client and what it is for.
pub(super) struct Connection {
    pub(super) config: MongoConfig,
    options: ClientOptions,
    current: Mutex<Current>,
    /// What reads of one document ask for.
    pub(super) exact: ReadConcern,
}

/// The client in use, and how many there were before it.
struct Current {
    client: Client,
    number: u64,
}

/// Why an operation brought nothing.
pub(super) enum Failed {
    /// The servers or the driver say so.
    Engine(::mongodb::error::Error),
    /// Nobody says anything.
    NoAnswer,
}

impl Connection {
    /// Looks up the names of the servers, and asks what they are.
    pub(super) async fn new(config: MongoConfig) -> Result<Self, StoreError> {
        let place = config.place.clone();
        let options = async { ClientOptions::parse(&config.url).await };
        let options = match timeout(patience(&config), options).await {
            Ok(options) => options.map_err(|problem| error::translate(&place, &problem))?,
            Err(_) => return Err(error::failed(&place, &Failed::NoAnswer)),
        };
        let options = settle(&config, options)?;
        let client = Client::with_options(options.clone());
        let client = client.map_err(|problem| error::translate(&place, &problem))?;
        let current = Mutex::new(Current { client, number: 0 });
        let mut connection = Self { config, options, current, exact: ReadConcern::majority() };
        let hello = async |database: Database| database.run_command(doc! { "hello": 1 }).await;
        let hello = connection.wait(hello).await;
        let hello = hello.map_err(|failed| error::failed(&place, &failed))?;
        connection.exact = match connection.config.reads.unwrap_or_else(|| reads(&hello)) {
            Reads::Linearizable => ReadConcern::linearizable(),
            Reads::Majority => ReadConcern::majority(),
        };
        Ok(connection)
    }

    /// Waits for what is asked of the database, but not forever.
    pub(super) async fn wait<T, F>(&self, work: impl FnOnce(Database) -> F) -> Result<T, Failed>
    where
        F: Future<Output = ::mongodb::error::Result<T>>,
    {
        let (database, number) = {
            let current = self.current();
            (current.client.database(&self.config.database), current.number)
        };
        match timeout(patience(&self.config), work(database)).await {
            Ok(outcome) => outcome.map_err(Failed::Engine),
            Err(_) => {
                self.replace(number);
                Err(Failed::NoAnswer)
            }
        }
    }

    /// Many may have waited for the same client; it is replaced once.
    fn replace(&self, number: u64) {
        let mut current = self.current();
        if current.number == number
            && let Ok(client) = Client::with_options(self.options.clone())
        {
            *current = Current { client, number: number + 1 };
        }
    }

    /// A panic elsewhere cannot leave it half changed: every change is one assignment.
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long an operation may take in all.
pub(super) fn patience(config: &MongoConfig) -> Duration {
    config.selection_timeout + config.operation_timeout
}

/// What is sure to be seen without being asked for in so many words.
fn reads(hello: &Document) -> Reads {
    let routes = hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
    if routes || hello.contains_key("setName") { Reads::Linearizable } else { Reads::Majority }
}

/// The options of the URL with ours over them.
fn settle(config: &MongoConfig, mut options: ClientOptions) -> Result<ClientOptions, StoreError> {
    let writes = WriteConcern::builder().w(Acknowledgment::Majority).journal(true);
    options.write_concern = Some(writes.w_timeout(config.operation_timeout).build());
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.connect_timeout = Some(config.connect_timeout);
    options.server_selection_timeout = Some(config.selection_timeout);
    options.max_pool_size = Some(config.connections.max(1));
    options.max_connecting = Some(2);
    options.max_idle_time = Some(Duration::from_secs(60)); // firewalls forget what is idle for longer
    options.app_name = options.app_name.or_else(|| Some("countersign".to_owned()));
    options.tls = Some(match &config.protection {
        Protection::Off => Tls::Disabled,
        Protection::Tls { authority, certificate } => {
            for path in authority.iter().chain(certificate) {
                check_certificate(&config.place, path)?;
            }
            let files = TlsOptions::builder().ca_file_path(authority.clone());
            Tls::Enabled(files.cert_key_file_path(certificate.clone()).build())
        }
    });
    Ok(options)
}

/// The driver takes a file without certificates for an authority of nobody.
fn check_certificate(place: &str, path: &Path) -> Result<(), StoreError> {
    let pem = fs::read(path).map_err(|problem| error::no_certificate(place, path, &problem.to_string()))?;
    if pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Ok(());
    }
    Err(error::no_certificate(place, path, "it holds no certificate in PEM"))
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
