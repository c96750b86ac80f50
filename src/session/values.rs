//! The values of one execution, as the planner's routes ask for them.

use std::borrow::Cow;

use crate::plan::Values;
use crate::protocol::frontend::{BindView, Format};
use crate::sql::Literal;
use crate::types::{Oid, Raw};

/// A simple query: literals only.
pub struct TextValues<'a> {
    /// The statement's text.
    pub text: &'a str,
    /// Its literals.
    pub literals: &'a [Literal],
}

impl Values for TextValues<'_> {
    fn literal(&self, index: u16) -> Option<Raw<'_>> {
        self.literals.get(usize::from(index))?.raw(self.text)
    }

    fn parameter(&self, _index: u16) -> Option<Raw<'_>> {
        None
    }
}

/// A bound statement: the prepared text's literals, and the Bind message's parameters.
pub struct BoundValues<'a> {
    /// The prepared text.
    pub text: &'a str,
    /// Its literals.
    pub literals: &'a [Literal],
    /// Declared parameter types.
    pub types: &'a [Oid],
    /// The Bind message.
    pub bind: &'a BindView<'a>,
}

impl Values for BoundValues<'_> {
    fn literal(&self, index: u16) -> Option<Raw<'_>> {
        self.literals.get(usize::from(index))?.raw(self.text)
    }

    fn parameter(&self, index: u16) -> Option<Raw<'_>> {
        let (format, value) = self.bind.parameter(usize::from(index))?;
        let oid = self.types.get(usize::from(index)).copied().unwrap_or(0);
        let Some(bytes) = value else { return Some(Raw::Null) };
        match format {
            // Invalid UTF-8 is no key: the statement is refused, as the server would refuse it.
            Format::Text => Some(Raw::Text { text: Cow::Borrowed(std::str::from_utf8(bytes).ok()?), oid }),
            Format::Binary => Some(Raw::Binary { bytes, oid }),
        }
    }
}

/// SQL's EXECUTE: the prepared text's literals, and arguments as SQL literals.
pub struct ExecuteValues<'a> {
    /// The prepared text.
    pub text: &'a str,
    /// Its literals.
    pub literals: &'a [Literal],
    /// One for each argument; none where it is not a plain literal.
    pub arguments: &'a [Option<Raw<'a>>],
}

impl Values for ExecuteValues<'_> {
    fn literal(&self, index: u16) -> Option<Raw<'_>> {
        self.literals.get(usize::from(index))?.raw(self.text)
    }

    fn parameter(&self, index: u16) -> Option<Raw<'_>> {
        self.arguments.get(usize::from(index))?.clone()
    }
}
