//! The MongoDB engine on mongo-java-server, which nobody here wrote, and for what that has not on a
//! stand-in (tests/servers/mongo.py, which says what it does not show): the contract of every store
//! (`contract`), what is sent (`wire`), answers that get lost (`lost_answers`), servers and
//! collections that are not as they should be (`worlds`), certificates (`tls`), collections of
//! others (`foreign`).
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "functions of these files that are no tests serve only tests"
)]

mod contract;
mod foreign;
mod lost_answers;
mod tls;
mod wire;
mod world;
mod worlds;

use countersign_store::Key;

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}
