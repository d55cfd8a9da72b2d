//! `StoreUrl`: which engine and where, from the one line in the configuration.
//!
//! The type can be logged: `Debug` and `Display` hide user names, passwords and everything after
//! `?`, and no error repeats them. A text that cannot be taken apart with certainty is hidden
//! altogether. The engines the design names but this build does not contain are known here, so the
//! message can say which of the two it is.

use std::{fmt, path::Path, str::FromStr};

use crate::StoreError;

/// Where documents are kept: `memory:`, `sqlite:PATH`, `postgres://…`, `dynamodb://TABLE`,
/// `s3://BUCKET/PREFIX`, or the URL of an engine that no build contains yet.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl {
    engine: Engine,
    /// The engine's scheme, or a variant that says something of its own (`mongodb+srv`).
    scheme: &'static str,
    /// What follows the scheme's colon, as it was typed.
    location: String,
}

/// The kinds of store the design knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The memory of the process; for tests and trials.
    Memory,
    /// One file.
    Sqlite,
    /// A PostgreSQL database.
    Postgres,
    /// An Amazon DynamoDB table.
    DynamoDb,
    /// A MongoDB database.
    MongoDb,
    /// A bucket of Amazon S3 or a compatible service.
    S3,
}

impl Engine {
    const ALL: [Self; 6] =
        [Self::Memory, Self::Sqlite, Self::Postgres, Self::DynamoDb, Self::MongoDb, Self::S3];

    /// The scheme of its URLs.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::DynamoDb => "dynamodb",
            Self::MongoDb => "mongodb",
            Self::S3 => "s3",
        }
    }

    /// Whether this build contains it.
    pub const fn is_built_in(self) -> bool {
        match self {
            Self::Memory => true,
            Self::Sqlite => cfg!(feature = "sqlite"),
            Self::Postgres => cfg!(feature = "postgres"),
            Self::DynamoDb => cfg!(feature = "dynamodb"),
            Self::MongoDb => cfg!(feature = "mongodb"),
            Self::S3 => cfg!(feature = "s3"),
        }
    }

    /// The engines this build contains, for a message.
    pub(crate) fn built_in() -> String {
        let schemes: Vec<_> = Self::ALL.into_iter().filter(|engine| engine.is_built_in()).collect();
        schemes.iter().map(|engine| format!("`{}:`", engine.scheme())).collect::<Vec<_>>().join(", ")
    }

    /// The engine and what is kept of the scheme.
    fn from_scheme(scheme: &str) -> Option<(Self, &'static str)> {
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "postgresql" => Some((Self::Postgres, Self::Postgres.scheme())),
            "mongodb+srv" => Some((Self::MongoDb, "mongodb+srv")),
            _ => {
                let engine = Self::ALL.into_iter().find(|engine| engine.scheme() == scheme)?;
                Some((engine, engine.scheme()))
            }
        }
    }
}

impl StoreUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] when the scheme is not a known one or the rest cannot belong
    /// to it.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let Some(((engine, scheme), location)) = text
            .split_once(':')
            .and_then(|(scheme, location)| Some((Engine::from_scheme(scheme)?, location.to_owned())))
        else {
            // The text is not repeated: whatever was pasted here by mistake may be a secret.
            return Err(misconfigured(format!(
                "it does not start with a known scheme; this build contains {}: write for instance \
                 `sqlite:countersign.db`",
                Engine::built_in()
            )));
        };
        let url = Self { engine, scheme, location };
        match engine {
            Engine::Memory if !url.location.is_empty() => {
                Err(misconfigured("nothing can follow `memory:`".to_owned()))
            }
            Engine::Sqlite => url.sqlite_path().map(|_| url.clone()),
            _ => Ok(url),
        }
    }

    /// Which engine.
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// The scheme, in lower case; of an engine with several, the one that was typed.
    #[cfg(feature = "mongodb")]
    pub(crate) const fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// The file of a `sqlite:` URL, as typed; may be relative.
    pub(crate) fn sqlite_path(&self) -> Result<&Path, StoreError> {
        let path = match self.location.strip_prefix("//") {
            Some(absolute) if absolute.starts_with('/') => absolute,
            Some(_) => {
                return Err(misconfigured("write `sqlite:PATH` or `sqlite:///ABSOLUTE/PATH`".to_owned()));
            }
            None => self.location.as_str(),
        };
        match path {
            "" => Err(misconfigured("the path is missing: write `sqlite:PATH`".to_owned())),
            ":memory:" => Err(misconfigured("write `memory:` for a store without a file".to_owned())),
            _ if path.contains(['?', '\0']) => {
                Err(misconfigured("a `sqlite:` URL takes a plain path, without `?` and options".to_owned()))
            }
            _ => Ok(Path::new(path)),
        }
    }

    /// What follows the scheme's colon, if the URL is `engine`'s. As typed, so with everything that
    /// is secret.
    #[cfg(any(feature = "dynamodb", feature = "mongodb", feature = "postgres", feature = "s3"))]
    pub(crate) fn location_of(&self, engine: Engine) -> Option<&str> {
        (self.engine == engine).then_some(self.location.as_str())
    }

    /// The location without what may be secret.
    fn redacted(&self) -> String {
        let Some(rest) = self.location.strip_prefix("//") else {
            let is_plain = matches!(self.engine, Engine::Memory | Engine::Sqlite);
            return if is_plain { self.location.clone() } else { "***".to_owned() };
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if path.contains('@') {
            // Perhaps a password with an unescaped slash: there is no telling where it ends.
            return "//***".to_owned();
        }
        let host = match authority.rsplit_once('@') {
            Some((_, host)) => format!("***@{host}"),
            None => authority.to_owned(),
        };
        match path.split_once(['?', '#']) {
            Some((path, _)) => format!("//{host}{path}?***"),
            None => format!("//{host}{path}"),
        }
    }
}

fn misconfigured(reason: String) -> StoreError {
    StoreError::Misconfigured { place: "the store URL".to_owned(), reason }
}

impl FromStr for StoreUrl {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        Self::parse(text)
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.redacted())
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}
