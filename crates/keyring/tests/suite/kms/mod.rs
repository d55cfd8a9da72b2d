//! AWS KMS over the wire: MiniStack's KMS behind a relay that writes down what is asked and spoils
//! answers, and for what MiniStack has not (wrong signatures, slowness that can be counted) a
//! stand-in that answers by hand.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect by failing"
)]

mod place;
mod refusals;
mod rings;
mod sealing;
mod shapes;
mod stand_in;
