//! Starts the command line; everything else is in the library.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Many threads allocate; what they free goes back to the system.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    tarn::cli::main()
}
