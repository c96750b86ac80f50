//! Cursors over several shards: DECLARE of a query that no single shard answers.
//!
//! Such a cursor is the session's own. In a transaction its shards' portals stay open, and rows are fetched from them in batches as the client
//! asks for them; what the cursor may have to go back to is kept here. WITH HOLD, and a query that is answered in steps, fetch all rows
//! at once: they have to outlive what they came from.
//!
//! As in PostgreSQL a cursor sees what was there when it was declared, because then its portals are opened; it is gone with the transaction,
//! or with a ROLLBACK TO a savepoint before it, unless a COMMIT has come that it is to outlive.

use bytes::{Bytes, BytesMut};

use super::rows::{Rows, Scroll};
use crate::error::PgError;
use crate::plan::work::Steps;
use crate::plan::{Plan, Verdict};
use crate::session::route::Destination;
use crate::session::scatter::{Scattered, portal::set_formats};
use crate::session::sql_execute::Settled;
use crate::session::statements::Statement;
use crate::session::work::Assignment;
use crate::session::work::outlet::Outlet;
use crate::session::{Session, Trouble};
use crate::sql::{self, Command, TokenKind};
use crate::sqlstate::SqlState;
use std::sync::Arc;

/// A cursor over several shards.
pub(in crate::session) struct Declared {
    pub name: String,
    /// Its values are in binary form.
    pub binary: bool,
    hold: bool,
    /// The transaction that declared it has been committed.
    kept: bool,
    /// How many savepoints there were.
    depth: usize,
    /// The whole RowDescription, in the cursor's own form.
    pub description: Bytes,
    /// The columns' types as SQL, once they were asked for.
    pub types: Option<Vec<String>>,
    pub rows: Rows,
    /// Where more rows come from.
    pub source: Option<Box<Scattered>>,
}

/// A DECLARE whose query leads to several shards.
pub(in crate::session) struct Declaration {
    name: String,
    options: Options,
    /// The query, as a statement of its own.
    query: Arc<Statement>,
    /// The client's Bind message; empty for a simple query.
    bind: BytesMut,
}

/// What stands between the cursor's name and FOR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Options {
    binary: bool,
    hold: bool,
    scroll: Option<bool>,
}

