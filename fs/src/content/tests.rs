//! Owns the tests of the content store: against a model of bytes, through kills, within the budget.

#![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]

mod borrow;
mod budget;
mod check;
mod model;
mod planning;
mod single;
mod sync_failures;
mod world;
