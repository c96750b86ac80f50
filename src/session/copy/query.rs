//! COPY of a query that no shard can answer alone: the query is answered like any other, and its messages become a COPY's on their way to the
//! client.

use bytes::BytesMut;

use super::out;
use super::stream::Stream;
use crate::copy::encode::{Encoder, column_names};
use crate::copy::{Format, Statement};
use crate::error::PgError;
use crate::protocol::request;
use crate::session::Session;
use crate::session::route::Destination;
use crate::session::scatter::drive::CANCEL_PATIENCE;
use crate::session::scatter::run::Describe;
use crate::session::scatter::{Job, Stop, canceled};
use crate::session::work::Assignment;
use crate::session::work::ask::{Ask, What};
use crate::session::work::outlet::Outlet;
use crate::sql;

impl Session {
    /// Answers the query; the command tag.
    pub(in crate::session) async fn perform_copy_query(&mut self, job: &Assignment) -> Result<Vec<u8>, Stop> {
        let tokens = sql::lex(&job.text, &self.state.sql_limits())?;
        let tokens: Vec<_> = tokens.into_iter().filter(|token| token.kind != sql::TokenKind::Semicolon).collect();
        let statement = Statement::read(&job.text, &tokens)?;
        let options = statement.options;
        let range = statement.query.unwrap_or_default();
        let behind = tokens.get(range.end).map_or(job.text.len(), |token| token.end as usize);
        let inside = tokens.get(range).unwrap_or_default();
        let (Some(first), Some(last)) = (inside.first(), inside.last()) else {
            return Err(PgError::unsupported("COPY of an empty query").into());
        };
        let text = job.text.get(first.start as usize..last.end as usize).unwrap_or_default();
        if let Some(option) = options.unknown.first() {
            return Err(PgError::unsupported(format!(
                "COPY option \"{option}\" is not supported for a query over several shards"
            ))
            .into());
        }
        let (filled, plan, destination) = self.decide_filled(text).await?;
        if matches!(destination, Destination::Shards { .. } | Destination::Work) {
            self.check_copy(job, text, behind).await?;
        }
        let binary = options.format == Format::Binary;
        let mut bind = BytesMut::new();
        request::bind_values(&mut bind, "", "", std::iter::empty(), &[i16::from(binary)]);
        match self.fitting(&plan, text, None, destination).await? {
            Destination::Shards { shards, rows } => {
                self.check_copy_options(&options)?;
                let mut inner = Job::new(&plan, shards, rows, &filled)?;
                inner.set_bind(bind);
                self.client.encode_with(Encoder::new(options));
                Box::pin(self.whole(&inner, Describe::Rows)).await
            }
            Destination::Work => {
                self.check_copy_options(&options)?;
                let mut inner = Assignment::new(&plan, &filled)?;
                inner.bind = bind;
                let mut outlet = Outlet { describe: true, formats: inner.formats()?, ..Outlet::default() };
                self.client.encode_with(Encoder::new(options));
                Box::pin(self.perform(&inner, &mut outlet)).await
            }
            // One shard has it all, and does it all.
            single => {
                let shard = self.locate(single).await?;
                let text = out::trimmed(&job.text);
                self.copy_from_shards(job, &[shard], &text).await
            }
        }
    }

    /// A server says whether the options are right, given the query's columns; `behind` is where they stand.
    async fn check_copy(&mut self, job: &Assignment, query: &str, behind: usize) -> Result<(), Stop> {
        let shard = self.state.vschema.home();
        self.enlist_for(&job.effects, &[shard]).await?;
        let ask = Ask { what: What::Describe, ..Ask::new(shard, query.to_owned()) };
        let reply = self.ask_shards(vec![ask]).await?.pop();
        let Some(columns) = reply.and_then(|reply| reply.columns) else {
            return Err(PgError::unsupported("COPY query must have a RETURNING clause").into());
        };
        let names: Vec<String> = column_names(&columns)
            .into_iter()
            .map(|name| format!("NULL::text AS \"{}\"", String::from_utf8_lossy(name).replace('"', "\"\"")))
            .collect();
        let options = job.text.get(behind..).unwrap_or_default();
        let text = format!("COPY (SELECT {} WHERE false) {options}", names.join(", "));
        let mut streams = vec![Stream { closed: true, ..Stream::new(shard) }];
        self.send_copy(&mut streams, &text, false)?;
        let mut errors = Vec::new();
        self.rest_of_copy(&mut streams, "", CANCEL_PATIENCE, &mut errors).await?;
        match errors.into_iter().next() {
            Some(stop) => Err(self.stop_copy(&mut streams, stop).await),
            None if streams.iter().all(|stream| stream.is_over()) => Ok(()),
            None => Err(self.stop_copy(&mut streams, canceled().into()).await),
        }
    }

    /// What the servers write for us is in the client's own encoding.
    fn check_copy_options(&self, options: &crate::copy::Options) -> Result<(), PgError> {
        let client = self.reported.get("client_encoding").unwrap_or("UTF8");
        let plain = |name: &str| name.to_ascii_uppercase().replace(['-', '_'], "");
        match &options.encoding {
            Some(encoding) if plain(encoding) != plain(client) => {
                Err(PgError::unsupported("COPY of a query over several shards in an encoding of its own")
                    .with_hint(format!("SET client_encoding = '{encoding}' before it.")))
            }
            _ => Ok(()),
        }
    }
}
