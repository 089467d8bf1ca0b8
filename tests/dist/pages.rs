//! Man pages and shell completions, from the definition of the command line and
//! the reference of the configuration.

use std::fs;
use std::io;
use std::path::Path;

use clap_complete::Shell;
use clap_mangen::Man;

#[path = "reference.rs"]
mod reference;

/// Writes `man/edgespool.1` and a page for each command, `man/edgespool.toml.5`,
/// and `completions/` for bash, zsh and fish.
pub(crate) fn write(dir: &Path) -> io::Result<()> {
    let (man, completions) = (dir.join("man"), dir.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let mut command = edgespool::cli::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "edgespool", &completions)?;
    }
    fs::write(man.join("edgespool.toml.5"), reference::page())?;
    command.build();
    write_page(&command, &man)
}

fn write_page(command: &clap::Command, dir: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands() {
        write_page(subcommand, dir)?;
    }
    Man::new(command.clone())
        .manual("edgespool")
        .source(format!("edgespool {}", env!("CARGO_PKG_VERSION")))
        .generate_to(dir)
        .map(drop)
}
