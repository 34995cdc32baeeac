//! Owns nothing: hands the arguments to [`tarn_server::cli`].

use mimalloc::MiMalloc;

/// Many threads allocate; what they free goes back to the system.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    tarn_server::cli::main()
}
