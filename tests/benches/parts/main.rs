//! Measures the parts that decide Tarn's speed, each by itself: `cargo bench -p tarn-tests --bench parts [FILTER]`.
//! What a mount does as a whole is measured by `scripts/bench`.

mod content;
mod device;
mod journal;

use criterion::{Criterion, criterion_group, criterion_main};
use std::time::Duration;

/// Enough to tell a change of a tenth, in a minute or two for all of it.
fn settings() -> Criterion {
    Criterion::default().sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3))
}

criterion_group! {
    name = parts;
    config = settings();
    targets = content::chunking, content::frames, device::log, device::database, device::tree, journal::planner, journal::push
}
criterion_main!(parts);
