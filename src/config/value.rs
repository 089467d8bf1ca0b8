//! The types that values have, and the words for values that do not fit.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use toml::de::DeValue;

use super::report::nearest;
use crate::base::{ByteSize, Secret, parse_span};
use crate::schedule::Rate;

/// A value of the file. The error continues a sentence that began with the key
/// and the value: `is not a size (…)`.
pub(super) trait Value: Sized {
    /// The value must not be shown.
    const SECRET: bool = false;

    fn read(value: &DeValue<'_>) -> Result<Self, String>;
}

/// A choice among a few words.
pub(super) trait Words: Sized + Copy + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

impl Value for String {
    fn read(value: &DeValue<'_>) -> Result<String, String> {
        match value {
            DeValue::String(text) if text.is_empty() => Err("is empty".to_owned()),
            DeValue::String(text) => Ok(text.clone().into_owned()),
            _ => Err("must be a string (write it in quotes)".to_owned()),
        }
    }
}

impl Value for Secret {
    const SECRET: bool = true;

    fn read(value: &DeValue<'_>) -> Result<Secret, String> {
        match value {
            DeValue::String(text) => Ok(Secret::from(text.as_ref())),
            _ => Err("must be a string (write it in quotes)".to_owned()),
        }
    }
}

impl Value for bool {
    fn read(value: &DeValue<'_>) -> Result<bool, String> {
        value
            .as_bool()
            .ok_or_else(|| "must be true or false, without quotes".to_owned())
    }
}

impl Value for i64 {
    fn read(value: &DeValue<'_>) -> Result<i64, String> {
        let DeValue::Integer(number) = value else {
            return Err("must be a whole number, without quotes".to_owned());
        };
        i64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| "is too large a number".to_owned())
    }
}

impl Value for ByteSize {
    fn read(value: &DeValue<'_>) -> Result<ByteSize, String> {
        match value {
            DeValue::Integer(number) => number
                .as_str()
                .parse()
                .map_err(|problem| format!("is {problem}")),
            _ => text(value)?
                .parse()
                .map_err(|problem| format!("is {problem}")),
        }
    }
}

impl Value for Duration {
    fn read(value: &DeValue<'_>) -> Result<Duration, String> {
        let text = value
            .as_str()
            .ok_or("must be a duration in quotes, as in \"15m\" or \"1h30m\"")?;
        parse_span(text).map_err(|problem| format!("is {problem}"))
    }
}

impl Value for Rate {
    fn read(value: &DeValue<'_>) -> Result<Rate, String> {
        text(value)?
            .parse()
            .map_err(|problem| format!("is {problem}"))
    }
}

impl Value for SocketAddr {
    fn read(value: &DeValue<'_>) -> Result<SocketAddr, String> {
        text(value)?.parse().map_err(|_| {
            "is not an address with a port (as in \"127.0.0.1:8321\" or \"[::1]:8321\")".to_owned()
        })
    }
}

impl Value for Vec<String> {
    fn read(value: &DeValue<'_>) -> Result<Vec<String>, String> {
        const LIST: &str = "must be a list of strings, as in [\"one\", \"two\"]";
        let array = value.as_array().ok_or(LIST)?;
        array
            .iter()
            .map(|item| match item.get_ref().as_str() {
                Some("") => Err("must not hold an empty string".to_owned()),
                Some(text) => Ok(text.to_owned()),
                None => Err(LIST.to_owned()),
            })
            .collect()
    }
}

impl<T: Words> Value for T {
    fn read(value: &DeValue<'_>) -> Result<T, String> {
        let word = text(value)?;
        if let Some((_, value)) = T::WORDS.iter().find(|(known, _)| *known == word) {
            return Ok(*value);
        }
        let known = T::WORDS.iter().map(|(word, _)| *word);
        let all = known.clone().collect::<Vec<_>>().join(", ");
        Err(match nearest(word, known) {
            Some(near) => format!("is not one of {all} (did you mean {near:?}?)"),
            None => format!("is not one of {all}"),
        })
    }
}

/// The value as written, with a space behind it, if it is short.
pub(super) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.is_empty() => String::new(),
        DeValue::String(text) => format!("{text:?} "),
        DeValue::Integer(number) => format!("{number} "),
        DeValue::Float(number) => format!("{number} "),
        DeValue::Boolean(value) => format!("{value} "),
        DeValue::Datetime(time) => format!("{time} "),
        DeValue::Array(_) | DeValue::Table(_) => String::new(),
    }
}

fn text<'a>(value: &'a DeValue<'_>) -> Result<&'a str, String> {
    value
        .as_str()
        .ok_or_else(|| "must be a string (write it in quotes)".to_owned())
}

/// Writes a choice back as its word.
pub(super) fn show_word<T: Words + PartialEq>(value: T, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let word = T::WORDS.iter().find(|(_, known)| *known == value);
    f.write_str(word.map_or("?", |(word, _)| word))
}
