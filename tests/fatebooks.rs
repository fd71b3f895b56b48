//! This repository's own fatebooks, as cases of cargo.

fn main() -> std::process::ExitCode {
    pisaura::harness::main()
}
