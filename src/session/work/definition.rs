//! Changes of the catalog on several shards.
//!
//! One shard goes ahead and the others follow all at once. So two clients that change the same table meet on the first shard and wait there, instead of
//! each holding what the other needs; and a mistake is found before the others have done anything.
//!
//! - here: all in one transaction, which is the client's own or one for this statement, and ends in two phases as any other;
//! - [`apart`]: what PostgreSQL does not allow in a transaction;
//! - [`fill`]: the rows of CREATE TABLE AS;
//! - [`numbers`]: sequences that the transaction itself has made or restarted.

mod apart;
mod fill;
mod numbers;

use bytes::Bytes;

use super::ask::{Ask, Reply};
use super::outlet::Outlet;
use super::{Assignment, Stop};
use crate::error::PgError;
use crate::plan::Pin;
use crate::plan::work::Definition;
use crate::plan::work::definition::{Holders, Manner, Part, parts};
use crate::plan::{gather::Text, render};
use crate::protocol::frontend::Format;
use crate::session::{Session, Trouble};
use crate::sql::{Token, lex};
use crate::sqlstate::SqlState;
use crate::types::{ShardId, oid};

/// What one shard is sent.
type Order = (ShardId, String);

impl Session {
    /// Does it; the command tag.
    pub(super) async fn perform_definition(
        &mut self,
        job: &Assignment,
        definition: &Definition,
        outlet: &mut Outlet,
    ) -> Result<Vec<u8>, Stop> {
        // Several statements of one query are a block, too.
        let outside = self.transaction.is_idle() || (self.implicit && self.sequence.is_none());
        if outside && definition.manner == Manner::Within {
            let message = "LOCK TABLE can only be used in transaction blocks";
            return Err(PgError::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message).into());
        }
        self.put_columns(outlet, None);
        let tokens = lex(&job.text, &self.state.sql_limits())?;
        if let Some(shard) = self.temporary(job, definition, &tokens).await? {
            let order = vec![(shard, job.text.clone())];
            return self.give(&order, false).await;
        }
        let parts = match &definition.holders {
            Some(holders) => self.holding(job, definition, holders, &tokens).await?,
            None => definition.parts.clone(),
        };
        let orders = orders(&parts, &job.text, &tokens)?;
        match definition.manner {
            Manner::Together => {}
            Manner::Within => {
                self.enlist(job, &orders).await?;
                return self.give(&orders, false).await;
            }
            Manner::OneByOne => return self.one_by_one(job, &orders).await,
            Manner::SideBySide => return self.side_by_side(job, &orders).await,
        }
        self.enlist(job, &orders).await?;
        if let Some((table, error)) = &definition.empty {
            self.check_empty(table, error, &orders).await?;
        }
        let tag = self.give(&orders, definition.unchecked).await?;
        let groups = parts.into_iter().map(|part| part.shards).collect();
        self.note_definition(groups, &definition.changes);
        match &definition.fill {
            Some(fill) => self.fill_table(job, fill, &tokens).await,
            None => Ok(tag),
        }
    }

    /// Does definitions of ours, all in one transaction.
    pub(in crate::session) async fn define(&mut self, texts: &[String]) -> Result<(), Trouble> {
        self.begin_implicit();
        let outcome = self.define_all(texts).await;
        let ended = self.end_implicit(outcome.is_ok()).await;
        outcome?;
        ended
    }

    async fn define_all(&mut self, texts: &[String]) -> Result<(), Trouble> {
        for text in texts {
            self.renew_draft().await?;
            let (plan, _) = self.decide(text)?;
            let job = Assignment::new(&plan, text)?;
            self.attempt(&job, &mut Outlet::default()).await?;
        }
        Ok(())
    }

    async fn enlist(&mut self, job: &Assignment, orders: &[Order]) -> Result<(), Stop> {
        let mut shards: Vec<ShardId> = orders.iter().map(|(shard, _)| *shard).collect();
        shards.sort_unstable();
        Ok(self.enlist_for(&job.effects, &shards).await?)
    }

    /// One after the other, and then the rest: the first one's tag. `unchecked`: the others take a function's body as it is.
    async fn give(&mut self, orders: &[Order], unchecked: bool) -> Result<Vec<u8>, Stop> {
        let Some(((first, text), rest)) = orders.split_first() else { return Err(nowhere().into()) };
        let ask = Ask { rewritten: false, ..Ask::new(*first, text.clone()) };
        let replies = self.ask_shards(vec![ask]).await?;
        let tag = replies.into_iter().next().map(|reply| reply.tag).unwrap_or_default();
        if rest.is_empty() {
            return Ok(tag.into_bytes());
        }
        let checked = if unchecked { Some(self.leave_unchecked(rest).await?) } else { None };
        let same = |(shard, text): &Order| Ask { rewritten: false, hush: true, ..Ask::new(*shard, text.clone()) };
        self.ask_shards(rest.iter().map(same).collect()).await?;
        if let Some(checked) = checked {
            let set = "SELECT pg_catalog.set_config('check_function_bodies', $1, true)";
            let asks = rest.iter().zip(checked).map(|((shard, _), value)| text_ask(*shard, set, value)).collect();
            self.ask_shards(asks).await?;
        }
        Ok(tag.into_bytes())
    }

    /// Lets shards take functions as they are; what they were told before.
    async fn leave_unchecked(&mut self, orders: &[Order]) -> Result<Vec<String>, Stop> {
        let sql = "SELECT pg_catalog.current_setting('check_function_bodies'), pg_catalog.set_config('check_function_bodies', 'off', true)";
        let asks = orders.iter().map(|(shard, _)| Ask { hush: true, ..Ask::new(*shard, sql) }).collect();
        let replies = self.ask_shards(asks).await?;
        replies.iter().map(|reply| Ok(first_text(reply)?.unwrap_or_else(|| "on".into()))).collect()
    }

    /// No shard may have rows of this table.
    async fn check_empty(&mut self, table: &str, error: &PgError, orders: &[Order]) -> Result<(), Stop> {
        for sql in [
            format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"),
            format!("SELECT EXISTS (SELECT FROM {table})::text"),
        ] {
            let (ahead, rest) = orders.split_at(1);
            for round in [ahead, rest].into_iter().filter(|round| !round.is_empty()) {
                let asks = round.iter().map(|(shard, _)| Ask { hush: true, ..Ask::new(*shard, sql.clone()) }).collect();
                for reply in self.ask_shards(asks).await? {
                    if first_text(&reply)?.is_some_and(|found| found == "true") {
                        return Err(error.clone().into());
                    }
                }
            }
        }
        Ok(())
    }

    /// The connection with the temporary table that is meant, if one is.
    async fn temporary(
        &mut self,
        job: &Assignment,
        definition: &Definition,
        tokens: &[Token],
    ) -> Result<Option<ShardId>, Stop> {
        let Some(name) = &definition.unknown else { return Ok(None) };
        let name = written(&job.text, tokens, name.start, name.end)?;
        let pinned = self.held.iter().find(|held| held.pins.contains(&Pin::TemporaryTable));
        let Some(shard) = pinned.map(|held| held.lease.shard) else { return Ok(None) };
        self.enlist_for(&job.effects, &[shard]).await?;
        let sql = "SELECT relpersistence::text FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass($1)";
        let replies = self.ask_shards(vec![text_ask(shard, sql, name)]).await?;
        let kind = replies.first().map(first_text).transpose()?.flatten();
        Ok((kind.as_deref() == Some("t")).then_some(shard))
    }

    /// Which shards have the objects, and what each is sent. If none has one, the first shard says so.
    async fn holding(
        &mut self,
        job: &Assignment,
        definition: &Definition,
        holders: &Holders,
        tokens: &[Token],
    ) -> Result<Vec<Part>, Stop> {
        let shards = definition.shards();
        let mut sorted = shards.clone();
        sorted.sort_unstable();
        self.enlist_for(&job.effects, &sorted).await?;
        let mut homes: Vec<Vec<ShardId>> = Vec::with_capacity(holders.names.len());
        for name in &holders.names {
            let name = written(&job.text, tokens, name.start, name.end)?;
            let sql = holders.kind.question();
            let replies =
                self.ask_shards(sorted.iter().map(|shard| text_ask(*shard, sql, name.clone())).collect()).await?;
            let mut home = Vec::new();
            for reply in &replies {
                if first_text(reply)?.as_deref() == Some("true") {
                    home.push(reply.shard);
                }
            }
            homes.push(if home.is_empty() { shards.clone() } else { home });
        }
        Ok(parts(&holders.list, &holders.names, &homes, holders.tokens))
    }
}

