//! EXPLAIN of a statement that no shard answers alone.
//!
//! Each shard is asked to explain what it would be sent, with the client's own options, and Goldseam says what it does with the answers.
//! With ANALYZE the shards really do it, as in PostgreSQL. `EXPLAIN (ROUTE, ANALYZE)` runs the statement by the way that `EXPLAIN (ROUTE)` shows,
//! and says what came from where, and how long it took.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::ask::{Ask, Desk, Taker};
use super::bench::Ready;
use super::outlet::{Outlet, count};
use super::{Assignment, Stop};
use crate::error::PgError;
use crate::plan::render::{Rendered, Rows, render};
use crate::plan::work::Bench;
use crate::plan::{self, Effects, Gather, Plan, Route, Steps, Verdict, Work};
use crate::protocol::encode;
use crate::protocol::frontend::Format;
use crate::session::route::Destination;
use crate::session::scatter::drive::take_rows;
use crate::session::{Session, Trouble};
use crate::sql::{self, Command};
use crate::types::{Oid, ShardId};

/// A statement that is explained.
struct Inner {
    /// As if the client had sent it.
    job: Assignment,
    plan: Arc<Plan>,
    /// EXPLAIN and its options, as the client wrote them.
    prefix: String,
    analyze: bool,
}

impl Session {
    /// `EXPLAIN (ROUTE, ANALYZE)` as a simple query.
    pub(in crate::session) async fn measure_query(&mut self, text: &str) -> Result<(), Trouble> {
        let work = Some(Arc::new(Work { always: true, steps: Steps::Explain }));
        let route = Route { work, ..Route::default() };
        let plan = Plan { verdict: Verdict::Route(route), effects: Effects::default(), literal: false };
        self.work_query(text, &plan).await
    }

    /// Explains; the command tag.
    pub(super) async fn perform_explain(&mut self, job: &Assignment, outlet: &mut Outlet) -> Result<Vec<u8>, Stop> {
        let Command::Explain { route, analyze, inner } = sql::classify(&job.text) else {
            return Err(PgError::unsupported("this EXPLAIN is not supported").into());
        };
        let text = job.text.get(inner.clone()).unwrap_or_default().to_owned();
        let prefix = job.text.get(..inner.start).unwrap_or_default().to_owned();
        if !route && ["json", "xml", "yaml"].iter().any(|format| prefix.to_ascii_lowercase().contains(format)) {
            return Err(PgError::unsupported("EXPLAIN over several shards has no form but text")
                .with_hint("Leave FORMAT out.")
                .into());
        }
        let normal = self.normal(&text)?;
        let plan = self.plan(&text, &normal);
        let work = match &plan.verdict {
            Verdict::Refuse(error) => return Err((**error).clone().into()),
            Verdict::Route(found) => found.work.clone().unwrap_or_else(|| job.work.clone()),
        };
        let (statement, bind) = (job.statement.clone(), job.bind.clone());
        let inner = Assignment { text, statement, work, effects: plan.effects.clone(), bind };
        let inner = Inner { job: inner, plan, prefix, analyze };
        let lines = if route { self.measured(&inner).await? } else { self.explained(&inner).await? };
        self.put_columns(outlet, Some(&query_plan()));
        let mut rows = BytesMut::new();
        lines.iter().for_each(|line| encode::data_row(&mut rows, [Some(line.as_str())].into_iter()));
        self.put_rows(outlet, &mut rows).await?;
        Ok(b"EXPLAIN".to_vec())
    }

    fn destination_of(&self, inner: &Inner) -> Result<Destination, PgError> {
        self.with_values(&inner.job, |values| self.resolve(&inner.plan, values))?
    }

