//! The template is the one place that says what each key means: `init` writes
//! it, `docs/configuration.md` is made from it and from the docs of the words
//! in `choice.rs`, and the tests here hold it to what the parser does.
//!
//! A line of the template is `key = value  # comment`, with more of the comment
//! below where it is long. A `#` before the key says that the value is the
//! default, unless the comment begins with `example`. `default: …` and
//! `required` in the comment say what the value cannot.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::*;
use crate::base::parse_span;

/// One `[table]` of the template.
#[derive(Debug)]
struct Section {
    /// As it is written: `[spool]`, `[[server]]`; empty for the top level.
    header: String,
    /// Whether a new file has it.
    is_written: bool,
    about: String,
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    name: String,
    value: String,
    is_written: bool,
    comment: String,
}

impl Key {
    fn is_example(&self) -> bool {
        self.comment.starts_with("example")
    }

    fn choice(&self) -> Option<Choice> {
        let choice = choice(&self.name)?;
        let value = self.value.trim_matches('"');
        // `tls` has other words in other tables.
        choice
            .words
            .iter()
            .any(|word| word.0 == value)
            .then_some(choice)
    }

    fn parts(&self) -> impl Iterator<Item = &str> {
        self.comment.split("; ").map(str::trim)
    }

    fn written_default(&self) -> Option<&str> {
        self.parts().find_map(|part| part.strip_prefix("default: "))
    }

    /// Whether the value is what the parser takes where the key is absent.
    fn shows_default(&self) -> bool {
        !self.is_written
            && !self.is_example()
            && !self.comment.starts_with("required")
            && self.written_default().is_none()
    }

    fn default(&self) -> String {
        match self.written_default() {
            Some(text) if text.starts_with(char::is_numeric) => format!("`{text}`"),
            Some(text) => text.to_owned(),
            None if self.shows_default() => format!("`{}`", self.value),
            None if self.is_example() => "none".to_owned(),
            None => "required".to_owned(),
        }
    }

    fn kind(&self) -> &'static str {
        let text = self.value.trim_matches('"');
        match self.value.chars().next() {
            _ if self.choice().is_some() => "word",
            Some('[') => "list",
            Some('{') => "table",
            Some('"') if text.ends_with("/s") => "rate",
            Some('"') if parse_span(text).is_ok() => "duration",
            Some('"') if text.parse::<crate::base::ByteSize>().is_ok() => "size",
            Some('"') => "text",
            Some('0'..='9') => "number",
            _ => "true or false",
        }
    }

    fn meaning(&self) -> String {
        let said = self.parts().filter(|part| !part.starts_with("default: "));
        let said = said.map(|part| {
            let part = part.strip_prefix("required").unwrap_or(part);
            let part = part.strip_prefix("example").unwrap_or(part);
            part.strip_prefix(": ").unwrap_or(part)
        });
        let mut said = said
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
        if let Some(choice) = self.choice() {
            said = choice.about;
        }
        if self.is_example() {
            let lead = if said.is_empty() { "as in" } else { ", as in" };
            write!(said, "{lead} `{}`", self.value).unwrap();
        }
        said
    }
}

/// Reads the template.
fn sections() -> Vec<Section> {
    let mut sections = vec![Section {
        header: String::new(),
        is_written: true,
        about: String::new(),
        keys: Vec::new(),
    }];
    let mut in_key = false;
    for line in template::TEMPLATE.lines() {
        let (text, is_written) = match line.strip_prefix('#') {
            Some(text) => (text, false),
            None => (line, true),
        };
        let (code, comment) = text.split_once(" #").unwrap_or((text, ""));
        let (code, comment) = (code.trim_end(), comment.trim());
        let last = sections.last_mut().unwrap();
        if code.starts_with('[') {
            sections.push(Section {
                header: code.to_owned(),
                is_written,
                about: comment.to_owned(),
                keys: Vec::new(),
            });
        } else if let Some((name, value)) = code.split_once(" = ").filter(|(name, _)| is_key(name))
        {
            last.keys.push(Key {
                name: name.to_owned(),
                value: value.to_owned(),
                is_written,
                comment: comment.to_owned(),
            });
        } else if let Some(more) = text.trim_start().strip_prefix("# ").filter(|_| in_key) {
            let key = last.keys.last_mut().unwrap();
            key.comment = format!("{} {more}", key.comment).trim().to_owned();
            continue;
        }
        in_key = code.contains(" = ");
    }
    sections
}

fn is_key(name: &str) -> bool {
    name.bytes()
        .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
}

/// A choice of `choice.rs`, from its docs.
struct Choice {
    about: String,
    /// Word, whether it is the default, and what it means.
    words: Vec<(String, bool, String)>,
}

