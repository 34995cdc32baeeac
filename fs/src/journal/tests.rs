//! Claims about the journal: whatever ends it, what is there again is a prefix of what was done, no
//! older than the last sync, and the same as if it had never ended.
#![allow(clippy::unwrap_used)]

mod crash;
mod damage;
mod database_faults;
mod model;
mod run;
