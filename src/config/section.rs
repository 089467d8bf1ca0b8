//! The file as written: one table at a time, each value with its line.
//!
//! The keys that are asked for are the keys that are known: read them all, then
//! call [`Section::finish`], which reports the others. A value of the wrong type
//! is reported and then treated as absent, so that reading goes on and one run
//! finds every mistake; the caller throws the result away at the end.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::{Lines, Report, nearest};
use super::value::{Value, shown};

/// Where values stand in the file, for the checks that come after reading.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// How messages call the table: `watch "camera"`.
    pub(super) context: String,
    /// The line of the table's header.
    pub(super) line: usize,
    keys: BTreeMap<&'static str, usize>,
}

impl Places {
    /// The line of a key, or of the header where the key is not written.
    pub(super) fn line(&self, key: &str) -> usize {
        self.keys.get(key).copied().unwrap_or(self.line)
    }

    /// Whether the key is written in the file.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }
}

/// What all tables of one file share.
pub(super) struct Source<'a> {
    pub(super) report: &'a Report,
    pub(super) lines: &'a Lines,
    /// The directory of the file: relative paths start there.
    pub(super) base: &'a Path,
    /// The file has syntax errors: what seems to be missing may be there.
    pub(super) damaged: bool,
}

/// One table of the file.
pub(super) struct Section<'a> {
    table: &'a DeTable<'a>,
    source: &'a Source<'a>,
    places: Places,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(
        source: &'a Source<'a>,
        table: &'a DeTable<'a>,
        line: usize,
        context: String,
    ) -> Section<'a> {
        Section {
            table,
            source,
            places: Places {
                context,
                line,
                keys: BTreeMap::new(),
            },
            asked: Vec::new(),
        }
    }

    /// Reports a mistake in the value of `key`.
    pub(super) fn mistake(&self, key: &str, what: &str) {
        self.source.report.mistake(
            self.places.line(key),
            in_context(&self.places.context, &format!("{key} {what}")),
        );
    }

    /// Reports a mistake in the value of `key` and shows the value.
    pub(super) fn bad(&self, key: &str, value: &str, what: &str) {
        self.mistake(key, &format!("{value:?} {what}"));
    }

    /// Reports a mistake in a table that is read already.
    pub(super) fn mistake_at(&self, at: &Places, key: &str, what: &str) {
        let text = in_context(&at.context, &format!("{key} {what}"));
        self.source.report.mistake(at.line(key), text);
    }

    /// Reports a mistake in the table as a whole.
    pub(super) fn mistake_here(&self, what: &str) {
        let text = in_context(&self.places.context, what);
        self.source.report.mistake(self.places.line, text);
    }

    /// Where what was read so far stands in the file.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// Says something about the value of `key` that is no mistake.
    pub(super) fn warning(&self, key: &str, what: &str) {
        self.source.report.warning(
            self.places.line(key),
            in_context(&self.places.context, &format!("{key} {what}")),
        );
    }

    /// Whether the key is written in the file.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The value of a key, if it is written and of the right type.
    pub(super) fn get<T: Value>(&mut self, key: &'static str) -> Option<T> {
        let value = self.find(key)?;
        match T::read(value.get_ref()) {
            Ok(value) => Some(value),
            Err(problem) if T::SECRET => {
                self.mistake(key, &problem);
                None
            }
            Err(problem) => {
                let shown = shown(value.get_ref());
                self.mistake(key, &format!("{shown}{problem}"));
                None
            }
        }
    }

    /// The value of a key that must be written; empty after a mistake.
    pub(super) fn required(&mut self, key: &'static str, example: &str) -> String {
        if !self.has(key) && !self.source.damaged {
            self.mistake(key, &format!("is missing (write {key} = {example:?})"));
        }
        self.get(key).unwrap_or_default()
    }

    /// A whole number within a range.
    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        let number: i64 = self.get(key)?;
        if range.contains(&number) {
            return T::try_from(number).ok();
        }
        let (first, last) = range.into_inner();
        self.mistake(
            key,
            &format!("{number} must lie between {first} and {last}"),
        );
        None
    }

    /// A duration that is not zero.
    pub(super) fn span(&mut self, key: &'static str) -> Option<Duration> {
        let span: Duration = self.get(key)?;
        if span.is_zero() {
            self.mistake(key, "must be longer than 0");
            return None;
        }
        Some(span)
    }

    /// A path; a relative one starts at the file's directory.
    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let text: String = self.get(key)?;
        if text.contains('\0') {
            self.mistake(key, "contains a NUL character");
            return None;
        }
        Some(self.source.base.join(text))
    }

    /// A table within this one.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Section<'a>> {
        let value = self.find(key)?;
        let line = self.source.lines.at(value.span().start);
        match value.get_ref() {
            DeValue::Table(table) => {
                let context = match self.places.context.as_str() {
                    "" => format!("[{key}]"),
                    outer => format!("{outer}: {key}"),
                };
                Some(Section::new(self.source, table, line, context))
            }
            DeValue::Array(_) if self.places.context.is_empty() => {
                self.mistake(key, &format!("exists once (write [{key}], not [[{key}]])"));
                None
            }
            _ => {
                self.mistake(key, "must be a table");
                None
            }
        }
    }

    /// A table of tables whose names the file chooses.
    pub(super) fn entries(&mut self, key: &'static str) -> Vec<(String, Section<'a>)> {
        let Some(table) = self.table(key) else {
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (name, value) in table.table {
            let line = self.source.lines.at(name.span().start);
            let name = name.get_ref().clone().into_owned();
            let context = format!("{}.{name}", table.places.context);
            match value.get_ref() {
                DeValue::Table(inner) => {
                    sections.push((name, Section::new(self.source, inner, line, context)));
                }
                _ => {
                    let text = in_context(&context, "must be a table");
                    self.source.report.mistake(line, text);
                }
            }
        }
        sections
    }

    /// A list of tables; each is called by its `name` in messages.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.find(key) else {
            return Vec::new();
        };
        // [[receive.user]]: a list within the table [receive].
        let outer = self.places.context.trim_matches(['[', ']']);
        let called = match outer {
            "" => key.to_owned(),
            outer => format!("{outer}.{key}"),
        };
        let DeValue::Array(array) = value.get_ref() else {
            self.mistake(
                key,
                &format!("is a list (write [[{called}]], not [{called}])"),
            );
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, value) in array.iter().enumerate() {
            let line = self.source.lines.at(value.span().start);
            let DeValue::Table(table) = value.get_ref() else {
                self.mistake(key, &format!("is a list of tables (write [[{called}]])"));
                continue;
            };
            let name = table.get("name").and_then(|name| name.get_ref().as_str());
            let context = match name {
                Some(name) => format!("{called} {name:?}"),
                None => format!("{called} number {}", index + 1),
            };
            sections.push(Section::new(self.source, table, line, context));
        }
        sections
    }

    /// Reports the keys that nobody asked for, and tells where the others are.
    pub(super) fn finish(self) -> Places {
        for (key, _) in self.table {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let known = self.asked.iter().copied();
            let remedy = match nearest(name, known.clone()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known are {}", known.collect::<Vec<_>>().join(", ")),
            };
            self.source.report.mistake(
                self.source.lines.at(key.span().start),
                in_context(
                    &self.places.context,
                    &format!("unknown key {name:?} ({remedy})"),
                ),
            );
        }
        self.places
    }

    /// Remembers that the key is known, and where it stands.
    fn find(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let (name, value) = self.table.get_key_value(key)?;
        let line = self.source.lines.at(name.span().start);
        self.places.keys.insert(key, line);
        Some(value)
    }
}

/// Puts the table's name in front of a message; the top level has none.
pub(super) fn in_context(context: &str, text: &str) -> String {
    match context {
        "" => text.to_owned(),
        context => format!("{context}: {text}"),
    }
}
