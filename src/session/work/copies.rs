//! Writes to reference tables: on the keyspace's first shard first, then on all others at once.
//!
//! Whoever else writes the same rows waits at the first shard, so that all writers go through the copies in one order, and two of them cannot
//! wait for one another on different shards. The first shard's answer is the client's; the others must have changed as many rows, or
//! nothing is kept: either the copies differ, or another transaction's rows have reached one of them and not yet the other.

use bytes::{Bytes, BytesMut};

use super::ask::{Ask, Reply, What};
use super::outlet::Outlet;
use super::{Assignment, Stop};
use crate::error::PgError;
use crate::plan::render::render;
use crate::plan::work::Copies;
use crate::plan::work::copies::{Change, RowColumn, Rows, Way};
use crate::protocol::encode;
use crate::protocol::frontend::Format;
use crate::session::Session;
use crate::sql;
use crate::sqlstate::SqlState;
use crate::types::{Oid, ShardId};

/// Parameters of one statement that copies rows: the protocol counts them with 16 bits.
const MOST_PARAMETERS: usize = 32_000;

/// A row of the first shard's: the hidden columns' values.
type Row = Vec<Option<Bytes>>;

impl Session {
    /// Writes every copy; the command tag.
    pub(super) async fn perform_copies(
        &mut self,
        job: &Assignment,
        copies: &Copies,
        outlet: &mut Outlet,
    ) -> Result<Vec<u8>, Stop> {
        let shards = self.state.vschema.keyspace(copies.keyspace).shards.clone();
        let Some((first, others)) = shards.split_first() else { return Err(no_shard().into()) };
        self.enlist_for(&job.effects, &shards).await?;
        let (mut reply, counts) = match &copies.way {
            Way::Same => {
                let ask = job.ask(*first)?;
                let reply = self.ask_shards(vec![ask.clone()]).await?.pop().ok_or_else(no_shard)?;
                // Where the first shard has no fault to find, a place in the text means nothing any more.
                let again = others.iter().map(|shard| Ask { shard: *shard, rewritten: true, ..ask.clone() });
                let replies = self.ask_shards(again.collect()).await?;
                let count = |reply: &Reply| (reply.shard, reply.count());
                let counts: Vec<_> = replies.iter().map(count).collect();
                (reply, counts)
            }
            Way::Rows(rows) => self.share_rows(job, rows, *first, others).await?,
        };
        let expected = reply.count();
        if let Some((shard, count)) = counts.iter().find(|(_, count)| *count != expected) {
            let name = |shard: &ShardId| self.state.vschema.shard_name(*shard).to_owned();
            return Err(different(&copies.table, (&name(first), expected), (&name(shard), *count)).into());
        }
        self.put_columns(outlet, reply.columns.as_deref());
        self.put_rows(outlet, &mut reply.rows).await?;
        Ok(reply.tag.into_bytes())
    }

