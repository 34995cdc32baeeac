//! Tests of the rules over a whole state in memory: the table row by row, what is refused, random batches.
#![allow(clippy::unwrap_used)]

mod again;
mod beside;
mod effects;
mod exchange;
mod folders;
mod loaded;
pub(crate) mod random;
mod recover;
mod refused;
mod removed;
mod resolve;
pub(crate) mod state;
mod table;
mod undo;
