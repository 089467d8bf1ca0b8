//! Marker files: a second, small file that says that the first is finished. Pure.
//!
//! A template has one placeholder: `{name}` is the data file's last part,
//! `{stem}` that without its extension. `{name}.done` marks `a.jpg` by
//! `a.jpg.done`, `{stem}.ok` marks it (and `a.xml`) by `a.ok`. The marker stands
//! in the directory of its file.

use std::fmt;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    prefix: Vec<u8>,
    suffix: Vec<u8>,
    stem: bool,
}

impl Marker {
    pub(super) fn parse(template: &str) -> Result<Marker, MarkerError> {
        let split = |part| template.split_once(part);
        let (parts, stem) = match (split("{name}"), split("{stem}")) {
            (Some(parts), None) => (parts, false),
            (None, Some(parts)) => (parts, true),
            _ => return Err(MarkerError::Placeholder),
        };
        let (prefix, suffix) = parts;
        if prefix.is_empty() && suffix.is_empty() {
            return Err(MarkerError::Everything);
        }
        if let Some(wrong) = template
            .chars()
            .find(|c| matches!(c, '/' | '\r' | '\n' | '\0'))
        {
            return Err(MarkerError::Character(wrong));
        }
        if prefix.contains(['{', '}']) || suffix.contains(['{', '}']) {
            return Err(MarkerError::Placeholder);
        }
        Ok(Marker {
            prefix: prefix.as_bytes().to_vec(),
            suffix: suffix.as_bytes().to_vec(),
            stem,
        })
    }

    /// Whether `name` is a marker's name.
    pub(super) fn is_one(&self, name: &[u8]) -> bool {
        self.marked(name).is_some()
    }

    /// What stands for the placeholder in a marker's name: the file's name, or
    /// its stem.
    fn marked<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        let middle = name.strip_prefix(self.prefix.as_slice())?;
        let middle = middle.strip_suffix(self.suffix.as_slice())?;
        (!middle.is_empty()).then_some(middle)
    }

    /// The one file that a marker stands for; `None` if there may be several.
    pub(super) fn file_of<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        if self.stem { None } else { self.marked(name) }
    }

    /// The marker's name for the data file `name`.
    pub(super) fn of(&self, name: &[u8]) -> Vec<u8> {
        let middle = if self.stem { stem(name) } else { name };
        [&self.prefix, middle, &self.suffix].concat()
    }

    /// Whether one marker may stand for several files.
    pub(super) fn is_shared(&self) -> bool {
        self.stem
    }
}

/// A name without its extension; a leading dot begins no extension.
fn stem(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|&byte| byte == b'.') {
        None | Some(0) => name,
        Some(dot) => name.get(..dot).unwrap_or(name),
    }
}

/// Why a template cannot name markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerError {
    /// It does not have exactly one of `{name}` and `{stem}`, or has other braces.
    Placeholder,
    /// It is the placeholder alone: every file would be its own marker.
    Everything,
    /// It has a character that no marker's name may have.
    Character(char),
}

impl fmt::Display for MarkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MarkerError::Placeholder => {
                f.write_str("a marker needs {name} or {stem} once, and no other braces")
            }
            MarkerError::Everything => {
                f.write_str("a marker needs more than its placeholder, such as {name}.done")
            }
            MarkerError::Character(c) => write!(f, "a marker's name cannot have {c:?} in it"),
        }
    }
}

impl std::error::Error for MarkerError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_of_the_name_stands_for_one_file() {
        let marker = Marker::parse("{name}.done").unwrap();
        assert_eq!(marker.of(b"a.jpg"), b"a.jpg.done");
        assert_eq!(marker.file_of(b"a.jpg.done"), Some(&b"a.jpg"[..]));
        assert!(marker.is_one(b"a.jpg.done"));
        assert!(!marker.is_one(b".done"));
        assert!(!marker.is_one(b"a.jpg"));
    }

    #[test]
    fn a_marker_of_the_stem_stands_for_all_its_files() {
        let marker = Marker::parse("ok-{stem}").unwrap();
        assert_eq!(marker.of(b"a.jpg"), b"ok-a");
        assert_eq!(marker.of(b"a.xml"), b"ok-a");
        assert_eq!(marker.of(b".a"), b"ok-.a");
        assert!(marker.is_one(b"ok-a"));
        assert_eq!(marker.file_of(b"ok-a"), None);
    }

    #[test]
    fn templates_that_name_no_marker_are_refused() {
        assert_eq!(Marker::parse("done"), Err(MarkerError::Placeholder));
        assert_eq!(Marker::parse("{name}"), Err(MarkerError::Everything));
        assert_eq!(
            Marker::parse("{name}{stem}.x"),
            Err(MarkerError::Placeholder)
        );
        assert_eq!(Marker::parse("{name}.{ext}"), Err(MarkerError::Placeholder));
        assert_eq!(Marker::parse("ok/{name}"), Err(MarkerError::Character('/')));
    }
}