    async fn explained(&mut self, inner: &Inner) -> Result<Vec<String>, Stop> {
        let destination = self.destination_of(inner)?;
        let destination = self.fitting(&inner.plan, &inner.job.text, None, destination).await?;
        match (destination, &inner.job.work.steps) {
            (Destination::Work, Steps::Bench(bench)) => {
                let outcome = self.explain_bench(inner, bench).await;
                self.close_bench().await;
                outcome
            }
            (Destination::Work, _) if inner.analyze => {
                Err(PgError::unsupported("EXPLAIN ANALYZE of a statement that takes several steps is not supported")
                    .with_hint("Use EXPLAIN without ANALYZE.")
                    .into())
            }
            (Destination::Work, _) => self.route_lines(inner).map_err(Stop::from),
            (Destination::Shards { shards, rows }, _) => {
                let names: Vec<&str> = shards.iter().map(|shard| self.state.vschema.shard_name(*shard)).collect();
                let mut lines = vec![format!("Goldseam Scatter over shards {}", names.join(", "))];
                let gather = inner.gather();
                if let Some(gather) = &gather {
                    let (text, vschema) = (&inner.job.text, &self.state.vschema);
                    lines.extend(plan::explain::gathered::lines(gather, text, &shards, &rows, vschema));
                }
                let texts = self.texts_for(inner, gather.as_deref(), shards.len(), &rows)?;
                for (shard, own) in self.explain_on(inner, &shards, &texts).await? {
                    lines.push(format!("  ->  Shard {}", self.state.vschema.shard_name(shard)));
                    lines.extend(own.into_iter().map(|line| format!("        {line}")));
                }
                Ok(lines)
            }
            (one, _) => {
                let shard = self.locate(one).await?;
                let texts = self.texts_for(inner, None, 1, &[])?;
                let answers = self.explain_on(inner, &[shard], &texts).await?;
                Ok(answers.into_iter().flat_map(|(_, lines)| lines).collect())
            }
        }
    }

    /// What `EXPLAIN (ROUTE)` shows.
    fn route_lines(&self, inner: &Inner) -> Result<Vec<String>, PgError> {
        let (plan, text, vschema) = (&inner.plan, &inner.job.text, &self.state.vschema);
        self.with_values(&inner.job, |values| plan::explain(plan, text, values, vschema, &self.decode))
    }

    /// The text of each of so many shards.
    fn texts_for(
        &self,
        inner: &Inner,
        gather: Option<&Gather>,
        shards: usize,
        rows: &[u16],
    ) -> Result<Vec<Rendered>, PgError> {
        let own = || {
            let count = inner.job.values()?.len();
            let parameters = (0..count).map(|n| n as u16).collect();
            Ok(Rendered { sql: inner.job.text.clone(), parameters, inputs: Vec::new() })
        };
        let Some(text) = gather.and_then(|gather| gather.text.as_ref()) else {
            return (0..shards).map(|_| own()).collect();
        };
        let tokens = sql::lex(&inner.job.text, &self.state.sql_limits())?;
        let each = (0..shards).map(|shard| {
            let wanted: Vec<bool> = rows.iter().map(|row| usize::from(*row) == shard).collect();
            render(text, &inner.job.text, &tokens, (!rows.is_empty()).then_some(&wanted[..]), None)
        });
        each.collect()
    }

    /// What is asked of each shard: these texts, with something before them, and the client's values.
    fn asks_for(
        &self,
        inner: &Inner,
        prefix: &str,
        shards: &[ShardId],
        texts: &[Rendered],
    ) -> Result<Vec<Ask>, PgError> {
        let values = inner.job.values()?;
        let types: Vec<Oid> = inner.job.statement.as_ref().map(|statement| statement.types.clone()).unwrap_or_default();
        let ask = |(shard, text): (&ShardId, &Rendered)| {
            let given = text.parameters.iter().map(|n| {
                let (format, value) = values.get(usize::from(*n)).copied().unwrap_or((Format::Text, None));
                (format, value.map(Bytes::copy_from_slice))
            });
            Ask {
                types: text.parameters.iter().map(|n| types.get(usize::from(*n)).copied().unwrap_or(0)).collect(),
                values: given.collect(),
                formats: Vec::new(),
                ..Ask::new(*shard, format!("{prefix}{}", text.sql))
            }
        };
        Ok(shards.iter().zip(texts).map(ask).collect())
    }

    /// Asks these shards to explain these texts.
    async fn explain_on(
        &mut self,
        inner: &Inner,
        shards: &[ShardId],
        texts: &[Rendered],
    ) -> Result<Vec<(ShardId, Vec<String>)>, Stop> {
        let effects = Effects { writes: inner.job.effects.writes && inner.analyze, ..inner.job.effects.clone() };
        self.enlist_for(&effects, shards).await?;
        let asks = self.asks_for(inner, &inner.prefix, shards, texts)?;
        let replies = self.ask_shards(asks).await?;
        let mut answers = Vec::with_capacity(replies.len());
        for reply in &replies {
            answers.push((reply.shard, lines_of(reply.values()?)));
        }
        Ok(answers)
    }

