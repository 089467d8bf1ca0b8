//! The rules of the source that no compiler checks: which module may know
//! which, how long files and functions may be, and who may touch the system.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

/// The modules, each with how high it stands: a module knows only what stands
/// below it, so modules of one height never name each other.
const HEIGHTS: [(&str, u8); 13] = [
    ("base", 1),
    ("ftp", 2),
    ("schedule", 2),
    ("sys", 2),
    ("spool", 3),
    ("watch", 4),
    ("upload", 4),
    ("receive", 4),
    ("status", 4),
    ("supervisor", 5),
    ("config", 6),
    ("agent", 7),
    ("cli", 8),
];

/// What only `sys` may do, and the command line, which works by hand.
const SYSTEM: [(&str, &str); 12] = [
    ("std::fs", "sys.fs"),
    ("std::os::unix::net", "sys.net"),
    ("TcpStream", "sys.net"),
    ("TcpListener", "sys.net"),
    ("UdpSocket", "sys.net"),
    ("ToSocketAddrs", "sys.net"),
    ("SystemTime::now", "sys.clock"),
    ("Instant::now", "sys.clock"),
    ("Zoned::now", "sys.clock"),
    ("Timer::", "sys.clock"),
    ("smol::net", "sys.net"),
    ("std::thread", "sys.pool"),
];

/// Who touches the system all the same, and with what.
const SYSTEM_EXCEPTIONS: [(&str, &str); 1] = [
    // The control socket connects this process with another on this machine.
    // No promise about files depends on it.
    ("src/status/", "std::fs smol::net Timer::"),
];

/// What is left behind by work that is not done.
const LEFT_BEHIND: [&str; 7] = [
    "TODO",
    "FIXME",
    "XXX",
    "todo!(",
    "unimplemented!(",
    "dbg!(",
    "#[ignore",
];

