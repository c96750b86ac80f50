//! ALTER VSCHEMA, in the grammar of Vitess where that has the words:
//!
//! ```text
//! ALTER VSCHEMA CREATE VINDEX [IF NOT EXISTS] name USING kind [WITH option = value, ...]
//! ALTER VSCHEMA DROP VINDEX name
//! ALTER VSCHEMA ADD TABLE table [IN KEYSPACE keyspace] [TYPE reference | unsharded [ON SHARD shard]]
//! ALTER VSCHEMA DROP TABLE [IF EXISTS] table
//! ALTER VSCHEMA ON table ADD VINDEX vindex (column, ...) [USING kind [WITH ...]] [IN KEYSPACE keyspace]
//! ALTER VSCHEMA ON table DROP VINDEX vindex
//! ALTER VSCHEMA ADD SEQUENCE sequence
//! ALTER VSCHEMA DROP SEQUENCE sequence
//! ALTER VSCHEMA ON table ADD SEQUENCE [sequence] (column)
//! ALTER VSCHEMA ON table DROP SEQUENCE (column)
//! ```
//!
//! WITH may stand in parentheses. A value is a string, a number, `true` or `false`, or in dollar quotes whatever TOML allows. What
//! is parsed is what is meant, in [`Statement`]; what becomes of the files depends on what they say ([`Statement::changes`]). Sequences are no
//! part of the files: they are the shards' own, and are changed there.

use super::{Change, Place, PlaceKind, Setting, TableName};
use crate::error::PgError;
use crate::sql::classify::name_of;
use crate::sql::lexer::position;
use crate::sql::{Limits, Token, TokenKind, lex};
use crate::sqlstate::SqlState;
use crate::vindex;
use crate::vschema::{TablePlacement, Vschema};

/// A vindex to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Making {
    /// Its kind.
    pub kind: String,
    /// Its options.
    pub options: Vec<(String, Setting)>,
}

/// What ALTER VSCHEMA says.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// CREATE VINDEX.
    CreateVindex {
        /// Its name.
        name: String,
        /// What it is.
        making: Making,
        /// IF NOT EXISTS.
        exists_ok: bool,
    },
    /// DROP VINDEX.
    DropVindex {
        /// Its name.
        name: String,
    },
    /// ADD TABLE.
    AddTable {
        /// The table.
        table: TableName,
        /// Its keyspace.
        keyspace: Option<String>,
        /// TYPE.
        kind: Option<PlaceKind>,
    },
    /// DROP TABLE.
    DropTable {
        /// The table.
        table: TableName,
        /// IF EXISTS.
        missing_ok: bool,
    },
    /// ON table ADD VINDEX.
    AddVindex(AddVindex),
    /// ON table DROP VINDEX.
    RemoveVindex {
        /// The table.
        table: TableName,
        /// The vindex.
        vindex: String,
    },
    /// ADD SEQUENCE.
    CreateSequence {
        /// Its name.
        sequence: TableName,
    },
    /// DROP SEQUENCE.
    DropSequence {
        /// Its name.
        sequence: TableName,
    },
    /// ON table ADD SEQUENCE.
    AddSequence {
        /// The table.
        table: TableName,
        /// The sequence, if it is there already.
        sequence: Option<TableName>,
        /// The column that it fills.
        column: String,
    },
    /// ON table DROP SEQUENCE.
    RemoveSequence {
        /// The table.
        table: TableName,
        /// The column that it fills.
        column: String,
    },
}

/// ON table ADD VINDEX: a shard key, or a lookup beside it. What a kind makes of it is for whoever carries it out: a lookup has a table to be made and filled.
#[derive(Debug, Clone, PartialEq)]
pub struct AddVindex {
    /// The table.
    pub table: TableName,
    /// The vindex.
    pub vindex: String,
    /// The columns that it reads.
    pub columns: Vec<String>,
    /// It is made with that, or has to be what it says.
    pub making: Option<Making>,
    /// The table's keyspace, if it has no place yet.
    pub keyspace: Option<String>,
}

/// Reads a statement that begins with ALTER VSCHEMA.
pub fn parse(text: &str) -> Result<Statement, PgError> {
    let tokens = lex(text, &Limits::default())?;
    let mut reader = Reader { text, tokens: &tokens, at: 0 };
    reader.word("alter")?;
    reader.word("vschema")?;
    let statement = reader.statement()?;
    let _ = reader.eat_kind(TokenKind::Semicolon);
    if reader.at < tokens.len() {
        return Err(reader.wrong());
    }
    Ok(statement)
}

