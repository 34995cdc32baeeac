//! Owns how this device meets the server: what is pushed when, what is pulled when, what happens when
//! either fails. Knows no kernel; what programs see is the tree's.
//!
//! Start at [`engine`] (events in, actions out), then [`plan`] (what may go now) and `driver` (the tasks
//! that do what the engine asks).

pub mod backoff;
pub mod engine;
pub mod event;
pub mod link;
pub mod plan;
pub mod ports;