impl std::fmt::Debug for Declaration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Declaration").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Session {
    /// What a DECLARE means whose query leads to several shards; none if it is for one.
    pub(in crate::session) fn declaration(
        &self,
        text: &str,
        command: &Command<'_>,
    ) -> Result<Option<Declaration>, PgError> {
        let Command::Declare { name, query, .. } = command else { return Ok(None) };
        let inner = text.get(query.clone()).unwrap_or_default();
        let (_, destination) = self.decide(inner)?;
        if !matches!(destination, Destination::Shards { .. } | Destination::Work) {
            return Ok(None);
        }
        let query = self.statement(inner, &[], None)?;
        let options = Options::of(text.get(..text.len() - inner.len()).unwrap_or_default());
        Ok(Some(Declaration { name: name.to_string(), options, query, bind: BytesMut::new() }))
    }

    /// The same for a bound statement.
    pub(in crate::session) fn bound_declaration(
        &self,
        statement: &Statement,
        values: &dyn crate::plan::Values,
        bind: &[u8],
    ) -> Result<Option<Declaration>, PgError> {
        let text = statement.text.trim_end().trim_end_matches(';');
        let Command::Declare { name, query, .. } = sql::classify(text) else { return Ok(None) };
        let inner = text.get(query).unwrap_or_default();
        let query = self.statement(inner, &statement.types, None)?;
        let plan = self.plan_for(&query);
        // Its literals are the whole text's, in the same order: there are none in front of the query.
        let destination = self.resolve(&plan, values)?;
        if !matches!(destination, Destination::Shards { .. } | Destination::Work) {
            return Ok(None);
        }
        let options = Options::of(text.get(..text.len() - inner.len()).unwrap_or_default());
        let bind = BytesMut::from(bind);
        Ok(Some(Declaration { name: name.to_string(), options, query, bind }))
    }

    /// DECLARE.
    pub(in crate::session) async fn declare(&mut self, declaration: Declaration) -> Result<(), Trouble> {
        let Declaration { name, options, query, bind } = declaration;
        if self.transaction.is_idle() && !options.hold {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(PgError::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message).into());
        }
        self.check_cursor_name(&name)?;
        self.set_aside().await?;
        let formats: &[i16] = if options.binary { &[1] } else { &[] };
        let simple = is_simple(&query.text, &self.state.sql_limits());
        let bind = rebound(&bind, formats)?;
        let Settled { statement: query, plan, destination, bind } = self.settled(query, bind).await?;
        let scroll = match options.scroll {
            Some(true) => Scroll::Yes,
            Some(false) => Scroll::No,
            None if simple => Scroll::Simple,
            None => Scroll::No,
        };
        let mut cursor = Declared {
            name,
            binary: options.binary,
            hold: options.hold,
            kept: self.transaction.is_idle(),
            depth: self.transaction.depth(),
            description: Bytes::new(),
            types: None,
            rows: Rows::new(scroll),
            source: None,
        };
        match self.fitting(&plan, &query.text, Some(&query), destination).await? {
            Destination::Shards { shards, rows } => {
                let (source, description) = self.open_source(&query, &plan, (shards, rows), bind).await?;
                cursor.description = description;
                cursor.source = Some(source);
                if cursor.hold {
                    while cursor.source.is_some() {
                        self.refill(&mut cursor, u64::MAX).await?;
                    }
                }
            }
            _ => self.gather_all(&mut cursor, query, &plan, bind).await?,
        }
        self.declared.push(cursor);
        Ok(())
    }

    /// Rows of a query that is answered in steps: all of them.
    async fn gather_all(
        &mut self,
        cursor: &mut Declared,
        query: Arc<Statement>,
        plan: &Plan,
        bind: BytesMut,
    ) -> Result<(), Trouble> {
        if let Verdict::Route(route) = &plan.verdict
            && route.work.as_ref().is_some_and(|work| !matches!(work.steps, Steps::Bench(_)))
        {
            let message = "DECLARE CURSOR must not contain data-modifying statements in WITH";
            return Err(PgError::unsupported(message).into());
        }
        let mut job = Assignment::new(plan, &query.text)?;
        job.statement = Some(query);
        job.bind = bind;
        let mut outlet = Outlet { kept: Some(BytesMut::new()), formats: job.formats()?, ..Outlet::default() };
        self.carry_out(&job, &mut outlet).await?;
        cursor.description = outlet.description.take().unwrap_or_default();
        cursor.rows.add(&mut outlet.kept.take().unwrap_or_default(), true)?;
        Ok(())
    }

    /// At most so many rows from the cursor's source.
    pub(in crate::session) async fn refill(&mut self, cursor: &mut Declared, count: u64) -> Result<(), Trouble> {
        /// Rows that are asked for at a time.
        const BATCH: u64 = 1000;
        let Some(source) = &mut cursor.source else {
            cursor.rows.add(&mut BytesMut::new(), true)?;
            return Ok(());
        };
        let limit = u32::try_from(count.clamp(1, BATCH)).unwrap_or(1);
        let (mut rows, over) = self.pull(source, limit).await?;
        if over {
            cursor.source = None;
        }
        Ok(cursor.rows.add(&mut rows, over)?)
    }

    /// No other cursor or portal may have the name.
    pub(in crate::session) fn check_cursor_name(&self, name: &str) -> Result<(), PgError> {
        let taken = self.declared.iter().any(|cursor| cursor.name == name)
            || self.cursor_shard(name).is_some()
            || self.portals.iter().any(|(known, _)| known == name);
        if taken {
            return Err(PgError::new(SqlState::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists")));
        }
        if self.declared.len() >= self.state.config.limits.max_prepared_per_session {
            return Err(PgError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many open cursors in this session")
                .with_hint("Close some, or raise limits.max_prepared_per_session."));
        }
        Ok(())
    }

    /// Whether a cursor over several shards has this name.
    pub(in crate::session) fn is_declared(&self, name: &str) -> bool {
        self.declared.iter().any(|cursor| cursor.name == name)
    }

    /// CLOSE of a cursor over several shards; of all of them without a name. Whether there was one.
    pub(in crate::session) async fn close_declared(&mut self, name: Option<&str>) -> Result<bool, Trouble> {
        let mut closed = false;
        while let Some(at) = self.declared.iter().position(|cursor| name.is_none_or(|name| cursor.name == name)) {
            let cursor = self.declared.remove(at);
            closed = true;
            if let Some(source) = cursor.source {
                self.close_source(source).await?;
            }
        }
        Ok(closed)
    }

    /// A transaction is over. If it was committed, what is WITH HOLD stays for good; nothing else does.
    pub(in crate::session) fn keep_declared(&mut self, committed: bool) {
        self.declared.retain(|cursor| cursor.kept || (committed && cursor.hold));
        for cursor in &mut self.declared {
            (cursor.kept, cursor.depth) = (true, 0);
        }
    }

    /// A ROLLBACK TO: what was declared since is gone.
    pub(in crate::session) fn declared_rolled_back(&mut self) {
        let depth = self.transaction.depth();
        self.declared.retain(|cursor| cursor.kept || cursor.depth < depth);
    }

    /// A RELEASE: what was declared since belongs to the savepoint before.
    pub(in crate::session) fn declared_released(&mut self) {
        let depth = self.transaction.depth();
        self.declared.iter_mut().for_each(|cursor| cursor.depth = cursor.depth.min(depth));
    }
}

impl Options {
    /// Reads `DECLARE name ... CURSOR ... FOR`.
    fn of(text: &str) -> Options {
        let tokens = sql::lex(text, &sql::Limits::default()).unwrap_or_default();
        let mut options = Options::default();
        let words: Vec<_> = tokens.iter().skip(2).collect();
        for (n, token) in words.iter().enumerate() {
            let behind = |word: &str| n > 0 && words[n - 1].is(text, word);
            match () {
                () if token.is(text, "binary") => options.binary = true,
                () if token.is(text, "scroll") => options.scroll = Some(!behind("no")),
                () if token.is(text, "hold") => options.hold = !behind("without"),
                () => {}
            }
        }
        options
    }
}

/// Whether PostgreSQL would run such a query backward without being told that it must (`ExecSupportsBackwardScan`): a scan of one table, sorted
/// perhaps.
fn is_simple(text: &str, limits: &sql::Limits) -> bool {
    const STEPS: &[&str] =
        &["join", "group", "having", "distinct", "union", "intersect", "except", "over", "with", "update", "share"];
    let Ok(tokens) = sql::lex(text, limits) else { return false };
    let (mut depth, mut from, mut selects) = (0i32, false, 0);
    for (n, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::LeftParen => depth += 1,
            TokenKind::RightParen => depth -= 1,
            TokenKind::Comma if depth == 0 && from => return false,
            TokenKind::Word => {
                if STEPS.iter().any(|word| token.is(text, word)) {
                    return false;
                }
                selects += i32::from(token.is(text, "select"));
                from |= depth == 0 && token.is(text, "from");
                from &= !(depth == 0 && ["where", "order", "limit", "offset"].iter().any(|word| token.is(text, word)));
                let aggregates = ["count", "sum", "min", "max", "avg", "array_agg", "string_agg"];
                let called = tokens.get(n + 1).is_some_and(|next| next.kind == TokenKind::LeftParen);
                if called && aggregates.iter().any(|name| token.is(text, name)) {
                    return false;
                }
            }
            _ => {}
        }
    }
    selects == 1
}