struct Reader<'t> {
    text: &'t str,
    tokens: &'t [Token],
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self) -> PgError {
        let (message, at) = match self.tokens.get(self.at) {
            Some(token) => (format!("syntax error at or near \"{}\"", token.text(self.text)), token.start as usize),
            None => ("syntax error at end of input".to_owned(), self.text.len()),
        };
        PgError::new(SqlState::SYNTAX_ERROR, message)
            .with_hint(
                "ALTER VSCHEMA { CREATE VINDEX v USING kind [WITH option = value] | DROP VINDEX v | ADD TABLE t [IN KEYSPACE k] [TYPE reference] \
                 | DROP TABLE t | ON t ADD VINDEX v (column) [USING kind] | ON t DROP VINDEX v | ADD SEQUENCE s | DROP SEQUENCE s | ON t ADD SEQUENCE (column) | ON t DROP SEQUENCE (column) }",
            )
            .at(position(self.text, at))
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|token| token.is(self.text, word));
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> Result<(), PgError> {
        if self.eat(word) { Ok(()) } else { Err(self.wrong()) }
    }

    fn eat_kind(&mut self, kind: TokenKind) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|token| token.kind == kind);
        self.at += usize::from(found);
        found
    }

    fn kind(&mut self, kind: TokenKind) -> Result<(), PgError> {
        if self.eat_kind(kind) { Ok(()) } else { Err(self.wrong()) }
    }

    fn name(&mut self) -> Result<String, PgError> {
        let name = self.tokens.get(self.at).and_then(|token| name_of(self.text, *token)).map(|name| name.into_owned());
        self.at += usize::from(name.is_some());
        name.ok_or_else(|| self.wrong())
    }

    fn table(&mut self) -> Result<TableName, PgError> {
        let first = self.name()?;
        if self.eat_kind(TokenKind::Dot) {
            return Ok(TableName::new(&first, &self.name()?));
        }
        Ok(TableName::new("public", &first))
    }

    fn statement(&mut self) -> Result<Statement, PgError> {
        if self.eat("create") {
            self.word("vindex")?;
            let exists_ok = self.eat("if");
            if exists_ok {
                self.word("not")?;
                self.word("exists")?;
            }
            let name = self.name()?;
            self.word("using")?;
            let making = self.making()?;
            return Ok(Statement::CreateVindex { name, making, exists_ok });
        }
        if self.eat("drop") {
            if self.eat("vindex") {
                return Ok(Statement::DropVindex { name: self.name()? });
            }
            if self.eat("sequence") {
                return Ok(Statement::DropSequence { sequence: self.table()? });
            }
            self.word("table")?;
            let missing_ok = self.eat("if");
            if missing_ok {
                self.word("exists")?;
            }
            return Ok(Statement::DropTable { table: self.table()?, missing_ok });
        }
        if self.eat("add") {
            if self.eat("sequence") {
                return Ok(Statement::CreateSequence { sequence: self.table()? });
            }
            self.word("table")?;
            let table = self.table()?;
            let (mut keyspace, mut kind) = (None, None);
            loop {
                if self.eat("in") {
                    keyspace = Some(self.keyspace()?);
                } else if self.eat("type") {
                    kind = Some(self.place()?);
                } else {
                    return Ok(Statement::AddTable { table, keyspace, kind });
                }
            }
        }
        self.word("on")?;
        let table = self.table()?;
        let add = self.eat("add");
        if !add {
            self.word("drop")?;
        }
        if self.eat("sequence") {
            let listed = self.tokens.get(self.at).is_some_and(|token| token.kind == TokenKind::LeftParen);
            let sequence = if add && !listed { Some(self.table()?) } else { None };
            self.kind(TokenKind::LeftParen)?;
            let column = self.name()?;
            self.kind(TokenKind::RightParen)?;
            return Ok(match add {
                true => Statement::AddSequence { table, sequence, column },
                false => Statement::RemoveSequence { table, column },
            });
        }
        self.word("vindex")?;
        let vindex = self.name()?;
        if !add {
            return Ok(Statement::RemoveVindex { table, vindex });
        }
        let mut columns = Vec::new();
        self.kind(TokenKind::LeftParen)?;
        loop {
            columns.push(self.name()?);
            if !self.eat_kind(TokenKind::Comma) {
                break;
            }
        }
        self.kind(TokenKind::RightParen)?;
        let (mut making, mut keyspace) = (None, None);
        loop {
            if self.eat("using") {
                making = Some(self.making()?);
            } else if self.eat("in") {
                keyspace = Some(self.keyspace()?);
            } else {
                return Ok(Statement::AddVindex(AddVindex { table, vindex, columns, making, keyspace }));
            }
        }
    }

    fn keyspace(&mut self) -> Result<String, PgError> {
        self.word("keyspace")?;
        self.name()
    }

    fn place(&mut self) -> Result<PlaceKind, PgError> {
        if self.eat("reference") {
            return Ok(PlaceKind::Reference);
        }
        self.word("unsharded")?;
        let shard = match self.eat("on") {
            true => {
                self.word("shard")?;
                Some(self.name()?)
            }
            false => None,
        };
        Ok(PlaceKind::Unsharded { shard })
    }

    fn making(&mut self) -> Result<Making, PgError> {
        let kind = self.name()?;
        let mut options = Vec::new();
        if self.eat("with") {
            let parenthesized = self.eat_kind(TokenKind::LeftParen);
            loop {
                let name = self.name()?;
                let equals = self.tokens.get(self.at).is_some_and(|token| token.text(self.text) == "=");
                if !equals {
                    return Err(self.wrong());
                }
                self.at += 1;
                options.push((name, self.setting()?));
                if !self.eat_kind(TokenKind::Comma) {
                    break;
                }
            }
            if parenthesized {
                self.kind(TokenKind::RightParen)?;
            }
        }
        Ok(Making { kind, options })
    }

    fn setting(&mut self) -> Result<Setting, PgError> {
        let Some(token) = self.tokens.get(self.at).copied() else { return Err(self.wrong()) };
        let text = token.text(self.text);
        let setting = match token.kind {
            TokenKind::String => Setting::Text(text.trim_matches('\'').replace("''", "'")),
            TokenKind::Integer => text.parse().map(Setting::Number).map_err(|_| self.wrong())?,
            TokenKind::Decimal => Setting::Toml(text.to_owned()),
            TokenKind::DollarString => {
                let tag = text.get(1..).and_then(|rest| rest.find('$')).map_or(0, |at| at + 2);
                Setting::Toml(text.get(tag..text.len().saturating_sub(tag)).unwrap_or("").trim().to_owned())
            }
            TokenKind::Word if token.is(self.text, "true") || token.is(self.text, "false") => {
                Setting::Flag(token.is(self.text, "true"))
            }
            TokenKind::Word | TokenKind::QuotedName => return Ok(Setting::Text(self.name()?)),
            _ => return Err(self.wrong()),
        };
        self.at += 1;
        Ok(setting)
    }
}