fn choice(key: &str) -> Option<Choice> {
    let name = match key {
        "data" => "DataMode".to_owned(),
        key => key.split('_').map(capitalised).collect(),
    };
    let source = include_str!("../choice.rs");
    let body = source
        .split("choice! {")
        .find(|body| body.contains(&format!("\n    {name} {{\n")))?;
    let (mut about, mut doc, mut is_default) = (String::new(), String::new(), false);
    let mut words = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            doc = format!("{doc}{text}").trim().to_owned();
        } else if line == "#[default]" {
            is_default = true;
        } else if line.ends_with('{') && about.is_empty() {
            about = std::mem::take(&mut doc);
        } else if let Some((_, word)) = line.split_once(" = \"") {
            let word = word.trim_end_matches("\",").to_owned();
            words.push((
                word,
                std::mem::take(&mut is_default),
                std::mem::take(&mut doc),
            ));
        }
    }
    Some(Choice { about, words })
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_ascii_uppercase() + rest
}

/// The page.
fn page() -> String {
    let mut page = HEAD.to_owned();
    for section in sections() {
        let title = match section.header.as_str() {
            "" => "Top level".to_owned(),
            header => format!("`{header}`"),
        };
        writeln!(page, "\n## {title}\n").unwrap();
        if !section.about.is_empty() {
            writeln!(page, "{}.\n", capitalised(&section.about)).unwrap();
        }
        page.push_str("| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
        for key in &section.keys {
            let cells = [key.kind().to_owned(), key.default(), key.meaning()];
            let cells = cells.map(|cell| cell.replace('|', "\\|")).join(" | ");
            writeln!(page, "| `{}` | {cells} |", key.name).unwrap();
        }
        for key in &section.keys {
            let Some(choice) = key.choice() else {
                continue;
            };
            writeln!(page, "\n`{}`:\n", key.name).unwrap();
            for (word, is_default, meaning) in choice.words {
                let mark = if is_default { " (default)" } else { "" };
                writeln!(page, "- `{word}`{mark}: {meaning}").unwrap();
            }
        }
    }
    page
}

#[test]
fn the_page_is_what_the_template_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    if std::env::var_os("EDGESPOOL_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let (written, page) = (std::fs::read_to_string(&path).unwrap(), page());
    let stale = written
        .lines()
        .zip(page.lines())
        .find(|(old, new)| old != new);
    assert!(
        written == page,
        "stale at {stale:?} (with EDGESPOOL_WRITE_DOCS=1 this test writes it anew)"
    );
}

#[test]
fn every_key_that_is_known_is_in_the_template() {
    let place = Place::new();
    let sections = sections();
    let tables: BTreeSet<&str> = (sections.iter())
        .filter_map(|s| s.header.trim_matches(['[', ']']).rsplit('.').next())
        .collect();
    // What was not built in knows no keys.
    let is_built = |section: &&Section| {
        let name = section.header.trim_start_matches('[');
        cfg!(feature = "receive") || !name.starts_with("receive")
    };
    for section in sections.iter().filter(is_built) {
        let lines = place.lines(&format!("{}\nzzzzzzzzzzzz = 1\n", section.header));
        let known = lines.iter().find_map(|line| line.split_once("(known are "));
        let (_, known) = known.unwrap_or_else(|| panic!("{}: {lines:#?}", section.header));
        for name in known.trim_end_matches(')').split(", ") {
            let comments = section
                .keys
                .iter()
                .flat_map(|key| key.comment.split([' ', ',']));
            let mentioned = comments.into_iter().any(|word| word == name);
            let shown = mentioned || section.keys.iter().any(|key| key.name == name);
            assert!(shown || tables.contains(name), "{} {name}", section.header);
        }
    }
}

#[test]
fn a_default_in_the_template_is_the_parsers() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("outbox")).unwrap();
    place.write("password", "x", 0o600);
    let bare = place.load(template::TEMPLATE).unwrap().config;
    let mut text = template::TEMPLATE.to_owned();
    let mut count = 0;
    for section in sections().iter().filter(|section| section.is_written) {
        for key in section.keys.iter().filter(|key| key.shows_default()) {
            let line = format!("{} = {}", key.name, key.value);
            text = text.replacen(&format!("\n#{line}"), &format!("\n{line}"), 1);
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
    assert_eq!(place.load(&text).unwrap().config, bare);
}

const HEAD: &str = "\
# Configuration

One TOML file, `/etc/edgespool/edgespool.toml` unless `-c` or `$EDGESPOOL_CONFIG` names another.
`edgespool init` writes one to start from, `edgespool check --offline` lists every mistake with its
line, and SIGHUP (`systemctl reload edgespool`) makes a running agent read it again.

Relative paths start at the file's directory. A *size* is a number of bytes with `k`, `M`, `G`
(powers of 1000) or `KiB`, `MiB`, `GiB`; a *duration* has `ms`, `s`, `m`, `h`, `d`, as in `\"1h30m\"`;
a *rate* is a size with `/s`. An unknown key is a mistake. Patterns know `*`, `?`, `**`, `[a-z]`
and `{a,b}`, and are for the path below the watch's `dir`.

<!-- Made from src/config/template.toml and src/config/choice.rs by a test
     (src/config/tests/reference.rs): change those, not this page. -->
";