/// The client's Bind message with a cursor's formats instead of its own: those of a DECLARE are for an answer that has no rows.
fn rebound(bind: &[u8], formats: &[i16]) -> Result<BytesMut, PgError> {
    use crate::protocol::frame::HEADER;
    use crate::protocol::{BindView, request};
    let mut out = BytesMut::new();
    if bind.is_empty() {
        request::bind_values(&mut out, "", "", std::iter::empty(), formats);
        return Ok(out);
    }
    let view = BindView::new(&bind[HEADER..])?;
    let values: Vec<_> = view.parameters().enumerate().map(|(n, value)| (view.format(n), value)).collect();
    request::bind_values(&mut out, "", "", values.into_iter(), formats);
    Ok(out)
}

impl Declared {
    /// The RowDescription for a client that asked for these formats, which have to be the cursor's own.
    pub fn described(&self, formats: &[i16]) -> BytesMut {
        let mut message = BytesMut::from(&self.description[..]);
        set_formats(&mut message, formats);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_before_for() {
        let plain = Options::default();
        for (text, options) in [
            ("DECLARE c CURSOR FOR", plain),
            ("DECLARE hold CURSOR FOR", plain),
            ("DECLARE c BINARY INSENSITIVE SCROLL CURSOR FOR", Options { binary: true, scroll: Some(true), ..plain }),
            ("declare c no scroll cursor with hold for", Options { hold: true, scroll: Some(false), ..plain }),
            ("DECLARE c CURSOR WITHOUT HOLD FOR", plain),
        ] {
            assert_eq!(Options::of(text), options, "{text}");
        }
    }

    #[test]
    fn a_scan_of_one_table_goes_backward_by_itself() {
        let limits = sql::Limits::default();
        for text in ["SELECT a, b FROM t WHERE x IN (1, 2) ORDER BY a, b", "SELECT * FROM t LIMIT 5"] {
            assert!(is_simple(text, &limits), "{text}");
        }
        for text in [
            "SELECT * FROM t, u",
            "SELECT * FROM t JOIN u USING (a)",
            "SELECT count(*) FROM t",
            "SELECT a FROM t GROUP BY a",
            "SELECT a FROM t UNION SELECT 1",
            "SELECT a FROM t FOR UPDATE",
            "SELECT a FROM (SELECT * FROM t) s",
        ] {
            assert!(!is_simple(text, &limits), "{text}");
        }
    }
}
