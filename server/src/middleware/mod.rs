//! Owns what all calls share: reading and writing bodies, bounds, request ids, access logs, panics.

mod guard;
mod params;
mod wire;

pub use guard::guard;
pub use params::{PathOf, QueryOf};
pub use wire::{Accept, BodyStream, Wire, drain};
