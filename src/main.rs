//! The `edgespool` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    edgespool::cli::main().into()
}