impl Statement {
    /// What becomes of the files. The result still has to be valid as a whole.
    pub fn changes(&self, vschema: &Vschema) -> Result<Vec<Change>, PgError> {
        Ok(match self {
            Statement::CreateVindex { name, making, exists_ok } => vec![create(name, making, *exists_ok)?],
            Statement::DropVindex { name } => vec![Change::DropVindex { name: name.clone() }],
            Statement::AddTable { table, keyspace, kind } => {
                if vschema.table(&table.schema, &table.name).is_some() {
                    let message = format!("table \"{}\" is in the vschema already", table.key());
                    return Err(PgError::new(SqlState::DUPLICATE_OBJECT, message).with_hint(format!(
                        "ALTER VSCHEMA DROP TABLE {} first; the table itself stays as it is.",
                        table.key()
                    )));
                }
                let keyspace = keyspace.clone().or_else(|| only_keyspace(vschema));
                let kind = match kind {
                    Some(kind) => kind.clone(),
                    None => PlaceKind::Unsharded { shard: None },
                };
                vec![Change::Place { table: table.clone(), place: Place { keyspace, kind } }]
            }
            Statement::DropTable { table, missing_ok } => {
                vec![Change::Forget { table: table.clone(), missing_ok: *missing_ok }]
            }
            Statement::AddVindex(add) => add.changes(vschema)?,
            Statement::RemoveVindex { table, vindex } => {
                let known = vschema.table(&table.schema, &table.name);
                let mut lookups = vschema.lookups(&table.schema, &table.name);
                if lookups.any(|(id, _)| vschema.vindex(id).name == *vindex) {
                    return Ok(vec![Change::DropVindex { name: vindex.clone() }]);
                }
                let uses = known.is_some_and(|known| match known.placement {
                    TablePlacement::Sharded { vindex: id, .. } => vschema.vindex(id).name == *vindex,
                    _ => false,
                });
                if !uses {
                    let message = format!("table \"{}\" has no vindex \"{vindex}\"", table.key());
                    return Err(PgError::new(SqlState::UNDEFINED_OBJECT, message));
                }
                // Without its shard key nothing says where its rows are.
                vec![Change::Forget { table: table.clone(), missing_ok: false }]
            }
            Statement::CreateSequence { .. }
            | Statement::DropSequence { .. }
            | Statement::AddSequence { .. }
            | Statement::RemoveSequence { .. } => Vec::new(),
        })
    }
}

