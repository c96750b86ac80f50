//! The beginning of a COPY FROM STDIN.

use std::future::poll_fn;
use std::task::Poll;

use bytes::{BufMut, BytesMut};

use super::stream::Stream;
use super::{Copying, copy_in};
use crate::copy::fields::Wanted;
use crate::copy::{Format, Options, Rows, Statement};
use crate::error::PgError;
use crate::plan::work::copy::{CopyIn, KeyPlace};
use crate::protocol::answer::tag;
use crate::session::extended::Batch;
use crate::session::gate::killed;
use crate::session::scatter::Stop;
use crate::session::scatter::canceled;
use crate::session::work::Assignment;
use crate::session::work::ask::Ask;
use crate::session::{Session, Trouble};
use crate::sql;
use crate::sqlstate::SqlState;

/// Encodings in which a byte of a longer character may look like a delimiter (`PG_ENCODING_IS_CLIENT_ONLY`).
const CLIENT_ONLY: &[&str] = &["SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFTJIS2004"];

impl Session {
    /// Begins a COPY FROM STDIN: when this ends well, the client has been asked for its data.
    pub(in crate::session) async fn begin_copy(&mut self, job: &Assignment, simple: bool) -> Result<(), Trouble> {
        let Some(copy) = copy_in(job) else { return Ok(()) };
        let shards = self.state.vschema.keyspace(copy.keyspace).shards.clone();
        self.set_aside().await?;
        if simple {
            // A query ends the batch before it, as a Sync does.
            self.batch = Batch::default();
        }
        let implicit = self.transaction.is_idle();
        if implicit {
            self.begin_implicit();
        }
        self.transaction.settle();
        let running = self.meter_scatter(&job.effects, &shards);
        let opened = self.open_copy(job, copy, simple, implicit).await;
        match opened {
            Ok(mut copying) => {
                copying.running = Some(running);
                self.copying = Some(Box::new(copying));
                Ok(())
            }
            Err(stop) => {
                self.meter_scattered(running, None);
                self.transaction.fail();
                Err(stop.into())
            }
        }
    }

    async fn open_copy(
        &mut self,
        job: &Assignment,
        copy: &CopyIn,
        simple: bool,
        implicit: bool,
    ) -> Result<Copying, Stop> {
        let tokens = sql::lex(&job.text, &self.state.sql_limits())?;
        let tokens: Vec<_> = tokens.into_iter().filter(|token| token.kind != sql::TokenKind::Semicolon).collect();
        let statement = Statement::read(&job.text, &tokens)?;
        let options = statement.options;
        let utf8 = self.check_encoding(&options)?;
        if options.format == Format::Csv && options.quote == b'\\' {
            return Err(PgError::unsupported("a backslash as QUOTE of a COPY over several shards").into());
        }
        let shards = self.state.vschema.keyspace(copy.keyspace).shards.clone();
        self.enlist_for(&job.effects, &shards).await?;
        self.check_defaults(copy).await?;
        let names: Vec<&str> = copy.extras.iter().map(|extra| extra.name.as_str()).collect();
        let text = match statement.columns {
            // Behind the list's parenthesis.
            Some(_) if !names.is_empty() => with_names(&job.text, &tokens, statement.behind_name, &names),
            _ => with_list(&job.text, &tokens, copy.list_at, &copy.columns),
        };
        let extras = self.begin_extras(copy, &options, shards[0]).await?;
        let keys = copy.spread.iter().flat_map(|spread| &spread.keys);
        let wanted = keys
            .map(|key| match key.at {
                KeyPlace::Extra(_) => None,
                KeyPlace::Field(at) => Some(Wanted {
                    at: usize::from(at),
                    force_not_null: options.force_not_null.has(&key.name),
                    force_null: options.force_null.has(&key.name),
                }),
            })
            .collect();
        let mut places = vec![u16::MAX; self.state.vschema.shards.len()];
        for (number, shard) in shards.iter().enumerate() {
            places[usize::from(shard.0)] = number as u16;
        }
        let mut copying = Copying {
            simple,
            implicit,
            rows: Rows::new(&options, copy.columns.len(), self.has_marks()),
            copy: copy.clone(),
            options,
            wanted,
            extras,
            utf8,
            pending: BytesMut::new(),
            streams: shards.iter().map(|shard| Stream::new(*shard)).collect(),
            places,
            found: None,
            foreign: false,
            failure: None,
            running: None,
        };
        self.send_copy(&mut copying.streams, &text, true)?;
        match self.await_responses(&mut copying).await {
            Ok(()) => Ok(copying),
            Err(stop) => Err(self.stop_copy(&mut copying.streams, stop).await),
        }
    }

