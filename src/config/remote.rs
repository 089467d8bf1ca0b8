//! The `remote` template: where a file goes on the server.
//!
//! `{device}` and `{watch}` are names of the configuration; `{path}` is the
//! path below the watch's directory, `{name}` its last part, `{stem}` and
//! `{ext}` its halves at the last dot; `{year}` `{month}` `{day}` `{hour}`
//! `{minute}` `{second}` are the file's own time in local time. `{{` and `}}`
//! stand for the braces themselves. File names are bytes and stay bytes.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::report::nearest;

/// A checked template.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Device,
    Watch,
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Path,
    Name,
    Stem,
    Ext,
}

/// What a template is filled with.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The configuration's `device`.
    pub device: &'a str,
    /// The watch's name.
    pub watch: &'a str,
    /// The path below the watch's directory, with `/` between its parts.
    pub path: &'a [u8],
    /// The file's time of last change, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// The zone in which that time is written.
    pub zone: &'a TimeZone,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// `{…}` holds a word that is no placeholder.
    Unknown(String),
    /// A brace without its partner.
    Brace,
    /// CR, LF or NUL: a server would take the rest for a command.
    Control,
    /// A part of the path is `..`.
    Parent,
    /// Nothing stands behind the last `/`.
    NoName,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TemplateError::Unknown(word) => {
                let known = FIELDS.iter().map(|(word, _)| *word);
                write!(f, "has an unknown placeholder {{{}}}", word.escape_debug())?;
                match nearest(word, known.clone()) {
                    Some(near) => write!(f, " (did you mean {{{near}}}?)"),
                    None => {
                        f.write_str(" (known are")?;
                        known
                            .into_iter()
                            .try_for_each(|word| write!(f, " {{{word}}}"))?;
                        f.write_str(")")
                    }
                }
            }
            TemplateError::Brace => {
                f.write_str("has a brace without its partner (write {{ or }} for a brace itself)")
            }
            TemplateError::Control => f.write_str(
                "contains a line end or a NUL, which the server would take for a command",
            ),
            TemplateError::Parent => f.write_str("leads upwards with \"..\" (write the full path)"),
            TemplateError::NoName => {
                f.write_str("ends without a file name (add {path} or {name} at its end)")
            }
        }
    }
}

impl std::error::Error for TemplateError {}

/// Why a file has no name on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpandError {
    /// The result would hold CR, LF or NUL.
    Control,
    /// The result has no file name, or leads upwards.
    NoName,
}

impl fmt::Display for ExpandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ExpandError::Control => {
                "the remote name contains a line end or a NUL, which the server would take for a command"
            }
            ExpandError::NoName => "the remote template gives this file no name",
        })
    }
}

impl std::error::Error for ExpandError {}

