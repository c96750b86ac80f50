//! What a query puts out, as far as the planner knows.

use super::facts::Node;
use crate::plan::KeySource;
use crate::types::KeyType;

/// One column that a query puts out.
#[derive(Debug, Clone, Default)]
pub(super) struct Output {
    /// `None` if PostgreSQL makes one up.
    pub name: Option<String>,
    /// The column it is, if it is one.
    pub node: Option<Node>,
    pub key_type: Option<KeyType>,
    /// The value it is, if it is one.
    pub source: Option<KeySource>,
}

/// What a query puts out.
#[derive(Debug, Clone, Default)]
pub(super) struct Outputs {
    pub columns: Vec<Output>,
    /// These are all columns, in their order.
    pub complete: bool,
    /// What puts them out, in the [`tree`].
    pub part: Option<usize>,
}

impl Outputs {
    pub fn unknown() -> Outputs {
        Outputs { columns: Vec::new(), complete: false, part: None }
    }

    pub fn rename(&mut self, names: &[String]) {
        if names.is_empty() {
            return;
        }
        if !self.complete {
            // The n-th name may be about a column that is not known.
            *self = Outputs { part: self.part, ..Outputs::unknown() };
            return;
        }
        for (column, name) in self.columns.iter_mut().zip(names) {
            column.name = Some(name.clone());
        }
    }
}