    /// Waits until every shard wants data, and says so to the client.
    async fn await_responses(&mut self, copying: &mut Copying) -> Result<(), Stop> {
        let (cancels, columns) = (self.handle.cancels(), copying.copy.columns.len() + copying.copy.extras.len());
        self.until(&mut copying.streams, &copying.copy.table, cancels, |streams| {
            streams.iter().all(|stream| stream.response.is_some())
        })
        .await?;
        let response = copying.streams[0].response.clone().unwrap_or_default();
        for stream in &copying.streams {
            let own = stream.response.as_deref().unwrap_or_default();
            let count = own.get(1..3).and_then(|bytes| bytes.first_chunk()).map(|bytes| u16::from_be_bytes(*bytes));
            if count.map(usize::from) != Some(columns) {
                return Err(changed(&copying.copy.table).into());
            }
        }
        // The client does not send what it has not.
        let format = response.first().copied().unwrap_or(0);
        let (count, out) = (copying.copy.columns.len(), &mut self.client.outgoing);
        out.put_u8(tag::COPY_IN);
        out.put_i32(4 + 1 + 2 + 2 * count as i32);
        out.put_u8(format);
        out.put_u16(count as u16);
        (0..count).for_each(|_| out.put_u16(u16::from(format)));
        Ok(())
    }

    /// Drives the streams until they are as wanted, while the client is watched.
    pub(super) async fn until(
        &mut self,
        streams: &mut [Stream],
        table: &str,
        cancels: usize,
        done: impl Fn(&[Stream]) -> bool,
    ) -> Result<(), Stop> {
        let mut overdue = std::pin::pin!(None::<tokio::time::Sleep>);
        poll_fn(|cx| {
            self.handle.register(cx.waker());
            for stream in streams.iter_mut().filter(|stream| !stream.is_over()) {
                if let Err(stop) = self.poll_stream(stream, table, cx) {
                    return Poll::Ready(Err(stop));
                }
            }
            if done(streams) {
                return Poll::Ready(Ok(()));
            }
            if self.handle.activity.is_killed() {
                return Poll::Ready(Err(killed().into()));
            }
            // A client's cancel request goes to the servers by itself; one that does not react to it must not hold the client for ever.
            if self.handle.cancels() != cancels && overdue.is_none() {
                overdue.set(Some(tokio::time::sleep(crate::session::scatter::drive::CANCEL_PATIENCE)));
            }
            if let Some(overdue) = overdue.as_mut().as_pin_mut()
                && std::future::Future::poll(overdue, cx).is_ready()
            {
                return Poll::Ready(Err(canceled().into()));
            }
            self.poll_client(cx)
        })
        .await
    }

    /// What the bytes of the data mean. Whether keys that are no ASCII text can be read.
    fn check_encoding(&self, options: &Options) -> Result<bool, PgError> {
        let plain = |name: &str| -> String {
            let letters = name.chars().filter(char::is_ascii_alphanumeric);
            letters.map(|c| c.to_ascii_uppercase()).collect()
        };
        let client = self.reported.get("client_encoding").unwrap_or("UTF8");
        let data = plain(options.encoding.as_deref().unwrap_or(client));
        let is_utf8 = |name: &str| matches!(name, "UTF8" | "UNICODE");
        let odd = [
            "SHIFTJIS",
            "MSKANJI",
            "WIN932",
            "WINDOWS932",
            "WIN936",
            "WINDOWS936",
            "WIN949",
            "WINDOWS949",
            "WIN950",
            "WINDOWS950",
        ];
        if CLIENT_ONLY.contains(&data.as_str()) || odd.contains(&data.as_str()) {
            return Err(PgError::unsupported(format!(
                "COPY of data in encoding {data} is not supported over several shards"
            ))
            .with_detail("A byte of a character may look like a delimiter.")
            .with_hint("SET client_encoding = 'UTF8', and convert the data."));
        }
        let server = plain(self.reported.get("server_encoding").unwrap_or("UTF8"));
        Ok(is_utf8(&data) && is_utf8(&server))
    }

