//! Owns how this device meets the server: what is pushed when, what is pulled when, what happens when
//! either fails. Knows no kernel; what programs see is the tree's.
//!
//! Start at [`engine`] (events in, actions out), then [`plan`] (what may go now) and `driver` (the tasks
//! that do what the engine asks).

mod apply;
pub mod backoff;
mod bridge;
mod driver;
pub mod engine;
pub mod event;
mod goal;
mod handle;
pub mod link;
mod lister;
mod notices;
mod pace;
pub mod plan;
pub mod ports;
mod pull;
mod push;
mod recover;
mod status;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod upload;

pub use bridge::TreeBridge;
pub use driver::Parts;
pub use goal::Goal;
pub use handle::SyncHandle;
pub use lister::{Lister, whole_listing};
pub use status::{Rate, SyncStatus, WaitOutcome};
