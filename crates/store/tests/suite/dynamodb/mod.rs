//! The DynamoDB engine over the wire of a real server (MiniStack): the contract of every store
//! (`contract`), how tables are made (`create`), tables, items and answers that are not as they
//! should be (`worlds`), throttling and bad networks (`networks`), answers that get lost
//! (`lost_answers`).
#![expect(clippy::unwrap_used, reason = "functions of these files that are no tests serve only tests")]

mod contract;
mod create;
mod lost_answers;
mod networks;
mod tables;
mod worlds;

use countersign_store::Key;

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}
