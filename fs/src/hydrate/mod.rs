//! Owns how bytes that are not local come here: from a range of a file to the frames that hold it, one
//! flight for each however many wait, demand before prefetch, many to a call.
//!
//! Nothing enters the disk or a reader's buffer that was not verified against its chunk's id. No lock
//! is held across a call to the server. What finds no room on the disk is carried in bounded memory.
//!
//! Start at [`Hydrator::need`], then `flights` (who waits for what), `calls` (what is on the wire).
//! Lock order: the table of flights alone; it is never held while a content is filled.

mod calls;
mod counters;
mod delivery;
mod error;
mod flights;
mod hydrator;
mod local;
mod memory;
mod nodes;
mod reach;
mod readahead;
#[cfg(test)]
mod tests;
mod turns;

pub use counters::{CounterValues, Counters};
pub use error::HydrateError;
pub use hydrator::{HydrateOptions, Hydrator, Priority};
pub use reach::Reach;
pub use readahead::ReadAhead;
