//! Servers and bad networks for tests.
//!
//! [`Server`] starts a program on loopback and a free port and ends it with the test, even with one
//! that is killed; `engines` are the programs there are, which scripts/test installs into `.tools`.
//! [`Relay`] stands between a client and a server, writes down what is asked, and loses, delays or
//! makes up answers on demand.
//!
//! For `[dev-dependencies]` alone. A server that cannot be started fails the test that wanted it;
//! nothing is skipped.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test code: a failure here fails the test")]

mod engines;
mod relay;
mod server;
mod wait;

pub use engines::{S3, ministack, mongo, mongo_java, s3, start_mongo};
pub use relay::{Asked, Relay};
pub use server::{Server, free_port};
pub use wait::until;
