//! Which names a watch takes: globs, unsafe names, markers. Pure.

use std::fmt;

use fast_glob::glob_match;

use crate::spool::is_aside;

use super::marker::{Marker, MarkerError};
use super::{ReadyWhen, WatchOptions};

/// A watch's options, checked and ready for use. Paths are bytes below the
/// watched directory, parts joined by `/`.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    include: Vec<String>,
    exclude: Vec<String>,
    /// Whether subdirectories are looked into.
    pub(super) recursive: bool,
    /// Set where a marker says that a file is finished.
    pub(super) marker: Option<Marker>,
}

impl Rules {
    pub(super) fn new(options: &WatchOptions) -> Result<Rules, OptionsError> {
        for glob in options.include.iter().chain(&options.exclude) {
            fast_glob::validate(glob).map_err(|reason| OptionsError::Glob {
                glob: glob.clone(),
                reason,
            })?;
        }
        let marker = match options.ready {
            ReadyWhen::Marker => Some(Marker::parse(&options.marker)?),
            ReadyWhen::Close | ReadyWhen::Quiet => None,
        };
        Ok(Rules {
            include: options.include.clone(),
            exclude: options.exclude.clone(),
            recursive: options.recursive,
            marker,
        })
    }

    /// Whether a directory may be looked into.
    pub(super) fn enters(&self, dir: &[u8]) -> bool {
        self.recursive && !self.excludes(dir)
    }

    /// Whether a file may be taken, its directories included: what stands in an
    /// excluded directory is excluded.
    pub(super) fn wants(&self, path: &[u8]) -> bool {
        let mut dirs = parents(path).peekable();
        if dirs.peek().is_some() && !self.recursive {
            return false;
        }
        dirs.all(|dir| !self.excludes(dir)) && self.wants_name(path)
    }

    /// Like [`Rules::wants`], for a file in a directory that was entered.
    pub(super) fn wants_name(&self, path: &[u8]) -> bool {
        let included = self.include.is_empty() || matches_any(&self.include, path);
        included && !self.excludes(path) && !is_aside(name(path))
    }

    /// Whether the name is a marker's: it is never delivered itself.
    pub(super) fn is_marker(&self, path: &[u8]) -> bool {
        let marker = self.marker.as_ref();
        marker.is_some_and(|marker| marker.is_one(name(path)))
    }

    fn excludes(&self, path: &[u8]) -> bool {
        matches_any(&self.exclude, path)
    }
}

/// Which names a watch takes, for files that come by another way than its
/// directory: in any subdirectory, and but for markers.
#[derive(Clone, Debug)]
pub struct Selection(Rules);

impl Selection {
    /// The names that these options take; `None` when the options cannot be.
    #[must_use]
    pub fn new(options: &WatchOptions) -> Option<Selection> {
        let mut rules = Rules::new(options).ok()?;
        rules.recursive = true;
        Some(Selection(rules))
    }

    /// Whether a file of this name is taken: a path in bytes, parts joined by
    /// slashes.
    #[must_use]
    pub fn takes(&self, path: &[u8]) -> bool {
        self.0.wants(path) && !self.0.is_marker(path) && !is_unsafe(path)
    }
}

fn matches_any(globs: &[String], path: &[u8]) -> bool {
    globs.iter().any(|glob| glob_match(glob, path))
}

/// Whether a name could end an FTP command early and so smuggle another one in.
pub(super) fn is_unsafe(path: &[u8]) -> bool {
    path.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// The last part of a path.
pub(super) fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// The directory of a path; empty for the watched directory itself.
pub(super) fn dir(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    path.get(..end).unwrap_or_default()
}

/// A name in a directory, the empty one being the watched directory.
pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() {
        return name.to_vec();
    }
    [dir, b"/", name].concat()
}

/// The directories on the way to a path, outermost first, without the watched one.
pub(super) fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
    slashes.filter_map(|(at, _)| path.get(..at))
}