impl Remote {
    /// Checks a template.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn parse(text: &str) -> Result<Remote, TemplateError> {
        if text.bytes().any(is_unsafe) {
            return Err(TemplateError::Control);
        }
        if text.split('/').any(|part| part == "..") {
            return Err(TemplateError::Parent);
        }
        if text.ends_with('/') || text.is_empty() {
            return Err(TemplateError::NoName);
        }
        let parts = parts_of(text)?;
        Ok(Remote {
            text: text.to_owned(),
            parts,
        })
    }

    /// Whether two files of one watch can get different names.
    #[must_use]
    pub fn tells_files_apart(&self) -> bool {
        self.parts.iter().any(|part| {
            !matches!(
                part,
                Part::Literal(_) | Part::Field(Field::Device | Field::Watch | Field::Ext)
            )
        })
    }

    /// Writes the name that a file gets on the server.
    ///
    /// # Errors
    /// See [`ExpandError`]; such a file must stay where it is.
    pub fn expand(&self, facts: &Facts<'_>) -> Result<Vec<u8>, ExpandError> {
        let time = Timestamp::from_nanosecond(i128::from(facts.mtime_ns))
            .unwrap_or(Timestamp::UNIX_EPOCH)
            .to_zoned(facts.zone.clone());
        let name = facts.path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        let (stem, ext) = split_name(name);
        let mut out = Vec::with_capacity(self.text.len() + facts.path.len());
        for part in &self.parts {
            let number = |width: usize, number: i16| format!("{number:0width$}").into_bytes();
            match part {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Field(Field::Device) => out.extend_from_slice(facts.device.as_bytes()),
                Part::Field(Field::Watch) => out.extend_from_slice(facts.watch.as_bytes()),
                Part::Field(Field::Path) => out.extend_from_slice(facts.path),
                Part::Field(Field::Name) => out.extend_from_slice(name),
                Part::Field(Field::Stem) => out.extend_from_slice(stem),
                Part::Field(Field::Ext) => out.extend_from_slice(ext),
                Part::Field(Field::Year) => out.extend(number(4, time.year())),
                Part::Field(Field::Month) => out.extend(number(2, time.month().into())),
                Part::Field(Field::Day) => out.extend(number(2, time.day().into())),
                Part::Field(Field::Hour) => out.extend(number(2, time.hour().into())),
                Part::Field(Field::Minute) => out.extend(number(2, time.minute().into())),
                Part::Field(Field::Second) => out.extend(number(2, time.second().into())),
            }
        }
        check_expanded(&out)?;
        Ok(out)
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

fn parts_of(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        literal.push_str(before);
        if let Some(behind) = brace.strip_prefix("{{") {
            literal.push('{');
            rest = behind;
        } else if let Some(behind) = brace.strip_prefix("}}") {
            literal.push('}');
            rest = behind;
        } else {
            let (word, behind) = brace
                .strip_prefix('{')
                .and_then(|brace| brace.split_once('}'))
                .ok_or(TemplateError::Brace)?;
            let (_, field) = FIELDS
                .iter()
                .find(|(known, _)| *known == word)
                .ok_or_else(|| TemplateError::Unknown(word.to_owned()))?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Field(*field));
            rest = behind;
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

/// Splits at the last dot; a dot at the start begins a hidden file's name, not
/// an extension.
fn split_name(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|b| *b == b'.') {
        None | Some(0) => (name, &[]),
        Some(dot) => {
            let (stem, ext) = name.split_at(dot);
            (stem, ext.get(1..).unwrap_or_default())
        }
    }
}

fn check_expanded(name: &[u8]) -> Result<(), ExpandError> {
    if name.iter().copied().any(is_unsafe) {
        return Err(ExpandError::Control);
    }
    let last = name.rsplit(|b| *b == b'/').next().unwrap_or_default();
    if last.is_empty() || last == b"." || name.split(|b| *b == b'/').any(|part| part == b"..") {
        return Err(ExpandError::NoName);
    }
    Ok(())
}

fn is_unsafe(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

const FIELDS: [(&str, Field); 12] = [
    ("device", Field::Device),
    ("watch", Field::Watch),
    ("year", Field::Year),
    ("month", Field::Month),
    ("day", Field::Day),
    ("hour", Field::Hour),
    ("minute", Field::Minute),
    ("second", Field::Second),
    ("path", Field::Path),
    ("name", Field::Name),
    ("stem", Field::Stem),
    ("ext", Field::Ext),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expand(template: &str, path: &[u8]) -> Result<String, ExpandError> {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let facts = Facts {
            device: "gw-1",
            watch: "cam",
            path,
            mtime_ns: 1_735_682_645_000_000_000, // 2024-12-31 22:04:05 UTC
            zone: &zone,
        };
        let name = Remote::parse(template).unwrap().expand(&facts)?;
        Ok(String::from_utf8_lossy(&name).into_owned())
    }

    #[test]
    fn every_placeholder_is_filled_and_times_are_local() {
        assert_eq!(
            expand(
                "/{device}/{watch}/{year}{month}{day}-{hour}{minute}{second}/{path}",
                b"a/b.c"
            ),
            Ok("/gw-1/cam/20250101-000405/a/b.c".to_owned())
        );
        assert_eq!(
            expand("{stem}|{ext}|{name}|{{x}}", b"d/a.tar.gz"),
            Ok("a.tar|gz|a.tar.gz|{x}".to_owned())
        );
        assert_eq!(
            expand("{stem}|{ext}|", b".bashrc"),
            Ok(".bashrc||".to_owned())
        );
    }

    #[test]
    fn what_a_server_could_misread_has_no_remote_name() {
        assert_eq!(expand("/{path}", b"a\rDELE x"), Err(ExpandError::Control));
        assert_eq!(
            expand("/{path}", b"../etc/passwd"),
            Err(ExpandError::NoName)
        );
        assert_eq!(expand("/in/{ext}", b"noext"), Err(ExpandError::NoName));
    }

    #[test]
    fn broken_templates_are_refused_with_a_remedy() {
        for (template, message) in [
            (
                "/{yaer}/{name}",
                "has an unknown placeholder {yaer} (did you mean {year}?)",
            ),
            (
                "/{name",
                "has a brace without its partner (write {{ or }} for a brace itself)",
            ),
            (
                "/in}/{name}",
                "has a brace without its partner (write {{ or }} for a brace itself)",
            ),
            (
                "/in/",
                "ends without a file name (add {path} or {name} at its end)",
            ),
            (
                "/../{name}",
                "leads upwards with \"..\" (write the full path)",
            ),
            (
                "/a\r\n{name}",
                "contains a line end or a NUL, which the server would take for a command",
            ),
        ] {
            assert_eq!(Remote::parse(template).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_template_knows_whether_it_tells_files_apart() {
        assert!(
            Remote::parse("/{device}/{name}")
                .unwrap()
                .tells_files_apart()
        );
        assert!(
            !Remote::parse("/{device}/latest.jpg")
                .unwrap()
                .tells_files_apart()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn bytes_of_a_name_arrive_as_they_are(path in proptest::collection::vec(1u8..=255, 1..40)) {
            let zone = TimeZone::UTC;
            let facts = Facts { device: "d", watch: "w", path: &path, mtime_ns: i64::MIN, zone: &zone };
            let expanded = Remote::parse("{path}").unwrap().expand(&facts);
            if let Ok(name) = expanded {
                prop_assert_eq!(name, path);
            } else {
                let controls = path.iter().any(|b| matches!(b, b'\r' | b'\n'));
                let unnamed = path.ends_with(b"/") || path.windows(2).any(|w| w == b"..") || path == b"." || path.ends_with(b"/.");
                prop_assert!(controls || unnamed);
            }
        }

        #[test]
        fn no_text_panics_the_parser(text in ".{0,40}") {
            let _either = Remote::parse(&text);
        }
    }
}
