//! Changes of a vschema: what DDL and ALTER VSCHEMA do to the operator's files.
//!
//! A [`Change`] edits the *text* of the files, and the result is read and validated as any file is ([`load`](super::load())): so there is
//! one opinion on what a layout may say, and what operators wrote around it (comments, order, their own way of writing a value) stays as it is.
//! It is applied to the files when it becomes final, and to [`Vschema::to_toml`](super::Vschema::to_toml) for a transaction that has to see it before.
//!
//! - [`edit`]: the text.
//! - [`mod@parse`]: ALTER VSCHEMA's grammar.

mod edit;
pub mod parse;

#[cfg(test)]
mod tests;

pub use edit::apply;

/// A table as the vschema knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// Its schema on the shards.
    pub schema: String,
    /// Its name there.
    pub name: String,
}

impl TableName {
    /// A table.
    pub fn new(schema: &str, name: &str) -> TableName {
        TableName { schema: schema.to_owned(), name: name.to_owned() }
    }

    /// The key of its section: `orders` for public.orders, otherwise `schema.table`.
    pub fn key(&self) -> String {
        if self.schema == "public" && !self.name.contains('.') {
            return self.name.clone();
        }
        format!("{}.{}", self.schema, self.name)
    }
}

/// Where a table's rows are, by names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The keyspace; none: the only one there is.
    pub keyspace: Option<String>,
    /// How they are spread over it.
    pub kind: PlaceKind,
}

/// How a table's rows are spread, by names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceKind {
    /// Each row where its shard key leads.
    Sharded {
        /// The shard key.
        columns: Vec<String>,
        /// The vindex that reads it.
        vindex: String,
    },
    /// A whole copy on every shard.
    Reference,
    /// All rows on one shard; none: the keyspace's first.
    Unsharded {
        /// That shard.
        shard: Option<String>,
    },
}

/// An option's value, as it is written in a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// A string.
    Text(String),
    /// An integer.
    Number(i64),
    /// `true` or `false`.
    Flag(bool),
    /// Anything else, in TOML's own words: an array of ranges.
    Toml(String),
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A table has this place from now on, whether it had one before or not.
    Place {
        /// The table.
        table: TableName,
        /// Its place.
        place: Place,
    },
    /// A table has none any more.
    Forget {
        /// The table.
        table: TableName,
        /// It is no mistake if it has none.
        missing_ok: bool,
    },
    /// A table has another name.
    Rename {
        /// Until now.
        from: TableName,
        /// From now on.
        to: TableName,
    },
    /// A column of a table's shard key has another name.
    RenameColumn {
        /// The table.
        table: TableName,
        /// Until now.
        from: String,
        /// From now on.
        to: String,
    },
    /// A new vindex.
    CreateVindex {
        /// Its name.
        name: String,
        /// One of [`KINDS`](crate::vindex::KINDS).
        kind: String,
        /// The kind's options, and `keyspace`.
        options: Vec<(String, Setting)>,
        /// One of the same kind and options is no mistake.
        exists_ok: bool,
    },
    /// A vindex that no table uses.
    DropVindex {
        /// Its name.
        name: String,
    },
}
