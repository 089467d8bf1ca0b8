//! Writes what a package has beside the program: `cargo run --example dist -- DIR`
//! makes `DIR/man` and `DIR/completions`. Not a command of the program itself,
//! which would carry the generators to every device.

#![allow(missing_docs)]

mod pages;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1) else {
        eprintln!("dist: name the directory to write to");
        return ExitCode::from(2);
    };
    match pages::write(dir.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("dist: {e}");
            ExitCode::FAILURE
        }
    }
}
