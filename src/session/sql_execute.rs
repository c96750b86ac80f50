//! EXECUTE of a statement that is not simply forwarded: it leads to several shards, or what it leads to is not known before its arguments
//! are evaluated; and EXECUTE within the extended protocol.
//!
//! Such a statement is bound like one of the protocol: its arguments become text values, and its declared types numbers. An argument that is a plain
//! literal of a fitting type is read here; any others a server evaluates, once, by an EXECUTE of its own, so that PostgreSQL's rules of
//! assignment hold and its errors come.

use std::sync::Arc;

use bytes::BytesMut;

use super::command::quoted;
use super::effects::After;
use super::relay::Expect;
use super::route::Destination;
use super::scatter::finish::description;
use super::scatter::portal::set_formats;
use super::sql_prepare::{declared_types, split_arguments};
use super::statements::Statement;
use super::values::BoundValues;
use super::work::ask::{Ask, What};
use super::{Session, Trouble};
use crate::error::PgError;
use crate::plan::{Effects, Plan, Verdict};
use crate::protocol::frame::HEADER;
use crate::protocol::frontend::Format;
use crate::protocol::{BindView, encode, request};
use crate::sql;
use crate::types::{Oid, Raw, ShardId, oid};

/// One EXECUTE.
pub(super) struct Execution {
    pub statement: Arc<Statement>,
    /// The arguments, as they are written.
    pub arguments: Vec<String>,
}

/// A bound statement, and where it goes.
pub(super) struct Settled {
    pub statement: Arc<Statement>,
    pub plan: Arc<Plan>,
    pub destination: Destination,
    /// The Bind message.
    pub bind: BytesMut,
}

impl Session {
    /// Runs it; `formats` are the client's for the result. In a simple query its answer begins with the columns; nothing here ends the query.
    pub(super) async fn execute_prepared(
        &mut self,
        execution: Execution,
        formats: &[i16],
        simple: bool,
    ) -> Result<(), Trouble> {
        let twin = self.twin(&execution.statement)?;
        let values = self.evaluate(&execution, &twin).await?;
        let mut bind = BytesMut::new();
        let given: Vec<(Format, Option<&[u8]>)> =
            values.iter().map(|value| (Format::Text, value.as_deref().map(str::as_bytes))).collect();
        request::bind_values(&mut bind, "", "", given.into_iter(), formats);
        let own = twin.id;
        let Settled { statement: twin, plan, destination, bind } = self.settled(twin, bind).await?;
        if !simple && plan.effects.sets {
            // What it sets would be known on one server only: the session does not follow an EXECUTE of this way.
            return Err(PgError::unsupported("EXECUTE of set_config() within the extended protocol is not supported")
                .with_hint("Prepare and bind SELECT set_config(...) itself, or use SET.")
                .into());
        }
        if !simple && plan.effects.noted && self.transaction.is_idle() {
            // What lookups know of it is a part of its transaction, which lasts up to the Sync.
            self.set_aside().await?;
            self.begin_implicit();
        }
        match self.fitting(&plan, &twin.text, Some(&twin), destination).await? {
            Destination::Shards { shards, rows } => {
                Box::pin(self.scatter_prepared(twin, &plan, (shards, rows), bind, simple)).await
            }
            Destination::Work => Box::pin(self.work_prepared(twin, &plan, bind, simple)).await,
            destination => {
                let shown = (!simple).then_some(formats);
                if twin.id == own {
                    return self.execute_on_one(&execution.statement, &plan, destination, &values, shown).await;
                }
                // With values of ours behind the client's.
                let view = BindView::new(&bind[HEADER..])?;
                let text = |value: Option<&[u8]>| value.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                let values: Vec<_> = view.parameters().map(text).collect();
                self.execute_on_one(&twin, &plan, destination, &values, shown).await
            }
        }
    }

