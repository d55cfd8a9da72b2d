//! Every engine on a real server, and what all stores have in common.
//!
//! One binary, so that it links once.

mod memory;
mod open;
mod sqlite;
mod sqlite_files;
mod sqlite_processes;

#[cfg(feature = "dynamodb")]
mod dynamodb;
#[cfg(feature = "mongodb")]
mod mongodb;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "s3")]
mod s3;
