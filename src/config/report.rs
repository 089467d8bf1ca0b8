//! What is wrong with a file, line by line.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be used.
    Mistake,
    /// The file can be used, but its author should know.
    Warning,
}

/// One thing to say about a configuration file; shown as
/// `edgespool.toml:12: what is wrong (what to do)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; `None` when the file as a whole is meant.
    pub line: Option<usize>,
    /// What is wrong and what to do, on one line, without secrets.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match self.severity {
            Severity::Mistake => write!(f, ": {}", self.text),
            Severity::Warning => write!(f, ": warning: {}", self.text),
        }
    }
}

impl Finding {
    /// The line without the word `warning`, for a log that has levels of its own.
    #[must_use]
    pub fn unmarked(&self) -> Finding {
        Finding {
            severity: Severity::Mistake,
            ..self.clone()
        }
    }
}

/// Collects findings while a file is read and checked.
pub(super) struct Report {
    file: String,
    findings: RefCell<Vec<Finding>>,
    /// Lines with syntax errors: what their values seem to be means nothing.
    broken: RefCell<BTreeSet<usize>>,
}

impl Report {
    pub(super) fn new(file: String) -> Report {
        Report {
            file,
            findings: RefCell::default(),
            broken: RefCell::default(),
        }
    }

    /// Reports a syntax error; whatever else is said about its line is dropped.
    pub(super) fn syntax(&self, line: usize, text: String) {
        self.mistake(line, text);
        self.broken.borrow_mut().insert(line);
    }

    pub(super) fn mistake(&self, line: impl Into<Option<usize>>, text: String) {
        self.add(Severity::Mistake, line.into(), text);
    }

    pub(super) fn warning(&self, line: impl Into<Option<usize>>, text: String) {
        self.add(Severity::Warning, line.into(), text);
    }

    fn add(&self, severity: Severity, line: Option<usize>, text: String) {
        if line.is_some_and(|line| self.broken.borrow().contains(&line)) {
            return;
        }
        let finding = Finding {
            severity,
            file: self.file.clone(),
            line,
            text,
        };
        let mut findings = self.findings.borrow_mut();
        // A broken line may offend several rules in the same words.
        if findings.len() < FINDINGS_MAX && !findings.contains(&finding) {
            findings.push(finding);
        }
    }

    /// Everything said so far, in the order of the file.
    pub(super) fn into_findings(self) -> Vec<Finding> {
        let mut findings = self.findings.into_inner();
        findings.sort_by_key(|finding| finding.line);
        findings
    }
}

/// Turns byte offsets into line numbers.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Lines {
        Lines(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line, from 1, that holds the byte at `offset`.
    pub(super) fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|&end| end < offset) + 1
    }
}

/// The known word that is most likely meant by `word`, if any is near enough.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A slip for every third letter; more than that is another word.
    let slips_max = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// Nobody reads more, and a hostile file must not fill the memory.
const FINDINGS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_its_newline() {
        let lines = Lines::of("a\nbc\n\nd");
        let found: Vec<_> = (0..7).map(|at| lines.at(at)).collect();
        assert_eq!(found, [1, 1, 2, 2, 2, 3, 4]);
    }

    #[test]
    fn only_a_near_word_is_offered() {
        let known = ["password", "password_file", "port", "host"];
        assert_eq!(nearest("pasword", known), Some("password"));
        assert_eq!(nearest("hots", known), Some("host"));
        assert_eq!(nearest("zebra", known), None);
    }
}
