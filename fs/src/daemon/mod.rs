//! Owns the daemon: one process that serves one mount of one device's state. Wires everything together; this
//! and `cli` are the only places that name concrete types.
//!
//! Start reading at `life` (how a daemon begins and ends), then `wire` (what it is made of); `supervisor` is the
//! process that outlives it.

mod credentials;
mod disk_file;
mod ending;
mod handover;
mod holders;
mod home;
mod housekeeping;
mod identity;
mod life;
mod log_file;
mod marker;
mod merging;
mod offspring;
mod options;
mod parts;
mod pins;
mod place;
mod rate_limits;
mod service;
mod service_manager;
mod slumber;
mod supervisor;
mod text_merge;
mod verify;
mod wire;

pub use credentials::{Credentials, CredentialsError};
pub use ending::{Ending, StandingMount};
pub use handover::{Bond, Heritage};
pub use holders::{Holder, holders};
pub use home::{Home, HomeError};
pub use life::{Ground, Standing, release_killed, run};
pub use log_file::open_log;
pub use marker::Marker;
pub use options::{HoldDeletes, MountOptions};
pub use place::{Place, PlaceError};
pub use supervisor::{Programs, supervise};
pub use verify::serve_walk;
pub use wire::build;
