//! The man pages and completions that packages bring.
#![allow(clippy::unwrap_used)]

#[path = "dist/pages.rs"]
mod pages;

use std::fs;
use std::path::Path;
use std::process::Command;

fn generated() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    pages::write(dir.path()).unwrap();
    dir
}

fn read(dir: &Path, name: &str) -> String {
    let path = dir.join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_command_has_its_page() {
    let dir = generated();
    for command in edgespool::cli::command().get_subcommands() {
        let name = command.get_name();
        let page = read(dir.path(), &format!("man/edgespool-{name}.1"));
        assert!(page.contains(".SH OPTIONS"), "{name}: {page}");
        for below in command.get_subcommands() {
            read(
                dir.path(),
                &format!("man/edgespool-{name}-{}.1", below.get_name()),
            );
        }
    }
    let main = read(dir.path(), "man/edgespool.1");
    // roff hides the hyphens of words.
    assert!(main.contains("Exit codes"), "{main}");
}

#[test]
fn the_configuration_has_its_page() {
    let page = read(generated().path(), "man/edgespool.toml.5");
    for part in ["when_full", "[[receive.user]]", "AUTH TLS on the FTP port"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let keys_and_words = include_str!("../docs/configuration.md")
        .lines()
        .filter(|line| line.starts_with("| `") || line.starts_with("- `"))
        .count();
    assert_eq!(page.matches(".TP\n\\fB").count(), keys_and_words);
}

#[test]
fn completions_know_the_commands_and_are_no_nonsense_to_their_shells() {
    let dir = generated();
    let files = ["edgespool.bash", "_edgespool", "edgespool.fish"];
    for file in files.map(|file| format!("completions/{file}")) {
        let script = read(dir.path(), &file);
        for command in edgespool::cli::command().get_subcommands() {
            assert!(script.contains(command.get_name()), "{file}");
        }
    }
    let bash = dir.path().join("completions/edgespool.bash");
    let checked = Command::new("bash").arg("-n").arg(bash).status().unwrap();
    assert!(checked.success());
}
