//! The pages in `docs/` and the README: their commands run, their log lines
//! are the program's, their links lead somewhere.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::servers::{Kind, Server, Variant};
use common::{Agent, Output, content};

const PAGES: [&str; 8] = [
    "README.md",
    "docs/configuration.md",
    "docs/operations.md",
    "docs/protocol.md",
    "docs/receiver.md",
    "docs/recovery.md",
    "docs/security.md",
    "docs/size.md",
];

/// The kinds of fenced blocks that a page may have.
const FENCES: [&str; 6] = [
    "sh",
    "console",
    "toml",
    "text",
    "dialogue",
    "dialogue-resumed",
];

#[test]
fn every_command_of_the_pages_works() {
    let server = Server::start(Kind::Pyftpdlib, Variant::Plain);
    for page in PAGES.iter().filter(|page| **page != "README.md") {
        let agent = Agent::for_server(&server, None, "");
        fs::write(agent.watched().join("photo.jpg"), content(1, 1000)).unwrap();
        agent.command(&["once"]).expect(0);
        for script in blocks(page, "sh") {
            for line in commands(&script) {
                println!("{page}: {line}");
                let line = line.replace("/tmp/rescued", "rescued");
                let ran = shell(&agent, &line);
                // `queue flush` needs an agent, and says so.
                let code = if line.contains("queue flush") { 75 } else { 0 };
                assert_eq!(ran.code, Some(code), "{page}: {line}\n{ran:#?}");
            }
        }
    }
}

#[test]
fn every_piece_of_configuration_is_understood() {
    for page in PAGES.iter().filter(|page| **page != "README.md") {
        for piece in blocks(page, "toml") {
            let agent = Agent::new();
            fs::write(agent.dir().join("camera.password"), "x").unwrap();
            agent.write_config(&format!(
                "[[server]]\nname = \"central\"\nhost = \"h\"\nuser = \"anonymous\"\n\
                 [[watch]]\nname = \"camera\"\ndir = \"watched\"\n[spool]\ndir = \"spool\"\n{piece}"
            ));
            agent.command(&["check", "--offline"]).expect(0);
        }
    }
}

/// Commands that need root, systemd or the Internet are only held to the
/// commands and flags that the program has.
#[test]
fn commands_that_cannot_run_here_are_spelled_right() {
    for page in PAGES {
        let mut lines: Vec<String> = inline(page);
        for fence in ["console", "sh"] {
            let scripts = blocks(page, fence);
            lines.extend(scripts.iter().flat_map(|script| commands(script)));
        }
        for line in lines {
            for part in line.split(['|', ';']).map(str::trim) {
                check_spelling(page, part);
            }
        }
    }
}

#[test]
fn pages_have_no_other_blocks_and_no_dead_links() {
    for page in PAGES {
        let text = read(page);
        let fences = text.lines().filter_map(|line| line.strip_prefix("```"));
        for fence in fences.step_by(2) {
            assert!(FENCES.contains(&fence), "{page}: ```{fence}");
        }
        let dir = root().join(page);
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let target = target.split('#').next().unwrap();
            let path = dir.parent().unwrap().join(target);
            assert!(path.exists(), "{page}: {target}");
        }
    }
}

/// `…` in a quoted line stands for what the program puts in.
#[test]
fn every_log_line_and_state_of_the_pages_is_the_programs() {
    let source = source();
    let mut count = 0;
    for (page, quote) in quotes() {
        count += 1;
        for piece in quote
            .split('…')
            .map(|piece| piece.trim_matches([' ', ':', ';', ',']))
        {
            // A brace stands for a value in the source; so does a name.
            let found = piece.len() < 4 || source.contains(piece);
            assert!(found, "{page}: {quote:?}: no {piece:?} in src");
        }
        assert!(quote.split('…').any(|piece| piece.len() > 5), "{quote}");
    }
    assert!(count > 40, "{count}");
}

#[test]
fn the_dialogue_of_the_page_is_what_is_said() {
    let server = Server::start(Kind::Vsftpd, Variant::ExplicitReuse);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("photo.jpg"), content(1, 300_000)).unwrap();
    let url = format!("ftpes://{}@{}/incoming/", server.user, server.addr());
    let ran = Command::new(env!("CARGO_BIN_EXE_edgespool"))
        .current_dir(dir.path())
        .env("EDGESPOOL_PASSWORD", server.password)
        .args(["-v", "send", "--ca-file"])
        .arg(server.ca.as_ref().unwrap())
        .args(["photo.jpg", &url])
        .output()
        .unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success(), "{said}");
    let written = blocks("docs/protocol.md", "dialogue").remove(0);
    // How the two directions interleave hangs on the speed of the machine.
    for way in ["> ", "< "] {
        assert_eq!(spoken(&said, way), spoken(&written, way), "{said}");
    }
}

/// What one side said: verbs with the paths' last parts, or reply codes.
fn spoken(dialogue: &str, way: &str) -> Vec<String> {
    let lines = dialogue
        .lines()
        .filter_map(|line| match line.split_once("] ") {
            Some((_, said)) => said.strip_prefix(way),
            None => line.strip_prefix(way),
        });
    lines
        .map(|line| {
            let word = line.split(' ').next().unwrap();
            let ends = |suffix: &&str| way == "> " && line.ends_with(suffix);
            let suffix = [".part", "photo.jpg"].into_iter().find(ends);
            format!("{word} {}", suffix.unwrap_or_default())
        })
        .collect()
}

