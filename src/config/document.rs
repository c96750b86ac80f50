//! A TOML file that knows its lines: the one way from a mistake to `file:line: key: what is wrong`.
//!
//! Both of the operators' files are read through here, so that both fail in the same words. A document keeps the span of
//! every key and value; a check that runs long after parsing names a path (`shard`, `s0`, `primary`) and gets a line.

use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::types::nearest;

/// A mistake in a file that an operator writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// As the operator calls it.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// The dotted key it is about, such as `pool.size`; empty if it is not about one.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What the operator can do.
    pub hint: Option<String>,
}

impl FileError {
    /// The same error with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with the name that was probably meant as its hint.
    pub fn nearest<'n>(mut self, wrong: &str, names: impl Iterator<Item = &'n str>) -> Self {
        self.hint = nearest::hint(wrong, names).or(self.hint);
        self
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FileError {}

/// A parsed file with the place of everything in it.
#[derive(Debug)]
pub struct Document<'a> {
    file: &'a str,
    text: &'a str,
    root: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    /// Parses the text; only its syntax is checked.
    pub fn parse(file: &'a str, text: &'a str) -> Result<Self, FileError> {
        match DeTable::parse(text) {
            Ok(root) => Ok(Document { file, text, root }),
            Err(error) => {
                let message = error.message().trim().to_owned();
                let duplicate = message.contains("duplicate key");
                let line = line_of(text, error.span().map_or(text.len(), |span| span.start));
                let word = error.span().and_then(|span| text.get(span)).unwrap_or_default().trim();
                let key = if duplicate { word.to_owned() } else { String::new() };
                let hint =
                    duplicate.then(|| "A name may be used once in a file: rename or remove one of the two.".into());
                Err(FileError { file: file.to_owned(), line, key, message, hint })
            }
        }
    }

    /// The file's name.
    pub fn file(&self) -> &'a str {
        self.file
    }

    /// The whole file as a type; unknown keys, missing keys and wrong types are errors.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, FileError> {
        T::deserialize(toml::de::Deserializer::from(self.root.clone())).map_err(|error| self.from_toml(&error))
    }

    /// The value at a path.
    pub fn value(&self, path: &[&str]) -> Option<&Spanned<DeValue<'a>>> {
        let (last, tables) = path.split_last()?;
        let mut table = self.root.get_ref();
        for step in tables {
            table = table.get(*step)?.get_ref().as_table()?;
        }
        table.get(*last)
    }

    /// The keys of the table at a path, in the file's order.
    pub fn keys(&self, path: &[&str]) -> Vec<String> {
        let table = if path.is_empty() {
            Some(self.root.get_ref())
        } else {
            self.value(path).and_then(|value| value.get_ref().as_table())
        };
        let mut keys: Vec<_> =
            table.into_iter().flatten().map(|(key, _)| (key.span().start, key.get_ref().to_string())).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// An error at a path; array elements are steps such as `0`. What the path does not find, its nearest parent stands for.
    pub fn error(&self, path: &[&str], message: impl Into<String>) -> FileError {
        let mut start = 0;
        let mut table = Some(self.root.get_ref());
        let mut array = None;
        for step in path {
            let next: Option<&Spanned<DeValue<'_>>> = if let Some(found) = table {
                match found.get_key_value(*step) {
                    Some((key, value)) => {
                        start = key.span().start;
                        Some(value)
                    }
                    None => None,
                }
            } else if let Some(found) = array {
                let found: &toml::de::DeArray<'_> = found;
                step.parse().ok().and_then(|index: usize| found.get(index)).inspect(|value: &&Spanned<_>| {
                    start = value.span().start;
                })
            } else {
                None
            };
            let Some(next) = next else { break };
            table = next.get_ref().as_table();
            array = next.get_ref().as_array();
        }
        FileError {
            file: self.file.to_owned(),
            line: line_of(self.text, start),
            key: path.join("."),
            message: message.into(),
            hint: None,
        }
    }

    /// An error at a place of the text, with the key found there.
    pub fn error_at(&self, span: Range<usize>, message: impl Into<String>) -> FileError {
        let mut path = Vec::new();
        find(self.root.get_ref(), &span, &mut path);
        let line = line_of(self.text, span.start);
        FileError { file: self.file.to_owned(), line, key: path.join("."), message: message.into(), hint: None }
    }

    /// What the TOML library says, in our words.
    pub fn from_toml(&self, error: &toml::de::Error) -> FileError {
        self.from_message(error.span(), error.message())
    }

    /// As [`from_toml`](Self::from_toml), from a message and its place.
    pub fn from_message(&self, span: Option<Range<usize>>, message: &str) -> FileError {
        let at = |message: String| match span.clone() {
            Some(span) => self.error_at(span, message),
            None => self.error(&[], message),
        };
        let mut quoted = message.split('`').skip(1).step_by(2);
        if message.starts_with("unknown field") {
            let wrong = quoted.next().unwrap_or_default();
            let known: Vec<&str> = quoted.collect();
            return at(format!("unknown key `{wrong}`")).nearest(wrong, known.into_iter());
        }
        if message.starts_with("unknown variant") {
            let wrong = quoted.next().unwrap_or_default();
            let known: Vec<&str> = quoted.collect();
            return at(format!("\"{wrong}\" is not possible here")).nearest(wrong, known.into_iter());
        }
        if let Some(name) = message.strip_prefix("missing field") {
            let name = name.trim().trim_matches('`');
            let mut error = at(format!("the key `{name}` is missing"));
            // The file as a whole has no key of its own.
            if span.as_ref().is_none_or(|span| span.start == 0) {
                error.key = String::new();
            }
            return error.hint(format!("Add `{name} = ...` to this table."));
        }
        if let Some((got, wanted)) =
            message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
        {
            let wanted = plain(wanted);
            return at(format!("wrong type: {got}")).hint(format!("Write {wanted}."));
        }
        at(message.to_owned())
    }
}

/// Rust's names of types, in words that an operator knows.
fn plain(expected: &str) -> &str {
    match expected {
        "usize" | "u64" | "u32" | "u16" | "i64" => "a number without quotes",
        "f64" => "a number",
        "a boolean" | "bool" => "true or false",
        "a string" => "a string in double quotes",
        "a sequence" => "an array: [ ... ]",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}

/// The path of the innermost key whose name or value lies around the span.
fn find(table: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>) {
    let around = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    for (key, value) in table {
        if around(key.span()) {
            path.push(key.get_ref().to_string());
            return;
        }
        path.push(key.get_ref().to_string());
        let before = path.len();
        match value.get_ref() {
            DeValue::Table(inner) => find(inner, span, path),
            DeValue::Array(items) => {
                for item in items.iter() {
                    if let DeValue::Table(inner) = item.get_ref() {
                        find(inner, span, path);
                    }
                    if path.len() > before {
                        break;
                    }
                }
            }
            _ => {}
        }
        if path.len() > before || around(value.span()) {
            return;
        }
        path.pop();
    }
}