fn create(name: &str, making: &Making, exists_ok: bool) -> Result<Change, PgError> {
    if vindex::kind(&making.kind).is_none() {
        let known: Vec<&str> = vindex::KINDS.iter().map(|kind| kind.name).collect();
        let message = format!("vindex kind \"{}\" does not exist", making.kind);
        return Err(PgError::new(SqlState::UNDEFINED_OBJECT, message)
            .with_hint(format!("The kinds are: {}.", known.join(", "))));
    }
    let (name, kind, options) = (name.to_owned(), making.kind.clone(), making.options.clone());
    Ok(Change::CreateVindex { name, kind, options, exists_ok })
}

/// The keyspace that goes without saying: the only one, or the only one of several shards.
fn only_keyspace(vschema: &Vschema) -> Option<String> {
    let mut spread = vschema.keyspaces.iter().filter(|keyspace| keyspace.shards.len() > 1);
    match (vschema.keyspaces.len(), spread.next(), spread.next()) {
        (1, ..) => vschema.keyspaces.first().map(|keyspace| keyspace.name.clone()),
        (_, Some(only), None) => Some(only.name.clone()),
        _ => None,
    }
}

/// Whether a kind finds rows beside a shard key.
pub fn is_lookup(kind: &str) -> bool {
    matches!(kind, "lookup" | "lookup_unique")
}

impl AddVindex {
    /// A lookup names its table and column by itself.
    fn lookup(&self, vschema: &Vschema, making: &Making, known: bool) -> Result<Vec<Change>, PgError> {
        if known {
            let message = format!("vindex \"{}\" already exists", self.vindex);
            return Err(PgError::new(SqlState::DUPLICATE_OBJECT, message));
        }
        let Some(table) = vschema.table(&self.table.schema, &self.table.name) else {
            let message = format!("table \"{}\" is not in the vschema", self.table.key());
            return Err(PgError::new(SqlState::UNDEFINED_TABLE, message));
        };
        let keyspace = vschema.keyspace(table.keyspace).name.clone();
        let text = |key: &str, value: String| (key.to_owned(), Setting::Text(value));
        let mut making = making.clone();
        making.options.retain(|(key, _)| !matches!(key.as_str(), "table" | "column" | "keyspace"));
        making.options.push(text("keyspace", keyspace));
        making.options.push(text("table", self.table.key()));
        making.options.push(text("column", self.columns.join(", ")));
        Ok(vec![create(&self.vindex, &making, false)?])
    }

    /// The table's shard key is this, read by the vindex, which is made if it has to be.
    fn changes(&self, vschema: &Vschema) -> Result<Vec<Change>, PgError> {
        let known = vschema.vindexes.iter().find(|known| known.name == self.vindex);
        if let Some(making) = self.making.as_ref().filter(|making| is_lookup(&making.kind)) {
            return self.lookup(vschema, making, known.is_some());
        }
        let mut changes = Vec::new();
        match (known, &self.making) {
            (Some(known), Some(making)) if known.kind != making.kind => {
                let message = format!("vindex \"{}\" is of kind {}, not {}", self.vindex, known.kind, making.kind);
                return Err(PgError::new(SqlState::DUPLICATE_OBJECT, message));
            }
            (Some(_), _) => {}
            (None, Some(making)) => changes.push(create(&self.vindex, making, false)?),
            (None, None) => {
                let message = format!("vindex \"{}\" does not exist", self.vindex);
                return Err(PgError::new(SqlState::UNDEFINED_OBJECT, message)
                    .with_hint("Add USING kind to make it, or ALTER VSCHEMA CREATE VINDEX first."));
            }
        }
        let table = vschema.table(&self.table.schema, &self.table.name);
        if let Some(TablePlacement::Sharded { columns, vindex }) = table.map(|table| &table.placement) {
            let name = &vschema.vindex(*vindex).name;
            if *columns == self.columns && *name == self.vindex {
                let message = format!("table \"{}\" has vindex \"{name}\" already", self.table.key());
                return Err(PgError::new(SqlState::DUPLICATE_OBJECT, message));
            }
            return Err(PgError::unsupported(format!("table \"{}\" has a shard key already", self.table.key()))
                .with_detail(format!("Its rows lie where {} leads by {name}.", columns.join(", ")))
                .with_hint("A lookup vindex may stand beside it: USING lookup or lookup_unique. For another shard key make a new table."));
        }
        let keyspace = self
            .keyspace
            .clone()
            .or_else(|| table.map(|table| vschema.keyspace(table.keyspace).name.clone()))
            .or_else(|| only_keyspace(vschema));
        let kind = PlaceKind::Sharded { columns: self.columns.clone(), vindex: self.vindex.clone() };
        changes.push(Change::Place { table: self.table.clone(), place: Place { keyspace, kind } });
        Ok(changes)
    }
}