    /// Where a bound statement goes, with the values in it that have to be one for the whole.
    pub(super) async fn settled(&mut self, statement: Arc<Statement>, bind: BytesMut) -> Result<Settled, Trouble> {
        /// A text may need values again when it is seen with those that it has got.
        const ROUNDS: usize = 4;
        let mut settled = Settled { plan: self.plan_for(&statement), destination: Destination::Home, statement, bind };
        for _ in 0..ROUNDS {
            let statement = settled.statement.clone();
            settled.plan = self.plan_for(&statement);
            settled.destination = {
                let view = BindView::new(&settled.bind[HEADER..])?;
                let types = statement.inferred.get().map_or(&statement.types[..], |types| types);
                let values = BoundValues { text: &statement.text, literals: &statement.literals, types, bind: &view };
                self.resolve(&settled.plan, &values)?
            };
            let own = Some(statement.parameters);
            let Some(filled) = self.fill(&statement.text, &settled.plan, &settled.destination, own).await? else {
                return Ok(settled);
            };
            let view = BindView::new(&settled.bind[HEADER..])?;
            let own = view.parameters().enumerate().map(|(n, value)| (view.format(n), value));
            let more = filled.values.iter().map(|value| (Format::Text, Some(&value[..])));
            let values: Vec<_> = own.chain(more).collect();
            let formats: Vec<i16> = view.result_formats().map(|format| i16::from(format == Format::Binary)).collect();
            let mut bind = BytesMut::new();
            request::bind_values(&mut bind, "", "", values.into_iter(), &formats);
            settled.statement = self.statement(&filled.text, &statement.types, None)?;
            settled.bind = bind;
        }
        Err(PgError::unsupported("a statement whose defaults are computed by one another").into())
    }

    /// The statement as the protocol would have prepared it: with numbers for the names of types.
    pub(super) fn twin(&self, statement: &Arc<Statement>) -> Result<Arc<Statement>, PgError> {
        let Some(declared) = &statement.sql_types else { return Ok(statement.clone()) };
        let limits = self.state.sql_limits();
        let names = declared.as_deref().map(|list| split_arguments(list, &limits)).transpose()?.unwrap_or_default();
        let types: Vec<Oid> = names.iter().map(|name| declared_types::number(name)).collect();
        self.statement(&statement.text, &types, None)
    }

    /// The arguments' values in text form.
    async fn evaluate(&mut self, execution: &Execution, twin: &Statement) -> Result<Vec<Option<String>>, Trouble> {
        let limits = self.state.sql_limits();
        let raws: Vec<_> = execution.arguments.iter().map(|text| super::sql_prepare::argument(text, &limits)).collect();
        let texts = |types: &[Oid]| -> Option<Vec<Option<String>>> {
            let known = |n: usize| types.get(n).copied().unwrap_or(0);
            raws.iter().enumerate().map(|(n, raw)| plain_value(raw.as_ref()?, known(n))).collect()
        };
        if let Some(values) = texts(twin.inferred.get().map_or(&twin.types[..], |types| types)) {
            return Ok(values);
        }
        self.set_aside().await?;
        let shard = self.any_shard(None);
        let outcome = self.evaluate_on(shard, execution, twin, texts).await;
        if outcome.is_err() && !self.transaction.is_idle() {
            self.transaction.fail();
        }
        if self.transaction.is_idle() {
            self.release_unused();
        }
        outcome
    }

    async fn evaluate_on(
        &mut self,
        shard: ShardId,
        execution: &Execution,
        twin: &Statement,
        texts: impl Fn(&[Oid]) -> Option<Vec<Option<String>>>,
    ) -> Result<Vec<Option<String>>, Trouble> {
        let declared = execution.statement.sql_types.as_ref().and_then(|types| types.as_deref());
        let declared = match declared {
            Some(names) => names.to_owned(),
            None => {
                let types = match twin.inferred.get() {
                    Some(types) => types.to_vec(),
                    None => self.infer(twin).await?,
                };
                if let Some(values) = texts(&types) {
                    return Ok(values);
                }
                self.enlist_for(&Effects::default(), &[shard]).await?;
                let list: Vec<String> =
                    types.iter().map(|oid| format!("pg_catalog.format_type({oid}, NULL)")).collect();
                let sql = format!("SELECT {}", list.join(", "));
                let names = self.text_row(Ask { formats: vec![0], ..Ask::new(shard, sql) }).await?;
                let names: Vec<String> = names.into_iter().map(Option::unwrap_or_default).collect();
                names.join(", ")
            }
        };
        self.enlist_for(&Effects::default(), &[shard]).await?;
        let columns: Vec<String> = (1..=execution.arguments.len()).map(|n| format!("${n}")).collect();
        // A number, because one that a failed transaction leaves behind is in nobody's way then.
        self.turn = self.turn.wrapping_add(1);
        let name = format!("\"goldseam: arguments {}\"", self.turn);
        let prepare = format!("PREPARE {name} ({declared}) AS SELECT {}", columns.join(", "));
        self.ask_shards(vec![Ask::new(shard, prepare)]).await?;
        let execute = format!("EXECUTE {name} ({})", execution.arguments.join(", "));
        let values = self.text_row(Ask { formats: vec![0], ..Ask::new(shard, execute) }).await;
        if values.is_ok() || self.transaction.is_idle() {
            self.ask_shards(vec![Ask::new(shard, format!("DEALLOCATE {name}"))]).await?;
        }
        values
    }

