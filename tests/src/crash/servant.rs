//! What happens beside the lanes: contents are dropped and fetched again.

use crate::device::Device;
use crate::seed::Seed;
use std::sync::atomic::{AtomicBool, Ordering};

/// Drops and fetches until it is told to stop. What a command says does not matter: the lanes read.
pub fn serve(device: &Device, lanes: &[String], evicts: bool, seed: &mut Seed, stop: &AtomicBool) {
    let mount = device.path().to_string_lossy().into_owned();
    while !stop.load(Ordering::Acquire) {
        let lane = device.join(&lanes[seed.index(lanes.len())]).to_string_lossy().into_owned();
        let args: &[&str] = match seed.below(3) {
            0 if evicts => &["evict", "--all", &mount],
            1 if evicts => &["evict", &lane],
            _ => &["hydrate", &lane],
        };
        // A daemon that is gone refuses; one that runs may have dirty files, which stay.
        drop(device.tarn(args));
    }
}
