//! What Tarn's client and server say to each other: ids, names, version vectors, operations,
//! changes, the content format, the bodies of the calls.
//!
//! No I/O, no async, no clock, no randomness: every function here is a function of its arguments.
//! Start reading at [`op`] (what a device asks), [`change`] (what the server says) and
//! [`manifest`] (where bytes are). ARCHITECTURE.md draws the rest of the house.

pub mod api;
pub mod bytes64;
pub mod change;
pub mod chunk;
pub mod error;
pub mod ids;
pub mod limits;
pub mod lost;
pub mod manifest;
pub mod name;
pub mod node;
pub mod op;
mod usage;
pub mod version;

#[cfg(test)]
mod testdata;