    async fn explain_bench(&mut self, inner: &Inner, bench: &Bench) -> Result<Vec<String>, Stop> {
        let job = &inner.job;
        let places = self.place_inputs(job, &bench.inputs).await?;
        let mut shards: Vec<ShardId> = places.iter().flatten().copied().collect();
        shards.sort();
        shards.dedup();
        self.enlist_for(&Effects::default(), &shards).await?;
        let texts = self.texts_of(job, &bench.inputs)?;
        let mut parts = Vec::with_capacity(bench.inputs.len());
        for (text, shards) in texts.iter().zip(&places) {
            let texts = vec![text.clone(); shards.len()];
            parts.push(self.explain_on(inner, shards, &texts).await?);
        }
        let Ready { home, types, staged } = match inner.analyze {
            true => self.prepare_bench(job, bench).await?,
            false => self.empty_bench(job, bench, &places).await?,
        };
        let ask = self.ask_rest(job, &bench.rest, &staged, &types, home, Vec::new())?;
        let sql = format!("{}{}", inner.prefix, ask.sql);
        let ask = Ask { sql: sql.into(), bench: self.has_workbench(), ..ask };
        let rest = self.ask_shards(vec![ask]).await?;
        let place = match self.is_apart() {
            true => "its own server".to_owned(),
            false => format!("shard {}", self.state.vschema.shard_name(home)),
        };
        let mut lines = vec![format!("Goldseam Workbench on {place}")];
        for (at, ((input, part), staged)) in bench.inputs.iter().zip(parts).zip(&staged).enumerate() {
            let measured = match (inner.analyze, &staged.source.rows) {
                (false, _) => String::new(),
                (true, Rows::Arrays { .. }) => format!("  (rows={} bytes={}, as arrays)", staged.rows, staged.bytes),
                (true, _) => format!("  (rows={} bytes={}, in a table)", staged.rows, staged.bytes),
            };
            lines.push(format!("  ->  Input {}, {}{measured}", at + 1, input.label));
            for (shard, own) in part {
                lines.push(format!("        ->  Shard {}", self.state.vschema.shard_name(shard)));
                lines.extend(own.into_iter().map(|line| format!("              {line}")));
            }
        }
        let text = plan::explain::benched::rendered(&bench.rest, &job.text);
        lines.push(format!("  ->  Rest: {text}"));
        for reply in &rest {
            lines.extend(lines_of(reply.values()?).into_iter().map(|line| format!("        {line}")));
        }
        Ok(lines)
    }

    /// Runs a statement for what it costs.
    async fn measured(&mut self, inner: &Inner) -> Result<Vec<String>, Stop> {
        if inner.job.effects.writes || inner.job.effects.ddl {
            return Err(PgError::unsupported("EXPLAIN (ROUTE, ANALYZE) of a statement that writes is not supported")
                .with_hint("Use EXPLAIN (ROUTE), which does not run it.")
                .into());
        }
        let mut lines = self.route_lines(inner)?;
        let begun = Instant::now();
        let destination = self.destination_of(inner)?;
        let destination = self.fitting(&inner.plan, &inner.job.text, None, destination).await?;
        let rows = match (destination, &inner.job.work.steps) {
            (Destination::Work, Steps::Bench(bench)) => {
                let outcome = self.measure_bench(inner, bench, &mut lines).await;
                self.close_bench().await;
                outcome?
            }
            (Destination::Work, _) => {
                return Err(PgError::unsupported("this statement cannot be measured").into());
            }
            (Destination::Shards { shards, rows }, _) => {
                let texts = self.texts_for(inner, inner.gather().as_deref(), shards.len(), &rows)?;
                self.measure_shards(inner, &shards, &texts, &mut lines).await?
            }
            (one, _) => {
                let shard = self.locate(one).await?;
                let texts = self.texts_for(inner, None, 1, &[])?;
                self.measure_shards(inner, &[shard], &texts, &mut lines).await?
            }
        };
        lines.push(format!("Measured: {rows} rows in {}", milliseconds(begun)));
        Ok(lines)
    }

