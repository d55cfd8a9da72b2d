//! The Postgres engine on a real server: the contract of every store (`contract`), servers and
//! databases that are not as they should be (`worlds`), answers that get lost (`lost_answers`),
//! many processes and crashes (`processes`).
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "functions of these files that are no tests serve only tests"
)]

mod cluster;
mod contract;
mod lost_answers;
mod processes;
mod tls;
mod worlds;

use countersign_store::Key;

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}
