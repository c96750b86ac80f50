//! Statements of Goldseam's own: the catalog, directories, settings, health. Rows are few and in text form.

use std::sync::Arc;

use bytes::BytesMut;

use crate::backend::{Backend, Settings};
use crate::error::PgError;
use crate::protocol::answer::{self, ErrorFields, tag};
use crate::protocol::frame::HEADER;
use crate::protocol::request;
use crate::types::Oid;

/// Rows in text form; `None` is NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// What came before ReadyForQuery.
#[derive(Debug, Default)]
struct Answer {
    rows: Rows,
    tag: String,
}

impl Backend {
    /// Runs statements by the simple protocol; the rows of the last one that returned any. The first error of the server's ends it, as an
    /// error that names the shard.
    ///
    /// # Cancel safety
    /// Dropped half-way the connection is no longer clean and the pool closes it.
    pub async fn query(&mut self, sql: &str) -> Result<Rows, PgError> {
        let mut out = BytesMut::with_capacity(sql.len() + 8);
        request::query(&mut out, sql);
        Ok(self.exchange(&out, None).await?.rows)
    }

    /// Runs one statement with values in text form, whose types the server infers.
    ///
    /// # Cancel safety
    /// As [`Backend::query`].
    pub async fn query_params(&mut self, sql: &str, values: &[Option<&str>]) -> Result<Rows, PgError> {
        let mut out = BytesMut::new();
        request::parse(&mut out, "", sql, [].into_iter());
        request::bind(&mut out, "", values);
        request::execute(&mut out, "", 0);
        request::sync(&mut out);
        Ok(self.exchange(&out, None).await?.rows)
    }

    /// Feeds `COPY ... FROM STDIN` with data; the command tag, such as `COPY 3`.
    ///
    /// # Cancel safety
    /// As [`Backend::query`].
    pub async fn copy_in(&mut self, sql: &str, data: &[u8]) -> Result<String, PgError> {
        let mut out = BytesMut::new();
        request::query(&mut out, sql);
        Ok(self.exchange(&out, Some(data)).await?.tag)
    }

    /// Makes the connection's settings these, if they are not already; one round trip. On an error of the server's nothing has changed.
    /// Only outside a transaction.
    ///
    /// # Cancel safety
    /// As [`Backend::query`].
    pub async fn sync_settings(&mut self, settings: &Arc<Settings>) -> Result<(), PgError> {
        if Arc::ptr_eq(settings, &self.settings) {
            return Ok(());
        }
        if let Some(sql) = settings.sync_sql(&self.settings) {
            self.query(&sql).await?;
        }
        self.settings = settings.clone();
        Ok(())
    }

    /// Whether the server can parse a statement whose parameters have these types; 0 are inferred. Nothing of it stays.
    ///
    /// # Cancel safety
    /// As [`Backend::query`].
    pub async fn parse(&mut self, sql: &str, types: &[Oid]) -> Result<(), PgError> {
        let mut out = BytesMut::with_capacity(sql.len() + 64);
        request::parse(&mut out, "", sql, types.iter().copied());
        request::sync(&mut out);
        self.exchange(&out, None).await.map(drop)
    }

    /// Whether the server still answers: one round trip without a statement.
    pub async fn ping(&mut self) -> Result<(), PgError> {
        let mut out = BytesMut::new();
        request::sync(&mut out);
        self.exchange(&out, None).await.map(drop)
    }

    async fn exchange(&mut self, requests: &[u8], mut copy: Option<&[u8]>) -> Result<Answer, PgError> {
        self.in_flight += 1;
        self.send(requests).await?;
        let mut answer = Answer::default();
        let mut error = None;
        loop {
            let (tag, message) = self.next_message().await?;
            let body = &message[HEADER..];
            match tag {
                tag::ROW_DESCRIPTION => answer.rows.clear(),
                tag::DATA_ROW => {
                    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                    let values = answer::row_values(body)?;
                    answer.rows.push(values.into_iter().map(|value| value.map(text)).collect());
                }
                tag::COMMAND_COMPLETE => answer.tag = answer::command_tag(body)?.to_string(),
                tag::ERROR => {
                    let fields = ErrorFields::new(body);
                    let named = answer::with_shard(&message, &self.shard_name);
                    error.get_or_insert(ErrorFields::new(&named[HEADER..]).to_error());
                    if fields.is_fatal() {
                        self.tainted = true;
                        break;
                    }
                }
                tag::COPY_IN => {
                    let mut out = BytesMut::new();
                    match copy.take() {
                        Some(data) => {
                            data.chunks(64 * 1024).for_each(|piece| request::copy_data(&mut out, piece));
                            request::copy_done(&mut out);
                        }
                        None => request::copy_fail(&mut out, "Goldseam has no data for it"),
                    }
                    self.send(&out).await?;
                }
                tag::READY_FOR_QUERY => break,
                _ => {}
            }
        }
        match error {
            None => Ok(answer),
            Some(error) => Err(error),
        }
    }
}