    /// The parameters' types, as one shard infers them.
    pub(super) async fn infer(&mut self, statement: &Statement) -> Result<Vec<Oid>, Trouble> {
        let shard = self.describing_shard(&self.plan_for(statement));
        self.enlist_for(&Effects::default(), &[shard]).await?;
        let ask = Ask {
            what: What::Describe,
            types: statement.types.clone(),
            rewritten: false,
            ..Ask::new(shard, statement.text.clone())
        };
        let types = self.ask_shards(vec![ask]).await?.pop().map(|reply| reply.types).unwrap_or_default();
        let _ = statement.inferred.set(types.clone().into());
        Ok(types)
    }

    /// The values of the first row, as text.
    async fn text_row(&mut self, ask: Ask) -> Result<Vec<Option<String>>, Trouble> {
        let reply = self.ask_shards(vec![ask]).await?.pop();
        let Some(reply) = reply else { return Ok(Vec::new()) };
        let text = |value: Option<&[u8]>| value.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Ok(reply.values()?.into_iter().next().unwrap_or_default().into_iter().map(text).collect())
    }

    /// It leads to one shard, which has the statement or gets it.
    async fn execute_on_one(
        &mut self,
        statement: &Arc<Statement>,
        plan: &Plan,
        destination: Destination,
        values: &[Option<String>],
        formats: Option<&[i16]>,
    ) -> Result<(), Trouble> {
        self.admit_state(&destination, &plan.effects)?;
        let shard = self.locate(destination).await?;
        self.admit(shard, &plan.effects)?;
        self.attach(shard).await?;
        let Some(index) = self.attached else { return Err(Trouble::Skipped) };
        self.note_effects(&plan.effects);
        self.have_kept(index, statement);
        let literal = |value: &Option<String>| value.as_deref().map_or("NULL".into(), literal);
        let values: Vec<String> = values.iter().map(literal).collect();
        let list = if values.is_empty() { String::new() } else { format!(" ({})", values.join(", ")) };
        let text = format!("EXECUTE {}{list}", quoted(&statement.server_name));
        self.meter_sent(plan.effects.tally.as_ref());
        self.after.push_back(After::Nothing);
        let Some(formats) = formats else {
            let mut frame = BytesMut::new();
            request::query(&mut frame, &text);
            self.put_query(index, &frame);
            return Ok(());
        };
        self.batch.executed = true;
        self.batch.tied |= super::extended::ties(&plan.effects);
        let out = &mut self.held[index].lease.outgoing;
        request::parse(out, "", &text, std::iter::empty());
        request::bind_values(out, "", "", std::iter::empty(), formats);
        request::execute(out, "", 0);
        self.held[index].unnamed = None;
        self.relay.expect(Expect::Parse { pass: false, statement: None });
        self.relay.expect(Expect::Bind { pass: false });
        self.relay.expect(Expect::Execute { pass: true });
        Ok(())
    }

