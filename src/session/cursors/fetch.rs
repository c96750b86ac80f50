//! FETCH and MOVE of cursors over several shards, by both protocols; and what the protocol's own messages may ask of such a cursor by its name.

use bytes::BytesMut;

use super::convert::BATCH;
use super::declared::{Declaration, Declared};
use super::rows::Step;
use crate::error::PgError;
use crate::protocol::encode;
use crate::session::extended::Portal;
use crate::session::scatter::query::command_complete;
use crate::session::temporary::Made;
use crate::session::{Session, Trouble};
use crate::sql::fetch::{Fetch, Motion, fetch};
use crate::sqlstate::SqlState;

/// A bound FETCH or MOVE.
#[derive(Debug, Clone)]
pub(in crate::session) struct Fetching {
    pub name: String,
    moves: bool,
    motion: Motion,
    formats: Vec<i16>,
    /// It has run: it cannot run twice, but a FETCH returns no more rows.
    done: bool,
}

impl Fetching {
    pub fn new(fetch: &Fetch<'_>, formats: Vec<i16>) -> Fetching {
        let Fetch { moves, motion, name } = fetch;
        Fetching { name: name.to_string(), moves: *moves, motion: *motion, formats, done: false }
    }
}

/// What a portal is that no shard has.
pub(in crate::session) enum OwnPortal {
    /// A DECLARE; none if it has been executed.
    Declare(Option<Box<Declaration>>),
    Fetch(Fetching),
    /// A temporary table; none if it has been made.
    Make(Option<Box<Made>>),
    /// A cursor that SQL has declared, by its name.
    Cursor,
}