    /// Runs the statement on the first shard and takes its rows to the others; the first shard's answer as the client gets it, and how many
    /// rows each of the others changed.
    async fn share_rows(
        &mut self,
        job: &Assignment,
        rows: &Rows,
        first: ShardId,
        others: &[ShardId],
    ) -> Result<(Reply, Vec<(ShardId, u64)>), Stop> {
        let tokens = sql::lex(&job.text, &self.state.sql_limits())?;
        let rendered = render(&rows.text, &job.text, &tokens, None, None)?;
        let mut ask = Ask { sql: rendered.sql.into(), ..job.ask(first)? };
        let hidden = rows.columns.len();
        let mut visible = 0;
        if rows.returning {
            let described = Ask { what: What::Describe, values: Vec::new(), ..ask.clone() };
            let described = self.ask_shards(vec![described]).await?;
            let all = described.first().and_then(|reply| reply.columns.as_deref()).map_or(0, column_count);
            visible = all.checked_sub(hidden).ok_or_else(no_shard)?;
        }
        ask.formats = formats(&job.formats()?, visible)?;
        ask.formats.extend(std::iter::repeat_n(1, hidden));
        let mut reply = self.ask_shards(vec![ask]).await?.pop().ok_or_else(no_shard)?;
        let mut copied: Vec<Row> = Vec::new();
        let mut answer = BytesMut::with_capacity(reply.rows.len());
        for row in reply.values()? {
            if row.len() != visible + hidden {
                return Err(no_shard().into());
            }
            copied.push(row[visible..].iter().map(|value| value.map(Bytes::copy_from_slice)).collect());
            if rows.returning {
                encode::data_row(&mut answer, row[..visible].iter().copied());
            }
        }
        reply.rows = answer;
        reply.columns = match &reply.columns {
            Some(columns) if rows.returning => Some(first_columns(columns, visible)),
            _ => None,
        };
        let mut counts: Vec<(ShardId, u64)> = others.iter().map(|shard| (*shard, 0)).collect();
        for batch in copied.chunks((MOST_PARAMETERS / hidden.max(1)).max(1)) {
            let Some(sql) = rows.sql(batch.len()) else { continue };
            let values: Vec<(Format, Option<Bytes>)> = batch
                .iter()
                .flat_map(|row| row.iter().zip(&rows.columns))
                .map(|(value, column)| (column.format(), value.clone()))
                .collect();
            let ask = |shard: &ShardId| Ask { values: values.clone(), ..Ask::new(*shard, sql.clone()) };
            for reply in self.ask_shards(others.iter().map(ask).collect()).await? {
                let known = counts.iter_mut().find(|(shard, _)| *shard == reply.shard);
                known.into_iter().for_each(|(_, count)| *count += reply.count());
            }
        }
        if rows.sql(1).is_none() {
            counts.clear();
        }
        // Every row of the answer was changed; of an INSERT that leaves some out, only those.
        Ok((reply, counts))
    }
}

impl Assignment {
    /// The client's own statement for a shard.
    pub(super) fn ask(&self, shard: ShardId) -> Result<Ask, PgError> {
        let types: Vec<Oid> = self.statement.as_ref().map(|statement| statement.types.clone()).unwrap_or_default();
        let values = self.values()?;
        let values = values.into_iter().map(|(format, value)| (format, value.map(Bytes::copy_from_slice))).collect();
        let (formats, sql) = (self.formats()?, self.text.clone().into());
        Ok(Ask { shard, sql, types, values, formats, what: What::Run, rewritten: false, bench: false, hush: false })
    }
}

impl RowColumn {
    fn format(&self) -> Format {
        if self.text { Format::Text } else { Format::Binary }
    }
}

impl Rows {
    /// The statement that takes so many rows to another copy; none if there is nothing that could change.
    ///
    /// Values get their types from the table's own columns: those of VALUES by INSERT, those of a UNION by its first arm.
    fn sql(&self, count: usize) -> Option<String> {
        let names = |wanted: &dyn Fn(&RowColumn) -> bool| {
            let names: Vec<&str> =
                self.columns.iter().filter(|column| wanted(column)).map(|column| column.name.as_str()).collect();
            names
        };
        let all = names(&|_| true).join(", ");
        let width = self.columns.len();
        let row = |row: usize| {
            let places: Vec<String> = (0..width).map(|column| format!("${}", row * width + column + 1)).collect();
            places.join(", ")
        };
        let target = &self.target;
        let list = |before: &str, after: &str, between: &str| {
            (0..count).map(|n| format!("{before}{}{after}", row(n))).collect::<Vec<_>>().join(between)
        };
        let same = || {
            let pairs = names(&|column| column.key);
            pairs.iter().map(|name| format!("gs_old.{name} = gs_new.{name}")).collect::<Vec<_>>().join(" AND ")
        };
        let settable = names(&|column| column.settable);
        let set =
            |from: &str| settable.iter().map(|name| format!("{name} = {from}.{name}")).collect::<Vec<_>>().join(", ");
        let source = || {
            format!(
                "(SELECT {all} FROM {target} WHERE false UNION ALL {}) AS gs_new",
                list("SELECT ", "", " UNION ALL ")
            )
        };
        Some(match self.change {
            Change::Insert | Change::Upsert => {
                let mut sql =
                    format!("INSERT INTO {target} ({all}) OVERRIDING SYSTEM VALUE VALUES {}", list("(", ")", ", "));
                if self.change == Change::Upsert {
                    let keys = names(&|column| column.key).join(", ");
                    let action = match settable.is_empty() {
                        true => "NOTHING".to_owned(),
                        false => format!("UPDATE SET {}", set("excluded")),
                    };
                    sql.push_str(&format!(" ON CONFLICT ({keys}) DO {action}"));
                }
                sql
            }
            Change::Update if settable.is_empty() => return None,
            Change::Update => {
                format!("UPDATE {target} AS gs_old SET {} FROM {} WHERE {}", set("gs_new"), source(), same())
            }
            Change::Delete => format!("DELETE FROM {target} AS gs_old USING {} WHERE {}", source(), same()),
        })
    }
}