/// An option of a watch that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionsError {
    /// A glob that is not one.
    Glob {
        /// The glob as written.
        glob: String,
        /// What is wrong with it.
        reason: fast_glob::Error,
    },
    /// A marker template that cannot name markers.
    Marker(MarkerError),
}

impl From<MarkerError> for OptionsError {
    fn from(e: MarkerError) -> OptionsError {
        OptionsError::Marker(e)
    }
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionsError::Glob { glob, .. } => write!(f, "glob {glob:?} is not valid"),
            OptionsError::Marker(_) => f.write_str("the marker is not valid"),
        }
    }
}

impl std::error::Error for OptionsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OptionsError::Glob { reason, .. } => Some(reason),
            OptionsError::Marker(reason) => Some(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(include: &[&str]) -> Rules {
        let include = include.iter().map(|&glob| glob.to_owned()).collect();
        Rules::new(&WatchOptions {
            include,
            ..WatchOptions::new("w", "/w")
        })
        .unwrap()
    }

    #[test]
    fn a_double_star_matches_the_top_level_and_below() {
        let rules = rules(&["**/*.jpg"]);
        assert!(rules.wants(b"a.jpg"));
        assert!(rules.wants(b"x/y/a.jpg"));
        assert!(!rules.wants(b"a.png"));
    }

    #[test]
    fn a_single_star_stays_in_its_directory() {
        let rules = rules(&["*.jpg"]);
        assert!(rules.wants(b"a.jpg"));
        assert!(!rules.wants(b"x/a.jpg"));
    }

    #[test]
    fn hidden_and_temporary_names_are_excluded_by_default_and_what_is_in_them() {
        let rules = rules(&[]);
        for path in [
            ".a",
            "x/.a",
            ".x/a",
            "x/.y/a",
            "a.tmp",
            "x/a.part",
            "a~",
            "a.jpg.partial",
        ] {
            assert!(!rules.wants(path.as_bytes()), "{path}");
        }
        assert!(rules.wants(b"a.b.c"));
        assert!(!rules.enters(b"x/.git"));
    }

    #[test]
    fn names_that_are_not_utf_8_match_like_others() {
        let rules = rules(&["**/*.jpg"]);
        assert!(rules.wants(b"\xFF\xFE/\x80\xE9.jpg"));
        assert!(rules.wants("Größe/ü.jpg".as_bytes()));
        assert!(!rules.wants(b".\xFF.jpg"));
    }

    #[test]
    fn without_recursion_only_the_top_level_is_wanted() {
        let mut rules = rules(&[]);
        rules.recursive = false;
        assert!(rules.wants(b"a"));
        assert!(!rules.wants(b"x/a"));
        assert!(!rules.enters(b"x"));
    }

    #[test]
    fn a_glob_that_is_not_one_is_refused_with_its_reason() {
        let options = WatchOptions {
            include: vec!["{a,b".to_owned()],
            ..WatchOptions::new("w", "/w")
        };
        let refused = Rules::new(&options).unwrap_err();
        assert_eq!(refused.to_string(), "glob \"{a,b\" is not valid");
        assert!(std::error::Error::source(&refused).is_some());
    }

    #[test]
    fn line_ends_and_nul_are_unsafe_anywhere_in_a_path() {
        assert!(is_unsafe(b"a\r"));
        assert!(is_unsafe(b"x\ny/a"));
        assert!(is_unsafe(b"a\0"));
        assert!(!is_unsafe(b"-rf \xFF \t\x1B"));
    }

    #[test]
    fn paths_come_apart_and_together() {
        assert_eq!(name(b"a/b/c"), b"c");
        assert_eq!(dir(b"a/b/c"), b"a/b");
        assert_eq!(dir(b"c"), b"");
        assert_eq!(join(b"", b"c"), b"c");
        assert_eq!(join(b"a/b", b"c"), b"a/b/c");
        assert_eq!(parents(b"a/b/c").collect::<Vec<_>>(), [&b"a"[..], b"a/b"]);
    }
}
