//! After another device's change nothing stale is shown once it is applied: random changes of every kind on one device,
//! while programs on the other look at everything without a pause. A mark behind each batch says what has been applied:
//! whoever looks after it was seen finds what the batch left, wherever no later change touches it. `TARN_CHANGES` gives another number.

mod looker;
mod model;

use crate::converge;
use looker::Looker;
use model::Model;
use std::fs;
use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::seed::Seed;
use tarn_tests::wait::{eventually, timed};

const BATCH: usize = 40;
const LOOKERS: u64 = 4;
/// How long what was done on one device may take to be seen on the other, on a machine that does other things too.
const SOON: Duration = Duration::from_secs(60);

/// What the threads share.
struct World {
    model: Mutex<Model>,
    /// The last batch that the looking device was seen to have applied.
    applied: AtomicUsize,
    is_over: AtomicBool,
}

/// Ends the others, also by a panic.
struct Over<'w>(&'w World);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

impl World {
    /// Makes all changes; the looking device is never more than a batch behind when the next begins.
    fn change(&self, from: &Device, to: &Device, batches: usize, seed: &mut Seed) {
        let _over = Over(self);
        for batch in 1..=batches {
            for _ in 0..BATCH {
                self.model.lock().unwrap().change(from.path(), batch, seed);
            }
            from.wait().unwrap();
            // The second is made when the first was seen: what came with that one has been told to the kernel by then.
            for mark in ["first", "second"] {
                let mark = format!("marks/{mark}{batch}");
                // The kernel has it as absent from here on: it is seen when the kernel has been told of it, not before.
                assert_eq!(fs::symlink_metadata(to.join(&mark)).unwrap_err().kind(), ErrorKind::NotFound);
                fs::create_dir(from.join(&mark)).unwrap();
                let is_seen = || self.is_over.load(Ordering::SeqCst) || fs::symlink_metadata(to.join(&mark)).is_ok();
                eventually(SOON, &mark, is_seen);
            }
            self.applied.store(batch, Ordering::SeqCst);
            if self.is_over.load(Ordering::SeqCst) {
                break;
            }
        }
    }
}

/// What programs saw while another device changed things: each of so many calls showed what it had to.
fn nothing_stale_is_shown(mount_args: &[&str], given: u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (changes, start) = (number("TARN_CHANGES").unwrap_or(1_500), number("TARN_CRASH_SEED").unwrap_or(given));
    println!("TARN_CRASH_SEED={start}");
    let server = crate::server();
    let (a, b) =
        (Device::new(&server, "a").unwrap().with_mount_args(mount_args), Device::mounted(&server, "b").unwrap());
    a.mount().unwrap();
    fs::create_dir(b.join("marks")).unwrap();
    fs::create_dir(b.join("spare")).unwrap();
    let (world, mut seed) =
        (World { model: Model::new(b.path()).into(), applied: 0.into(), is_over: false.into() }, Seed::new(start));
    converge(&a, &b);
    let batches = usize::try_from(changes).unwrap().div_ceil(BATCH);
    let (looks, took) = timed(|| {
        thread::scope(|scope| {
            let look = |number| {
                let (world, root) = (&world, a.path());
                move || {
                    let _over = Over(world);
                    Looker::new(world, root, Seed::new(start * 100 + number)).look_until_over()
                }
            };
            let lookers: Vec<_> = (0..LOOKERS).map(|number| scope.spawn(look(number))).collect();
            world.change(&b, &a, batches, &mut seed);
            lookers
                .into_iter()
                .map(|one| one.join().unwrap())
                .fold([0; 4], |sum, one| [sum[0] + one[0], sum[1] + one[1], sum[2] + one[2], sum[3] + one[3]])
        })
    });
    let [calls, contents, kept, changed] = looks;
    println!(
        "Figures: {} changes in {:.0} s; {calls} calls, {contents} contents held against what they must be, {kept} reads of files that were kept \
         open, {changed} of them after they had been replaced",
        batches * BATCH,
        took.as_secs_f64()
    );
    assert!(calls > changes && contents > changes / 10 && kept > changes / 10 && changed > 0, "{looks:?}");
    converge(&a, &b);
}

#[test]
fn after_random_changes_elsewhere_programs_see_nothing_stale() {
    nothing_stale_is_shown(&[], 1);
}

#[test]
fn after_random_changes_elsewhere_programs_see_nothing_stale_where_the_daemon_serves_all_reads() {
    nothing_stale_is_shown(&["--no-passthrough"], 2);
}
