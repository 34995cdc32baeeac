//! The whole of Tarn: real servers, real daemons, real mounts. Each promise of the README has a test here that tries to
//! break it; tests whose claim is about data run on both databases.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests live in the real world")]

/// Makes two tests of one function that takes a running server.
macro_rules! on_both {
    ($($test:path: $sqlite:ident, $postgres:ident;)+) => {$(
        #[test]
        fn $sqlite() {
            $test(&tarn_tests::server::Server::start(tarn_tests::server::Db::Sqlite).unwrap().unwrap());
        }

        #[test]
        fn $postgres() {
            if let Some(server) = tarn_tests::server::Server::start(tarn_tests::server::Db::Postgres).unwrap() {
                $test(&server);
            }
        }
    )+};
}

mod budget;
mod changes;
mod conflicts;
mod contract;
mod copying;
mod crash;
mod crash_check;
mod disk;
mod examples;
mod exerciser;
mod five_devices;
mod formats;
mod fsx;
mod growing;
mod hydration;
mod late_writes;
mod limit;
mod listings;
mod local_only;
mod many_files;
mod mass_delete;
mod never_hang;
mod new_versions;
mod offline;
mod passthrough;
mod posix;
mod programs;
mod quota;
mod rebuild;
mod restored;
mod rolled_back;
mod rot;
mod saves;
mod scanners;
mod server_crash;
mod stopped_server;
mod suites;
mod survive;
mod suspend;
mod systemd;
mod two_devices;
mod undo;
mod verify;
mod watching;
mod wire;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::diff::same_tree;
use tarn_tests::server::{Db, Server};
use tarn_tests::wait::within;

/// How long two devices may take to agree.
const CONVERGENCE: Duration = Duration::from_secs(60);

/// A server on the embedded default.
fn server() -> Server {
    Server::start(Db::Sqlite).unwrap().unwrap()
}

/// Waits until both have sent what they did and show the same tree; then nothing differs inside of each, either.
#[track_caller]
fn converge(one: &Device, other: &Device) {
    one.wait().unwrap();
    other.wait().unwrap();
    let mut last = Ok(());
    within(CONVERGENCE, || {
        last = same_tree(one.path(), other.path());
        last.is_ok()
    });
    last.unwrap();
    [one, other].into_iter().for_each(|device| drop(verify::assert_sound(device, &[])));
}

/// Waits until a device shows this tree.
#[track_caller]
fn await_tree(device: &Device, expected: &Path) {
    let mut last = Ok(());
    within(CONVERGENCE, || {
        last = same_tree(device.path(), expected);
        last.is_ok()
    });
    last.unwrap();
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").args(["-aT", "--"]).args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// What the server has acknowledged does not go up a second time.
#[track_caller]
fn no_chunk_is_sent_again(server: &Server) {
    let mut acknowledged = HashMap::new();
    for put in server.put_log().unwrap() {
        let (began, ended) = (put["began_ms"].as_i64().unwrap(), put["time_ms"].as_i64().unwrap());
        for id in put["ids"].as_array().unwrap() {
            let before = *acknowledged.entry(id.to_string()).or_insert(ended);
            assert!(before >= began, "chunk {id} was sent again: {put}");
        }
    }
    assert!(!acknowledged.is_empty());
}
