//! Holds a device to what its calls promised: a mixed load records each call that returned, the daemon is killed or the
//! power cut at random moments, and what is found afterwards is compared.
//!
//! Start at [`model`] (states and calls), then `load` (which calls), `lane` (makes them), `verdict` (what may be
//! found) and [`trial`] (the whole); `power` has the disk. A lane is one folder that one thread works in: its calls have an order.

pub mod model;
pub mod power;
pub mod trial;

mod lane;
mod load;
mod servant;
mod verdict;
