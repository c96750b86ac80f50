//! The `goldseam` program; see [`goldseam::cli`].

fn main() -> std::process::ExitCode {
    goldseam::cli::main(std::env::args_os())
}
