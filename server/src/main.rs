//! Owns nothing: hands the arguments to [`tarn_server::cli`].

fn main() -> std::process::ExitCode {
    tarn_server::cli::main()
}
