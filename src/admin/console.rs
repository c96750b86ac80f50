//! The console's side of the wire: simple queries in, tables out.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use super::{Found, Request, Rights, Table, find};
use crate::error::PgError;
use crate::protocol::{self, encode};
use crate::session::client::Client;
use crate::session::registry::{Registration, Status};
use crate::session::shared::Shared;
use crate::sqlstate::SqlState;

/// An operator who pipelines is read ahead that far while a command runs.
const AHEAD: usize = 64 << 10;

/// An operator's connection.
#[derive(Debug)]
pub struct Console {
    shared: Arc<Shared>,
    client: Client,
    handle: Registration,
    rights: Rights,
}

impl Console {
    /// A console that has said nothing yet.
    pub fn new(shared: Arc<Shared>, client: Client, handle: Registration, rights: Rights) -> Self {
        Console { shared, client, handle, rights }
    }

    /// Serves until the operator leaves.
    pub async fn run(mut self) {
        let out = &mut self.client.outgoing;
        encode::authentication_ok(out);
        for (name, value) in [
            ("server_version", concat!("15.0 (goldseam ", env!("CARGO_PKG_VERSION"), ")")),
            ("server_encoding", "UTF8"),
            ("client_encoding", "UTF8"),
            ("DateStyle", "ISO, MDY"),
            ("TimeZone", "UTC"),
            ("standard_conforming_strings", "on"),
        ] {
            encode::parameter_status(out, name, value);
        }
        encode::backend_key_data(out, self.handle.pid, &self.handle.secret());
        encode::ready_for_query(out, b'I');
        // The operator's end of the stream ends the console, whatever the reason.
        let _ = self.serve().await;
    }

    async fn serve(&mut self) -> std::io::Result<()> {
        loop {
            self.client.send().await?;
            let max = self.shared.state.load().config.limits.max_login_frame;
            match protocol::frame(&self.client.incoming, max) {
                Ok(Some(frame)) => {
                    let message = self.client.incoming.split_to(frame.len);
                    if !self.act(frame.tag, &message).await {
                        return Ok(());
                    }
                }
                Ok(None) => match self.fill().await? {
                    None => {
                        let error = PgError::fatal(
                            SqlState::ADMIN_SHUTDOWN,
                            "terminating connection due to administrator command",
                        );
                        encode::error_response(&mut self.client.outgoing, &error);
                        return self.client.send().await;
                    }
                    Some(0) => return Ok(()),
                    Some(_) => {}
                },
                Err(error) => {
                    encode::error_response(&mut self.client.outgoing, &error);
                    return self.client.send().await;
                }
            }
        }
    }

    /// Reads some bytes; none if the console has to end, because the proxy does.
    async fn fill(&mut self) -> std::io::Result<Option<usize>> {
        poll_fn(|cx| {
            self.handle.register(cx.waker());
            if self.handle.is_stopped() {
                return Poll::Ready(Ok(None));
            }
            self.client.poll_fill(cx).map_ok(Some)
        })
        .await
    }

    /// One message; false at the end.
    async fn act(&mut self, tag: u8, message: &[u8]) -> bool {
        let outcome = match tag {
            b'X' => return false,
            b'Q' => match protocol::frontend::query(&message[protocol::frame::HEADER..]) {
                Ok(text) => match self.command(text).await {
                    Some(outcome) => outcome,
                    None => return false,
                },
                Err(error) => Err(error),
            },
            b'S' => {
                encode::ready_for_query(&mut self.client.outgoing, b'I');
                return true;
            }
            // Said once for the whole batch, when its Execute comes.
            b'P' | b'B' | b'D' | b'C' | b'H' => return true,
            b'E' => {
                let error = PgError::unsupported("extended query protocol not supported by admin console")
                    .with_hint("Send the command as a simple query.");
                encode::error_response(&mut self.client.outgoing, &error);
                return true;
            }
            _ => return false,
        };
        let out = &mut self.client.outgoing;
        match outcome {
            Ok(Some((tag, table))) => {
                if !table.columns.is_empty() {
                    let columns = table.columns.iter().map(|(name, kind)| {
                        let (oid, size) = kind.oid();
                        (*name, oid, size)
                    });
                    encode::row_description_typed(out, columns);
                    for row in &table.rows {
                        encode::data_row(out, row.iter().map(|cell| cell.text()));
                    }
                }
                encode::command_complete(out, tag);
            }
            Ok(None) => encode::empty_query(out),
            Err(error) => encode::error_response(out, &error),
        }
        encode::ready_for_query(out, b'I');
        true
    }

    /// Runs a command while the operator is watched: a cancel request ends it, and so does leaving; none in the latter case.
    async fn command(&mut self, text: &str) -> Option<Result<Option<(&'static str, Table)>, PgError>> {
        let (command, argument) = match find(text) {
            Found::Nothing => return Some(Ok(None)),
            Found::Command(command, argument) => (command, argument),
            Found::Unknown(error) => return Some(Err(error)),
        };
        if !self.rights.allow(command) {
            let error = PgError::new(SqlState::INSUFFICIENT_PRIVILEGE, "admin access needed");
            return Some(
                Err(error.with_hint("Give the user `operator = true`; with `stats = true` it may SHOW only.")),
            );
        }
        tracing::info!(user = %self.handle.user, command = command.name, argument, "console");
        // Only one who waits hears a cancel request.
        let quick = command.name.starts_with("SHOW ");
        self.handle.set_status(if quick { Status::Active } else { Status::Waiting });
        let mut running = (command.run)(Request { shared: self.shared.clone(), argument });
        let outcome = poll_fn(|cx| {
            self.handle.register(cx.waker());
            if let Poll::Ready(outcome) = running.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            if self.handle.is_stopped() {
                return Poll::Ready(None);
            }
            if self.handle.take_cancelled() {
                let error = PgError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request");
                return Poll::Ready(Some(Err(error)));
            }
            if self.client.incoming.len() < AHEAD
                && let Poll::Ready(Ok(0) | Err(_)) = self.client.poll_fill(cx)
            {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await;
        self.handle.set_status(Status::Idle);
        let tag = command.name.split(' ').next().unwrap_or(command.name);
        outcome.map(|outcome| outcome.map(|table| Some((tag, table))))
    }
}