/// Runs a line in the agent's directory as a technician would, with the
/// program on the path and the config in the environment.
fn shell(agent: &Agent, line: &str) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_edgespool"));
    let path = std::env::var("PATH").unwrap();
    let ran = Command::new("timeout")
        .args(["300", "sh", "-c", line])
        .current_dir(agent.dir())
        .env("EDGESPOOL_CONFIG", agent.config())
        .env(
            "PATH",
            format!("{}:{path}", program.parent().unwrap().display()),
        )
        .output()
        .unwrap();
    Output {
        code: ran.status.code(),
        signal: None,
        stdout: String::from_utf8_lossy(&ran.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&ran.stderr).into_owned(),
    }
}

/// Holds `edgespool [-FLAG...] COMMAND [SUBCOMMAND] ...` to what `--help` says.
fn check_spelling(page: &str, line: &str) {
    let words = line
        .split_whitespace()
        .map(|word| word.trim_matches(['(', ')', ',', '.']));
    let mut words = words.skip_while(|word| word.rsplit('/').next() != Some("edgespool"));
    if words.next().is_none() {
        return;
    }
    let words: Vec<&str> = words
        .take_while(|word| !word.starts_with(['#', '<', '>']))
        .collect();
    let mut path = words
        .iter()
        .filter(|word| !word.starts_with('-') && !word.contains('/'));
    let Some(command) = path.next().filter(|word| **word != "COMMAND") else {
        return;
    };
    let help = common::edgespool([command, "--help"]);
    assert_eq!(help.code, Some(0), "{page}: {line}: {help:#?}");
    let mut text = help.stdout;
    if *command == "queue" {
        for act in path.next().into_iter().flat_map(|acts| acts.split('|')) {
            let help = common::edgespool([command, act, "--help"]);
            assert_eq!(help.code, Some(0), "{page}: {line}: {help:#?}");
            text += &help.stdout;
        }
    }
    let flags = words.iter().filter(|word| word.starts_with('-'));
    for flag in flags.map(|flag| flag.split(['=', ']']).next().unwrap()) {
        let known = text.contains(&format!("{flag},")) || text.contains(&format!("{flag} "));
        assert!(
            known || text.contains(&format!("{flag}\n")),
            "{page}: {line}: {flag}"
        );
    }
}

/// The bodies of the blocks that begin with this fence.
fn blocks(page: &str, fence: &str) -> Vec<String> {
    let text = read(page);
    let open = format!("\n```{fence}\n");
    let bodies = text.split(&open).skip(1);
    bodies
        .map(|rest| rest.split("\n```").next().unwrap().to_owned() + "\n")
        .collect()
}

/// The commands in a block: lines without comments and prompts.
fn commands(script: &str) -> Vec<String> {
    let prompted = |line: &str| line.starts_with("$ ") || line.starts_with("# ");
    let is_console =
        script.lines().any(|line| line.starts_with("$ ")) || script.lines().all(prompted);
    let lines = script.lines().filter_map(|line| match is_console {
        true => line.strip_prefix("$ ").or(line.strip_prefix("# ")),
        false => Some(line).filter(|line| !line.starts_with('#')),
    });
    lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Commands in the running text.
fn inline(page: &str) -> Vec<String> {
    let text = read(page);
    let spans = text.split('`').skip(1).step_by(2);
    let spans = spans.filter(|span| !span.contains('…'));
    spans
        .filter(|span| span.starts_with("edgespool "))
        .map(str::to_owned)
        .collect()
}

/// Log lines and states: the first cells of the operations page's tables, and
/// the quoted lines of the recovery page.
fn quotes() -> Vec<(&'static str, String)> {
    let mut quotes = Vec::new();
    for line in read("docs/operations.md").lines() {
        let Some(cell) = line
            .strip_prefix("| ")
            .and_then(|row| row.split(" | ").next())
        else {
            continue;
        };
        let spans = cell.split('`').skip(1).step_by(2);
        quotes.extend(spans.map(|span| ("docs/operations.md", span.to_owned())));
    }
    for page in ["docs/receiver.md", "docs/recovery.md"] {
        let text = read(page);
        let lines = text.lines().filter_map(|line| line.strip_prefix("> "));
        quotes.extend(lines.map(|line| (page, line.replace("312", "…"))));
    }
    for (_, quote) in &mut quotes {
        *quote = quote.replace("40 bytes at 8192", "bytes at …");
    }
    quotes
}

/// All of the program's source, with broken literals joined.
fn source() -> String {
    let mut dirs = vec![root().join("src")];
    let mut source = String::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                Some(extension) if extension == "rs" => {
                    source += &fs::read_to_string(path).unwrap();
                }
                _ if path.is_dir() => dirs.push(path),
                _ => {}
            }
        }
    }
    let mut joined = String::with_capacity(source.len());
    let mut pieces = source.split("\\\n");
    joined += pieces.next().unwrap();
    pieces.for_each(|piece| joined += piece.trim_start());
    joined.replace("\\\"", "\"")
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