#[test]
fn modules_know_only_what_stands_below_them() {
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let Some((own, height)) = module_of(&source.path) else {
            continue;
        };
        for (line, name) in source.mentioned_modules() {
            let other = HEIGHTS.iter().find(|(module, _)| *module == name);
            let allowed = name == own || other.is_none_or(|(_, other)| *other < height);
            if !allowed {
                wrong.push(format!("{}:{line}: {own} names {name}", source.path));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_module_has_its_height() {
    for source in sources(&["src"]) {
        let in_root = ["src/lib.rs", "src/main.rs"].contains(&source.path.as_str());
        assert!(
            in_root || module_of(&source.path).is_some(),
            "{} belongs to no module of the map",
            source.path
        );
    }
}

#[test]
fn files_are_short() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        let count = source.text.lines().count();
        if count > FILE_LINES_MAX {
            wrong.push(format!("{}: {count} lines", source.path));
        }
    }
    assert_none(&wrong);
}

#[test]
fn functions_are_short() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        for (line, name, count) in functions(&source.code) {
            if count > FUNCTION_LINES_MAX {
                wrong.push(format!("{}:{line}: {name}: {count} lines", source.path));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn only_sys_and_the_command_line_touch_the_system() {
    let mut wrong = Vec::new();
    for source in sources(&["src"]) {
        let trusted = ["src/sys/", "src/cli/"].iter();
        if source.is_test() || trusted.clone().any(|dir| source.path.starts_with(dir)) {
            continue;
        }
        for (number, line) in source.product_code().lines().enumerate() {
            for (name, instead) in SYSTEM {
                let excepted = |(path, what): (&str, &str)| {
                    source.path.starts_with(path) && what.split(' ').any(|w| w == name)
                };
                if line.contains(name) && !SYSTEM_EXCEPTIONS.into_iter().any(excepted) {
                    let at = format!("{}:{}", source.path, number + 1);
                    wrong.push(format!("{at}: {name} (use {instead})"));
                }
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn nothing_is_left_to_be_done() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        if source.path == "tests/tidy.rs" {
            continue;
        }
        for (number, line) in source.text.lines().enumerate() {
            for word in LEFT_BEHIND.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: {word}", source.path, number + 1));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn the_scan_sees_what_it_should() {
    let text = "fn a<'x>() {\n    let c = '}'; // }\n    \"}\\\"\";\n    r#\"}\"#;\n}\nfn b();\n";
    let code = without_comments_and_literals(text);
    assert_eq!(functions(&code), [(1, "a".to_owned(), 5)]);
    let source = Source {
        path: "src/watch/mod.rs".into(),
        code: "use crate::{sys::Fs, base};\nuse crate::spool::X;\n".into(),
        text: String::new(),
    };
    let names: Vec<_> = source.mentioned_modules();
    let expected = [(1, "sys"), (1, "base"), (2, "spool")];
    assert_eq!(names, expected.map(|(line, name)| (line, name.to_owned())));
}

/// A file of ours.
struct Source {
    /// Below the root of the repository.
    path: String,
    text: String,
    /// The text with comments and literals blanked out.
    code: String,
}

impl Source {
    /// Whether it holds tests alone.
    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("tests.rs")
    }

    /// The code before the tests, which come last.
    fn product_code(&self) -> &str {
        let tests = self.code.find("#[cfg(test)]\nmod tests {");
        &self.code[..tests.unwrap_or(self.code.len())]
    }

    /// The names behind `crate::`, with their lines.
    fn mentioned_modules(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, prefix) in self.code.match_indices("crate::") {
            let line = self.code[..at].lines().count().max(1);
            let rest = &self.code[at + prefix.len()..];
            if let Some(group) = rest.strip_prefix('{') {
                let names = split_group(group);
                found.extend(names.into_iter().map(|name| (line, name)));
            } else {
                found.push((line, identifier(rest)));
            }
        }
        found
    }
}

/// The first names of a group like `a::{b, c}, d}`.
fn split_group(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut begin) = (0, Vec::new(), 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                names.push(identifier(group[begin..at].trim_start()));
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> String {
    let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
    text.chars().take_while(is_part).collect()
}

/// The module that a file belongs to, and how high it stands.
fn module_of(path: &str) -> Option<(&'static str, u8)> {
    let below = path.strip_prefix("src/")?;
    let name = below.split(['/', '.']).next()?;
    HEIGHTS.into_iter().find(|(module, _)| *module == name)
}

/// Functions with a body: their line, name and length in lines.
fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let begins_word = code[..at].chars().next_back().is_none_or(|c| !is_word(c));
        let name = identifier(&code[at + 3..]);
        if !begins_word || name.is_empty() {
            continue;
        }
        let Some(length) = body_end(&code[at..]) else {
            continue;
        };
        let line = code[..at].matches('\n').count() + 1;
        let count = code[at..at + length].matches('\n').count() + 1;
        found.push((line, name, count));
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the body of a function ends; `None` without one.
fn body_end(code: &str) -> Option<usize> {
    let (mut depth, mut brackets) = (0, 0);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if depth == 0 && brackets == 0 => return None,
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Blanks out comments, strings and characters; lines stay where they are.
fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = literal_or_comment(rest);
        if length == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            // An `r` that ends a word begins no raw string.
            if is_word(c) {
                let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                code.push_str(&rest[..word]);
                rest = &rest[word..];
            }
            continue;
        }
        let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
        code.extend(rest[..length].chars().map(blank));
        rest = &rest[length..];
    }
    code
}

/// The length of what begins here, if it is a literal or a comment.
fn literal_or_comment(text: &str) -> usize {
    let until = |end: &str, from: usize| {
        let found = text[from..].find(end);
        found.map_or(text.len(), |at| from + at + end.len())
    };
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return until("*/", 2);
    }
    let prefix = ["br", "cr", "r", "b", "c"].into_iter();
    let prefix = prefix.filter(|p| text.starts_with(p)).map(str::len).next();
    let unprefixed = &text[prefix.unwrap_or(0)..];
    let hashes = unprefixed.chars().take_while(|c| *c == '#').count();
    let begin = prefix.unwrap_or(0) + hashes + 1;
    if unprefixed[hashes..].starts_with('"') {
        if prefix.is_some() && text[..begin].contains('r') {
            return until(&format!("\"{}", "#".repeat(hashes)), begin);
        }
        return if hashes == 0 {
            quoted(text, begin, '"')
        } else {
            0
        };
    }
    if hashes == 0 && unprefixed.starts_with('\'') && prefix.is_none_or(|_| text.starts_with('b')) {
        // A character, or the name of a lifetime.
        let mut after = unprefixed[1..].chars();
        let is_char = after.next() == Some('\\') || after.next() == Some('\'');
        return if is_char {
            quoted(text, begin, '\'')
        } else {
            0
        };
    }
    0
}

/// Where a quoted literal ends whose content begins here.
fn quoted(text: &str, begin: usize, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text[begin..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return begin + at + 1,
            _ => {}
        }
    }
    text.len()
}

/// All Rust files below these directories.
fn sources(dirs: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<PathBuf> = dirs.iter().map(|dir| root.join(dir)).collect();
    let mut sources = Vec::new();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let below = path.strip_prefix(root).unwrap();
            sources.push(Source {
                path: below.to_str().unwrap().to_owned(),
                code: without_comments_and_literals(&text),
                text,
            });
        }
    }
    assert!(!sources.is_empty());
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