impl Session {
    /// The FETCH or MOVE that a text is, if it is of a cursor over several shards.
    pub(in crate::session) fn own_fetch<'a>(&self, text: &'a str) -> Option<Fetch<'a>> {
        if self.declared.is_empty() {
            return None;
        }
        fetch(text).filter(|fetch| self.is_declared(&fetch.name))
    }

    /// FETCH or MOVE as a simple query.
    pub(in crate::session) async fn fetch_query(
        &mut self,
        name: &str,
        moves: bool,
        motion: Motion,
    ) -> Result<(), Trouble> {
        self.set_aside().await?;
        self.batch = Default::default();
        let mut cursor = self.take_declared(name)?;
        cursor.rows.begin(motion, !moves)?;
        if !moves {
            self.client.outgoing.extend_from_slice(&cursor.description);
        }
        let count = self.walk(&mut cursor, &[]).await?;
        self.declared.push(cursor);
        self.complete_fetch(moves, count);
        self.end_statement();
        Ok(())
    }

    fn complete_fetch(&mut self, moves: bool, count: u64) {
        let word = if moves { "MOVE" } else { "FETCH" };
        command_complete(&mut self.client.outgoing, format!("{word} {count}").as_bytes());
    }

    fn take_declared(&mut self, name: &str) -> Result<Declared, PgError> {
        let at = self.declared.iter().position(|cursor| cursor.name == name);
        at.map(|at| self.declared.swap_remove(at))
            .ok_or_else(|| PgError::new(SqlState::UNDEFINED_CURSOR, format!("cursor \"{name}\" does not exist")))
    }

    /// Goes on with a movement that has begun; rows that are wanted go to the client, in these formats if they are not the cursor's own. How many
    /// count.
    async fn walk(&mut self, cursor: &mut Declared, formats: &[i16]) -> Result<u64, Trouble> {
        let mut waiting = Vec::new();
        loop {
            let step = cursor.rows.step()?;
            if waiting.len() >= BATCH || (matches!(step, Step::Done(_)) && !waiting.is_empty()) {
                let rows = self.convert(cursor, &waiting, formats).await?;
                waiting.clear();
                self.client.outgoing.extend_from_slice(&rows);
            }
            match step {
                Step::Row(row) if !formats.is_empty() => waiting.push(row),
                Step::Row(row) => {
                    self.client.outgoing.extend_from_slice(&row);
                    self.drain_client().await?;
                }
                Step::Fetch(count) => self.refill(cursor, count).await?,
                Step::Done(count) => return Ok(count),
            }
        }
    }

    /// What a portal of this name is to the session itself; none if a shard has it, or several, or nobody.
    pub(in crate::session) fn own_portal(&mut self, name: &str) -> Option<OwnPortal> {
        match self.portals.iter_mut().find(|(known, _)| known == name) {
            Some((_, Portal::Declare(declaration))) => Some(OwnPortal::Declare(declaration.take())),
            Some((_, Portal::Make(made))) => Some(OwnPortal::Make(made.take())),
            Some((_, Portal::Fetch(fetching))) => Some(OwnPortal::Fetch(fetching.clone())),
            Some(_) => None,
            None => self.is_declared(name).then_some(OwnPortal::Cursor),
        }
    }

    /// Execute of such a portal.
    pub(in crate::session) async fn execute_own(
        &mut self,
        name: &str,
        max_rows: i32,
        portal: OwnPortal,
    ) -> Result<(), Trouble> {
        match portal {
            OwnPortal::Declare(Some(declaration)) => {
                self.declare(*declaration).await?;
                encode::command_complete(&mut self.client.outgoing, "DECLARE CURSOR");
                Ok(())
            }
            OwnPortal::Make(Some(made)) => {
                let rows = self.make_temporary(*made).await?;
                command_complete(&mut self.client.outgoing, format!("SELECT {rows}").as_bytes());
                Ok(())
            }
            OwnPortal::Declare(None) | OwnPortal::Make(None) => {
                Err(PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "portal cannot be run").into())
            }
            OwnPortal::Fetch(fetching) => self.execute_fetch(name, fetching).await,
            OwnPortal::Cursor => self.execute_declared(name, max_rows).await,
        }
    }

    /// Execute of a bound FETCH or MOVE.
    async fn execute_fetch(&mut self, portal: &str, fetching: Fetching) -> Result<(), Trouble> {
        self.set_aside().await?;
        if fetching.done {
            return match fetching.moves {
                true => Err(PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "portal cannot be run").into()),
                false => {
                    self.complete_fetch(false, 0);
                    Ok(())
                }
            };
        }
        let mut cursor = self.take_declared(&fetching.name)?;
        let as_declared = fetching.moves || cursor.has_form(&fetching.formats);
        if !as_declared && cursor.binary {
            self.declared.push(cursor);
            return Err(other_form(&fetching.name).into());
        }
        cursor.rows.begin(fetching.motion, !fetching.moves)?;
        let formats: &[i16] = if as_declared { &[] } else { &fetching.formats };
        let count = self.walk(&mut cursor, formats).await?;
        self.declared.push(cursor);
        self.complete_fetch(fetching.moves, count);
        if let Some((_, Portal::Fetch(known))) = self.portals.iter_mut().find(|(known, _)| known == portal) {
            known.done = true;
        }
        Ok(())
    }

    /// Describe of a FETCH: its columns are the cursor's.
    pub(in crate::session) async fn describe_fetch(&mut self, fetching: &Fetching) -> Result<(), Trouble> {
        self.prove_all().await?;
        self.set_aside().await?;
        let cursor = self.declared.iter().find(|cursor| cursor.name == fetching.name);
        let message = match cursor.filter(|_| !fetching.moves) {
            Some(cursor) => cursor.described(&fetching.formats),
            None => {
                let mut message = BytesMut::new();
                encode::no_data(&mut message);
                message
            }
        };
        self.client.outgoing.extend_from_slice(&message);
        Ok(())
    }

    /// Describe of a prepared FETCH, if the text is one of a cursor over several shards; whether it was.
    pub(in crate::session) async fn describe_fetch_text(&mut self, text: &str) -> Result<bool, Trouble> {
        let Some(fetch) = self.own_fetch(text) else { return Ok(false) };
        let fetching = Fetching::new(&fetch, Vec::new());
        self.prove_all().await?;
        self.set_aside().await?;
        encode::parameter_description(&mut self.client.outgoing, &[]);
        self.describe_fetch(&fetching).await?;
        Ok(true)
    }

    /// Describe of a portal by the name of a cursor over several shards; whether there is one.
    pub(in crate::session) async fn describe_declared(&mut self, name: &str) -> Result<bool, Trouble> {
        if !self.is_declared(name) {
            return Ok(false);
        }
        self.prove_all().await?;
        self.set_aside().await?;
        if let Some(cursor) = self.declared.iter().find(|cursor| cursor.name == name) {
            let message = cursor.described(&[]);
            self.client.outgoing.extend_from_slice(&message);
        }
        Ok(true)
    }

    /// Execute of a portal by the name of a cursor over several shards: its next rows.
    async fn execute_declared(&mut self, name: &str, max_rows: i32) -> Result<(), Trouble> {
        self.prove_all().await?;
        self.set_aside().await?;
        let mut cursor = self.take_declared(name)?;
        let limit = u64::try_from(max_rows).ok().filter(|limit| *limit > 0);
        if cursor.binary {
            // The portal that DECLARE made is one of text to the protocol.
            self.declared.push(cursor);
            return Err(other_form(name).into());
        }
        cursor.rows.begin(Motion::Forward(limit), true)?;
        let count = self.walk(&mut cursor, &[]).await?;
        self.declared.push(cursor);
        match limit {
            Some(limit) if count >= limit => encode::portal_suspended(&mut self.client.outgoing),
            _ => command_complete(&mut self.client.outgoing, format!("SELECT {count}").as_bytes()),
        }
        Ok(())
    }
}

impl Declared {
    /// Whether its rows are in the form that is asked for.
    fn has_form(&self, formats: &[i16]) -> bool {
        formats.iter().all(|format| (*format == 1) == self.binary) && (!formats.is_empty() || !self.binary)
    }
}

fn other_form(name: &str) -> PgError {
    PgError::unsupported(format!("cursor \"{name}\" returns its rows in another format than is asked for"))
        .with_detail("Its rows come from several shards, in the format that it was declared with.")
        .with_hint("Fetch in binary format.")
}
