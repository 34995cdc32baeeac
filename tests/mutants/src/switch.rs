//! Owns which mutant is on: the one whose number `TARN_MUTANT` has. With `TARN_MUTANTS_REACHED` none is, and those that are
//! come to are written to that file. It stands in each crate of the copy that has mutants, and in no other.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

const UNREAD: u32 = u32::MAX;
const RECORD: u32 = u32::MAX - 1;
static ACTIVE: AtomicU32 = AtomicU32::new(UNREAD);
static REACHED: [AtomicU32; 512] = [const { AtomicU32::new(0) }; 512];

/// Whether mutant `number` is on.
#[inline]
pub fn on(number: u32) -> bool {
    let active = ACTIVE.load(Ordering::Relaxed);
    active == number || (active >= RECORD && slow(active, number))
}

#[cold]
#[inline(never)]
fn slow(mut active: u32, number: u32) -> bool {
    if active == UNREAD {
        let record = std::env::var("TARN_MUTANTS_REACHED").is_ok();
        let chosen = std::env::var("TARN_MUTANT").ok().and_then(|number| number.parse().ok());
        active = if record { RECORD } else { chosen.unwrap_or(0) };
        ACTIVE.store(active, Ordering::Relaxed);
    }
    if active == RECORD {
        let bit = 1 << (number % 32);
        if REACHED[number as usize / 32].fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            let path = std::env::var("TARN_MUTANTS_REACHED").expect("it was there a moment ago");
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            let written = file.and_then(|mut file| file.write_all(format!("{number}\n").as_bytes()));
            written.expect("the file of what is reached can be written");
        }
    }
    active == number
}