/// One format for each of so many columns, by Bind's rule.
fn formats(asked: &[i16], columns: usize) -> Result<Vec<i16>, PgError> {
    match asked {
        [] => Ok(vec![0; columns]),
        [all] => Ok(vec![*all; columns]),
        each if each.len() == columns => Ok(each.to_vec()),
        each => Err(PgError::new(
            SqlState::PROTOCOL_VIOLATION,
            format!("bind message has {} result formats but query has {columns} columns", each.len()),
        )),
    }
}

fn column_count(description: &[u8]) -> usize {
    description.get(..2).map_or(0, |count| usize::from(u16::from_be_bytes([count[0], count[1]])))
}

/// The body of a RowDescription, of which the first columns are kept.
fn first_columns(description: &[u8], columns: usize) -> Bytes {
    /// What follows a column's name: OID, number, type, length, modifier, format.
    const FACTS: usize = 18;
    let mut at = 2;
    for _ in 0..columns {
        let name = description.get(at..).unwrap_or_default().iter().position(|byte| *byte == 0).unwrap_or(0);
        at += name + 1 + FACTS;
    }
    let mut kept = BytesMut::with_capacity(at);
    kept.extend_from_slice(&(columns as u16).to_be_bytes());
    kept.extend_from_slice(description.get(2..at).unwrap_or_default());
    kept.freeze()
}

fn no_shard() -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, "a copy of a reference table did not answer as it was asked")
}

/// Nothing of it is kept.
fn different(table: &str, (first, expected): (&str, u64), (other, count): (&str, u64)) -> PgError {
    PgError::new(
        SqlState::SERIALIZATION_FAILURE,
        format!("could not write reference table \"{table}\" alike on all shards"),
    )
    .with_detail(format!("Shard \"{first}\" changed {expected} rows, shard \"{other}\" {count}."))
    .with_hint(
        "Another transaction may have changed the table meanwhile: try again. If it happens every time the copies differ: SHOW DRIFT tells where.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::gather::Text;

    fn rows(change: Change) -> Rows {
        let column = |name: &str, key: bool| RowColumn { name: name.into(), text: false, key, settable: !key };
        Rows {
            why: String::new(),
            text: Text::default(),
            returning: false,
            change,
            target: "public.t".into(),
            columns: vec![column("id", true), column("x", false)],
        }
    }

    #[test]
    fn rows_go_to_the_other_copies_by_their_key() {
        let sql = |change, count| rows(change).sql(count).unwrap();
        assert_eq!(
            sql(Change::Upsert, 2),
            "INSERT INTO public.t (id, x) OVERRIDING SYSTEM VALUE VALUES ($1, $2), ($3, $4) \
             ON CONFLICT (id) DO UPDATE SET x = excluded.x"
        );
        assert_eq!(
            sql(Change::Update, 2),
            "UPDATE public.t AS gs_old SET x = gs_new.x FROM (SELECT id, x FROM public.t WHERE false \
             UNION ALL SELECT $1, $2 UNION ALL SELECT $3, $4) AS gs_new WHERE gs_old.id = gs_new.id"
        );
        assert_eq!(
            sql(Change::Delete, 1),
            "DELETE FROM public.t AS gs_old USING (SELECT id, x FROM public.t WHERE false UNION ALL SELECT $1, $2) \
             AS gs_new WHERE gs_old.id = gs_new.id"
        );
    }

    #[test]
    fn a_description_is_cut_after_its_first_columns() {
        let mut message = BytesMut::new();
        encode::row_description_typed(&mut message, [("a", 23, 0), ("bc", 25, 1), ("d", 20, 1)].into_iter());
        let cut = first_columns(&message[5..], 2);
        let mut expected = BytesMut::new();
        encode::row_description_typed(&mut expected, [("a", 23, 0), ("bc", 25, 1)].into_iter());
        assert_eq!(cut, expected[5..]);
    }
}
