//! Files that are whole or not there, and readers that neither hang nor fill the memory.
//!
//! [`Draft`] is the only way in which this project makes files: written aside under a name nobody
//! can foresee, then put into place. [`read_text`] and [`open_regular`] are how it reads them.
//! Links no other crate, so that a verifier does not get the rest of the program with it.

mod draft;
mod read;

pub use draft::{Created, Draft, sweep};
pub use read::{is_readable_by_others, open_regular, read_limited, read_standard_input, read_text, user};
