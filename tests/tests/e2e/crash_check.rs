//! Each call that returned keeps its promise over a crash, under a load of everything at once.

use tarn_tests::crash::trial::{Crash, Plan, kill, run};
use tarn_tests::device::Device;

/// A number that `scripts/torture` gives; else that of the default run.
fn given(name: &str, default: u64) -> u64 {
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