    /// Runs each shard's part, and drops its rows; how many they were.
    async fn measure_shards(
        &mut self,
        inner: &Inner,
        shards: &[ShardId],
        texts: &[Rendered],
        lines: &mut Vec<String>,
    ) -> Result<u64, Stop> {
        self.enlist_for(&inner.job.effects, shards).await?;
        let asks = self.asks_for(inner, "", shards, texts)?;
        let mut tally = Tally { begun: Instant::now(), parts: HashMap::new() };
        self.ask_taking(asks, Some(&mut tally)).await?;
        let mut all = 0;
        for (at, shard) in shards.iter().enumerate() {
            let (rows, bytes, time) = tally.parts.remove(&at).unwrap_or_default();
            all += rows;
            let name = self.state.vschema.shard_name(*shard);
            lines.push(format!("  Shard {name}: {rows} rows, {bytes} bytes, {time}"));
        }
        Ok(all)
    }

    async fn measure_bench(&mut self, inner: &Inner, bench: &Bench, lines: &mut Vec<String>) -> Result<u64, Stop> {
        let begun = Instant::now();
        let Ready { home, types, staged } = self.prepare_bench(&inner.job, bench).await?;
        lines.push(format!("  Inputs: all there after {}", milliseconds(begun)));
        for (at, (input, staged)) in bench.inputs.iter().zip(&staged).enumerate() {
            let form = if matches!(staged.source.rows, Rows::Arrays { .. }) { "as arrays" } else { "in a table" };
            let (label, rows, bytes) = (&input.label, staged.rows, staged.bytes);
            lines.push(format!("  Input {}, {label}: {rows} rows, {bytes} bytes, {form}", at + 1));
        }
        let begun = Instant::now();
        let mut outlet = Outlet { dropped: true, ..Outlet::default() };
        self.answer_rest(&inner.job, &bench.rest, &staged, &types, home, &mut outlet).await?;
        let name = self.state.vschema.shard_name(home);
        lines.push(format!("  Rest on shard {name}: {} rows in {}", outlet.rows, milliseconds(begun)));
        Ok(outlet.rows)
    }
}

impl Inner {
    fn gather(&self) -> Option<Arc<Gather>> {
        match &self.plan.verdict {
            Verdict::Route(route) => route.gather.clone(),
            Verdict::Refuse(_) => None,
        }
    }
}

/// Counts rows and drops them: of each question how many, their bytes, and when the last had come.
struct Tally {
    begun: Instant,
    parts: HashMap<usize, (u64, u64, String)>,
}

impl Taker for Tally {
    fn columns(
        &mut self,
        _question: usize,
        _shard: ShardId,
        _body: Option<&Bytes>,
        _desk: &mut Desk<'_>,
    ) -> Result<(), Stop> {
        Ok(())
    }

    fn rows(&mut self, question: usize, incoming: &mut BytesMut, _desk: &mut Desk<'_>) -> Result<bool, Stop> {
        let part = self.parts.entry(question).or_default();
        let before = incoming.len();
        part.0 += count(incoming);
        take_rows(incoming, None);
        part.1 += (before - incoming.len()) as u64;
        Ok(true)
    }

    fn done(&mut self, question: usize, _desk: &mut Desk<'_>) -> Result<(), Stop> {
        self.parts.entry(question).or_default().2 = milliseconds(self.begun);
        Ok(())
    }
}

fn milliseconds(begun: Instant) -> String {
    format!("{:.3} ms", begun.elapsed().as_secs_f64() * 1_000.0)
}

/// The lines of a server's EXPLAIN.
fn lines_of(rows: Vec<Vec<Option<&[u8]>>>) -> Vec<String> {
    let line = |row: Vec<Option<&[u8]>>| {
        String::from_utf8_lossy(row.first().copied().flatten().unwrap_or_default()).into_owned()
    };
    rows.into_iter().map(line).collect()
}

/// The one column of EXPLAIN, as the body of a RowDescription.
fn query_plan() -> Vec<u8> {
    let mut message = BytesMut::new();
    encode::row_description(&mut message, &["QUERY PLAN"]);
    message.split_off(crate::protocol::frame::HEADER).to_vec()
}
