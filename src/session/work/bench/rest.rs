//! The rest of a statement, over its inputs.

use std::pin::Pin;
use std::task::Context;

use bytes::{Bytes, BytesMut};

use super::super::ask::{Ask, Desk, Taker};
use super::super::outlet::Outlet;
use super::super::{Assignment, Stop};
use super::fetch::{Staged, Types};
use super::late;
use crate::error::PgError;
use crate::plan::gather::Text;
use crate::plan::render::{Source, render_over};
use crate::protocol::frontend::Format;
use crate::session::Session;
use crate::sql;
use crate::types::ShardId;

/// Rows go to the client as they come.
struct Answer<'o> {
    outlet: &'o mut Outlet,
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Taker for Answer<'_> {
    fn columns(
        &mut self,
        _question: usize,
        _shard: ShardId,
        body: Option<&Bytes>,
        desk: &mut Desk<'_>,
    ) -> Result<(), Stop> {
        self.outlet.take_columns(body.map(|body| &body[..]), desk.client);
        Ok(())
    }

    fn rows(&mut self, _question: usize, incoming: &mut BytesMut, desk: &mut Desk<'_>) -> Result<bool, Stop> {
        Ok(self.outlet.take_rows(incoming, desk.client)?)
    }

    fn poll(&mut self, cx: &mut Context<'_>, _desk: &mut Desk<'_>) -> Result<bool, Stop> {
        match self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            true => Err(late().into()),
            false => Ok(false),
        }
    }
}

impl Session {
    /// What is asked to run a text over inputs; the columns come back in `formats`.
    pub(in crate::session) fn ask_rest(
        &self,
        job: &Assignment,
        text: &Text,
        staged: &[Staged],
        types: &Types,
        shard: ShardId,
        formats: Vec<i16>,
    ) -> Result<Ask, PgError> {
        Ok(self.ask_rest_of(job, text, staged, types, shard, formats)?.0)
    }

    /// The same, and which of the client's parameters it has.
    pub(super) fn ask_rest_of(
        &self,
        job: &Assignment,
        text: &Text,
        staged: &[Staged],
        types: &Types,
        shard: ShardId,
        formats: Vec<i16>,
    ) -> Result<(Ask, Vec<u16>), PgError> {
        let tokens = sql::lex(&job.text, &self.state.sql_limits())?;
        let sources: Vec<Source> = staged.iter().map(|staged| staged.source.clone()).collect();
        let rendered = render_over(text, &job.text, &tokens, None, None, &sources)?;
        let client = job.values()?;
        let mut values = Vec::new();
        for parameter in &rendered.parameters {
            let (format, value) = client.get(usize::from(*parameter)).copied().unwrap_or((Format::Text, None));
            values.push((format, value.map(Bytes::copy_from_slice)));
        }
        for staged in rendered.inputs.iter().filter_map(|input| staged.get(usize::from(*input))) {
            values.extend(staged.arrays.iter().map(|array| (Format::Binary, Some(array.clone()))));
        }
        let types = rendered.parameters.iter().map(|n| types.on(shard, *n)).collect();
        Ok((Ask { types, values, formats, ..Ask::new(shard, rendered.sql) }, rendered.parameters))
    }

    /// Runs the rest for the client; the command tag.
    pub(in crate::session) async fn answer_rest(
        &mut self,
        job: &Assignment,
        text: &Text,
        staged: &[Staged],
        types: &Types,
        shard: ShardId,
        outlet: &mut Outlet,
    ) -> Result<Vec<u8>, Stop> {
        let bench = self.workbench.is_some();
        let ask = Ask { bench, ..self.ask_rest(job, text, staged, types, shard, job.formats()?)? };
        let mut answer = Answer { outlet, deadline: self.deadline() };
        let mut replies = self.ask_taking(vec![ask], Some(&mut answer)).await?;
        Ok(replies.pop().map(|reply| reply.tag.into_bytes()).unwrap_or_default())
    }
}