    /// Describe of an EXECUTE: its columns are the prepared statement's, and it has no parameters of its own.
    pub(super) async fn describe_execute(
        &mut self,
        name: &str,
        formats: &[i16],
        of_statement: bool,
    ) -> Result<(), Trouble> {
        self.open_pending().await?;
        self.prove_all().await?;
        self.set_aside().await?;
        let Some(statement) = self.names.get(name).cloned() else {
            // That it is not there shows when it is executed.
            if of_statement {
                encode::parameter_description(&mut self.client.outgoing, &[]);
            }
            encode::no_data(&mut self.client.outgoing);
            return Ok(());
        };
        let twin = self.twin(&statement)?;
        let shard = self.describing_shard(&self.plan_for(&twin));
        self.enlist_for(&Effects::default(), &[shard]).await?;
        let ask = Ask { what: What::Describe, types: twin.types.clone(), ..Ask::new(shard, twin.text.clone()) };
        let replies = self.ask_shards(vec![ask]).await;
        if self.transaction.is_idle() {
            self.release_unused();
        }
        let columns = replies?.pop().and_then(|reply| reply.columns);
        if of_statement {
            encode::parameter_description(&mut self.client.outgoing, &[]);
        }
        let mut message = BytesMut::new();
        description(columns.as_deref(), &mut message);
        set_formats(&mut message, formats);
        self.client.outgoing.extend_from_slice(&message);
        Ok(())
    }

    /// A shard that knows all of a statement's tables.
    pub(super) fn describing_shard(&self, plan: &Plan) -> ShardId {
        let home = self.state.vschema.home();
        match &plan.verdict {
            Verdict::Route(route) => match route.describable(&self.state.vschema) {
                Some(shards) if !shards.contains(&home) => shards.first().copied().unwrap_or(home),
                _ => home,
            },
            Verdict::Refuse(_) => home,
        }
    }
}

/// A string that every setting of `standard_conforming_strings` reads the same way.
pub(super) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') { format!(" E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

/// A plain literal as the text of a parameter of this type; none where it is for a server to say.
fn plain_value(raw: &Raw<'_>, target: Oid) -> Option<Option<String>> {
    let (text, kind) = match raw {
        Raw::Null => return Some(None),
        Raw::Text { text, oid } => (text, *oid),
        Raw::Binary { .. } => return None,
    };
    if kind == oid::UNKNOWN {
        return Some(Some(text.to_string()));
    }
    let whole: Option<i64> = text.parse().ok();
    let fits = match (target, whole) {
        (oid::INT2, Some(whole)) => i16::try_from(whole).is_ok(),
        (oid::INT4, Some(whole)) => i32::try_from(whole).is_ok(),
        (oid::INT8 | oid::TEXT | oid::VARCHAR, Some(_)) | (oid::NUMERIC | oid::FLOAT8, _) => true,
        _ => false,
    };
    // `007` is a number, and its text is `7`.
    let canonical = || whole.map_or_else(|| text.to_string(), |whole| whole.to_string());
    fits.then(|| Some(canonical()))
}

/// Where a text stands in a statement's list of arguments, none is lost: as many as there are commas, and one more.
pub(super) fn arguments_of(text: Option<&str>, limits: &sql::Limits) -> Result<Vec<String>, PgError> {
    let pieces = text.map(|text| split_arguments(text, limits)).transpose()?.unwrap_or_default();
    Ok(pieces.into_iter().map(|piece| piece.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Raw<'_> {
        Raw::Text { text: text.into(), oid: oid::NUMERIC }
    }

    #[test]
    fn a_literal_is_a_value_where_no_cast_would_change_it() {
        let text = Raw::Text { text: "1.5".into(), oid: oid::UNKNOWN };
        assert_eq!(plain_value(&text, oid::INT4), Some(Some("1.5".into())));
        assert_eq!(plain_value(&Raw::Null, 0), Some(None));
        assert_eq!(plain_value(&number("7"), oid::INT8), Some(Some("7".into())));
        assert_eq!(plain_value(&number("007"), oid::TEXT), Some(Some("7".into())));
        assert_eq!(plain_value(&number("1.50"), oid::NUMERIC), Some(Some("1.50".into())));
        for (value, target) in
            [("1.5", oid::INT4), ("70000", oid::INT2), ("7", oid::DATE), ("7", 0), ("1e3", oid::TEXT)]
        {
            assert_eq!(plain_value(&number(value), target), None, "{value} {target}");
        }
    }

    #[test]
    fn a_value_is_a_literal_whatever_is_in_it() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r" E'a\\''b'");
    }
}
