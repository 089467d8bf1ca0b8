//! Names that the file gives to its servers, watches and schedules.

use super::section::Section;

/// Checks a `name` key. A watch's name becomes a directory of the spool and
/// part of remote paths, so all names keep to what every filesystem takes.
pub(super) fn check_name(section: &Section<'_>, name: &str) {
    if let Some(problem) = problem_of(name) {
        section.bad("name", name, problem);
    }
}

/// What is wrong with a name that is not empty.
pub(super) fn problem_of(name: &str) -> Option<&'static str> {
    if name.len() > NAME_MAX {
        Some("is longer than 64 bytes")
    } else if name.starts_with('.') {
        Some("must not begin with a dot")
    } else if name
        .chars()
        .any(|c| c.is_control() || c == '/' || c == '\\')
    {
        Some("must not contain slashes or control characters")
    } else {
        None
    }
}

const NAME_MAX: usize = 64;
