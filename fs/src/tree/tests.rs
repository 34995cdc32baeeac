//! The tree over a real state folder, with answers made by hand.
#![allow(clippy::unwrap_used)]

mod beside;
mod conflicts;
mod crash;
mod depends;
mod edits;
mod faults;
mod fixture;
mod folder_times;
mod formers;
mod growing;
mod halves;
mod happened;
mod hidden;
mod hidden_later;
mod kept;
mod late;
mod listed;
mod listings;
mod loading;
mod local_only;
mod looks;
mod mass_delete;
mod others;
mod own;
mod rebuild;
mod refusals;
mod remote;
mod rescue;
mod room;
mod share;
mod siblings;
mod subfolders;
mod sweep;
mod taken;
mod verify;
