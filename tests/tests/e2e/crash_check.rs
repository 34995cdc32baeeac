//! Each call that returned keeps its promise over a crash, under a load of everything at once.

use tarn_tests::crash::power::{Disk, Kind, cut};
use tarn_tests::crash::trial::{Crash, Plan, kill, run};
use tarn_tests::device::Device;

/// A number that `scripts/torture` gives; else that of the default run.
pub fn given(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn every_call_that_returned_survives_kill_9_under_a_mixed_load() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let plan = Plan {
        crashes: given("TARN_CRASH_KILLS", 15),
        seed: given("TARN_CRASH_SEED", 11),
        crash: Crash::Daemon,
        evicts: given("TARN_CRASH_EVICTS", 1) > 0,
    };
    let figures = run(&server, &a, plan, &mut kill).unwrap();
    assert!(figures.calls > 10 * plan.crashes, "{figures:?}");
    println!("{figures:?}");
}

fn every_call_that_was_synced_survives_power_cuts(kind: Kind) {
    let crashes = given("TARN_CRASH_CUTS", 10);
    let Some(disk) = Disk::new(kind).unwrap() else {
        return eprintln!("skipped: a file system cannot be mounted from an image here");
    };
    let server = crate::server();
    let a = Device::with_home(&server, "a", &disk.path().join("home")).unwrap();
    a.mount().unwrap();
    let plan = Plan {
        crashes,
        seed: given("TARN_CRASH_SEED", 12),
        crash: Crash::Power,
        evicts: given("TARN_CRASH_EVICTS", 1) > 0,
    };
    let figures = run(&server, &a, plan, &mut |device, about_to| cut(&disk, device, about_to)).unwrap();
    println!("{figures:?}");
}

#[test]
fn every_call_that_was_synced_survives_power_cuts_on_ext4() {
    every_call_that_was_synced_survives_power_cuts(Kind::Ext4);
}

#[test]
fn every_call_that_was_synced_survives_power_cuts_on_xfs() {
    every_call_that_was_synced_survives_power_cuts(Kind::Xfs);
}
