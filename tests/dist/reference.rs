//! The man page of the configuration, from `docs/configuration.md`, which the
//! tests hold to what the parser does.

/// The page in roff: edgespool.toml(5).
pub(crate) fn page() -> String {
    let mut page = format!(
        ".TH edgespool.toml 5 \"\" \"edgespool {}\" \"edgespool\"\n\
         .SH NAME\nedgespool.toml \\- configuration of edgespool\n.SH DESCRIPTION\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut is_hidden = false;
    let mut is_table = false;
    for line in SOURCE.lines() {
        is_hidden |= line.starts_with("<!--");
        if !is_hidden && !line.starts_with("# ") {
            page.push_str(&roff(line, is_table));
            is_table = line.starts_with('|');
        }
        is_hidden &= !line.ends_with("-->");
    }
    page.push_str(".SH SEE ALSO\n.BR edgespool (1),\n.BR edgespool\\-check (1)\n");
    page
}

/// A line in roff. `is_after_row`: the one before was of a table, so that this
/// row is a key's.
fn roff(line: &str, is_after_row: bool) -> String {
    if let Some(title) = line.strip_prefix("## ") {
        format!(".SH {}\n", text(title))
    } else if let Some(item) = line.strip_prefix("- ") {
        let (word, meaning) = item.split_once(": ").unwrap_or((item, ""));
        format!(".RS\n.TP\n{}\n{}\n.RE\n", text(word), text(meaning))
    } else if let Some(row) = line.strip_prefix("| `").filter(|_| is_after_row) {
        key(row)
    } else if line.starts_with('|') {
        String::new()
    } else if line.is_empty() {
        ".PP\n".to_owned()
    } else {
        text(line) + "\n"
    }
}

/// ``name` | type | default | meaning |`
fn key(row: &str) -> String {
    let row = row.trim_end_matches(" |").replace("\\|", BAR);
    let mut cells = row.splitn(4, " | ").map(|cell| cell.replace(BAR, "|"));
    let mut cell = || cells.next().unwrap_or_default();
    let name = cell();
    let (kind, default, meaning) = (cell(), cell(), cell());
    let default = match default.as_str() {
        "required" | "none" => default,
        default => format!("default {default}"),
    };
    format!(
        ".TP\n\\fB{}\\fP ({}; {})\n{}\n",
        text(name.trim_end_matches('`')),
        text(&kind),
        text(&default),
        text(&meaning)
    )
}

/// Words in roff: code is bold, emphasis italic, and nothing is a request.
fn text(words: &str) -> String {
    let mut roff = String::new();
    let (mut is_code, mut is_emphasis) = (false, false);
    for char in words.chars() {
        match char {
            '`' => {
                is_code = !is_code;
                roff.push_str(if is_code { "\\fB" } else { "\\fP" });
            }
            '*' if !is_code => {
                is_emphasis = !is_emphasis;
                roff.push_str(if is_emphasis { "\\fI" } else { "\\fP" });
            }
            '\\' => roff.push_str("\\e"),
            '-' => roff.push_str("\\-"),
            _ => roff.push(char),
        }
    }
    if roff.starts_with(['.', '\'']) {
        roff.insert_str(0, "\\&");
    }
    roff
}

const SOURCE: &str = include_str!("../../docs/configuration.md");

/// In place of a bar within a cell.
const BAR: &str = "\u{1}";