    /// Whether `\.` ends CSV data: not from PostgreSQL 18 on.
    fn has_marks(&self) -> bool {
        let version = self.reported.get("server_version").unwrap_or("15");
        version.split(|c: char| !c.is_ascii_digit()).next().and_then(|major| major.parse::<u32>().ok()).unwrap_or(15)
            < 18
    }

    /// Every copy of a reference table has to get the same values, also for columns that the data has not.
    async fn check_defaults(&mut self, copy: &CopyIn) -> Result<(), Stop> {
        if copy.defaults.is_empty() {
            return Ok(());
        }
        let quoted = |name: &str| format!("'{}'", name.replace('\'', "''"));
        let names: Vec<String> = copy.defaults.iter().map(|name| quoted(name)).collect();
        let (schema, table) = (quoted(&copy.relation.schema), quoted(&copy.relation.name));
        // What calls nothing is the same everywhere; literals and their casts are most of all defaults.
        let sql = format!(
            "SELECT a.attname::text FROM pg_catalog.pg_attribute a \
             JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
             WHERE n.nspname = {schema} AND c.relname = {table} AND a.attname IN ({}) \
             AND COALESCE(pg_catalog.regexp_replace(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '''([^'']|'''')*''', '', 'g') \
             ~* '\\m(current|session|local|user)|[a-z_0-9\"]\\(', true)",
            names.join(", ")
        );
        let Some(stream) = self.state.vschema.keyspace(copy.keyspace).shards.first().copied() else { return Ok(()) };
        let replies = self.ask_shards(vec![Ask { formats: vec![0], ..Ask::new(stream, sql) }]).await?;
        let erratic = replies.first().map(|reply| reply.values()).transpose()?.unwrap_or_default();
        match erratic.first().and_then(|row| row.first().copied().flatten()) {
            None => Ok(()),
            Some(column) => Err(PgError::unsupported(format!(
                "default of column \"{}\" of reference table \"{}\" is computed",
                String::from_utf8_lossy(column),
                copy.table
            ))
            .with_detail("Each copy would compute it by itself, and copies have to be equal.")
            .with_hint("Put the column into the data.")
            .into()),
        }
    }
}

/// The statement with a list of columns.
pub(super) fn with_list(text: &str, tokens: &[sql::Token], list_at: Option<u32>, columns: &[String]) -> String {
    let Some(at) = list_at.and_then(|at| tokens.get((at as usize).checked_sub(1)?)) else { return text.to_owned() };
    let quoted: Vec<String> = columns.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
    let at = at.end as usize;
    // A table without columns takes no list.
    if quoted.is_empty() {
        return text.to_owned();
    }
    format!("{} ({}) {}", text.get(..at).unwrap_or_default(), quoted.join(", "), text.get(at..).unwrap_or_default())
}

/// The statement with more columns at the front of its list, whose parenthesis is this token.
fn with_names(text: &str, tokens: &[sql::Token], at: usize, names: &[&str]) -> String {
    let at = tokens.get(at).map_or(text.len(), |token| token.end as usize);
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{}\", ", name.replace('"', "\"\""))).collect();
    format!("{}{}{}", text.get(..at).unwrap_or_default(), quoted.concat(), text.get(at..).unwrap_or_default())
}

fn changed(table: &str) -> PgError {
    PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("table \"{table}\" has changed"))
        .with_detail("A shard has other columns than were known.")
        .with_hint("Repeat the statement; if that does not help, let an operator RELOAD the catalogs.")
}