fn nowhere() -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, "a definition has no shard")
}

/// The text of some tokens, with what stands between them.
fn written(text: &str, tokens: &[Token], from: u32, to: u32) -> Result<String, PgError> {
    let range = tokens.get(from as usize..to as usize).and_then(|range| Some((range.first()?, range.last()?)));
    let written = range.and_then(|(first, last)| text.get(first.start as usize..last.end as usize));
    written.map(str::to_owned).ok_or_else(nowhere)
}

/// A statement with one text for its parameter.
fn text_ask(shard: ShardId, sql: &'static str, value: String) -> Ask {
    let values = vec![(Format::Text, Some(Bytes::from(value)))];
    Ask { types: vec![oid::TEXT], values, hush: true, ..Ask::new(shard, sql) }
}

fn first_text(reply: &Reply) -> Result<Option<String>, PgError> {
    let rows = reply.values()?;
    let first = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    Ok(first.map(|value| String::from_utf8_lossy(value).into_owned()))
}

/// Each shard and its text.
fn orders(parts: &[Part], statement: &str, tokens: &[Token]) -> Result<Vec<Order>, PgError> {
    let mut orders = Vec::new();
    for part in parts {
        let text = match &part.text {
            Some(text) => rendered(text, statement, tokens)?,
            None => statement.to_owned(),
        };
        orders.extend(part.shards.iter().map(|shard| (*shard, text.clone())));
    }
    Ok(orders)
}

fn rendered(text: &Text, statement: &str, tokens: &[Token]) -> Result<String, PgError> {
    Ok(render::render(text, statement, tokens, None, None)?.sql)
}
