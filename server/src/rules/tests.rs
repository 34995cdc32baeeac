//! Tests of the rules over a whole state in memory: the table row by row, what is refused, random batches.
#![allow(clippy::unwrap_used)]

mod random;
mod refused;
mod state;
mod table;
