//! Starts the command line; everything else is in the library.

use libmimalloc_sys::{mi_option_set_default, mi_option_t};
use mimalloc::MiMalloc;
use std::ffi::c_long;
use std::process::ExitCode;

/// Many threads allocate; what they free goes back to the system.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `mi_option_purge_delay` of mimalloc's header: after how many milliseconds that is. The bindings do not name it.
const PURGE_DELAY: mi_option_t = 15;
/// Long enough for buffers to be used again while content is sent or fetched, a tenth of what is usual.
const PURGE_DELAY_MS: c_long = 100;

fn main() -> ExitCode {
    // SAFETY: it stores a number, and no other thread runs yet. What the environment says goes before it.
    unsafe { mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) };
    tarn::cli::main()
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmimalloc_sys::mi_option_get;

    #[test]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: it reads a number that nobody changes.
        let usual = unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(usual, 10 * PURGE_DELAY_MS, "mimalloc numbers its options otherwise, or has another default by now");
    }
}
