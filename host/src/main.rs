//! The `wasmyard` command.

fn main() -> std::process::ExitCode {
    wasmyard::cli::main()
}
