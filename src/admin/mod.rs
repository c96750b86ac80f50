//! The operators' console: the virtual database `goldseam`, after PgBouncer's.
//!
//! One file per command, one line per command in [`COMMANDS`]; its `about` is its help. Only users with the operator right get here.
//! The simple query protocol is enough for psql and for monitoring tools.

mod reload;
mod show_clients;
mod show_help;
mod show_pools;
mod show_shards;
mod show_version;
mod show_vschema;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use crate::error::PgError;
use crate::protocol::{self, encode};
use crate::session::client::Client;
use crate::session::registry::Registration;
use crate::session::shared::Shared;
use crate::sqlstate::SqlState;

/// What a command answers.
#[derive(Debug, Default)]
pub struct Table {
    /// Column names; none if the command returns no rows.
    pub columns: Vec<&'static str>,
    /// One text per column.
    pub rows: Vec<Vec<String>>,
}

type Answer = Pin<Box<dyn Future<Output = Result<Table, PgError>> + Send>>;

/// A command of the console.
#[derive(Clone, Copy)]
pub struct AdminCommand {
    /// In upper case, words one space apart.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// Does it.
    pub run: fn(Arc<Shared>) -> Answer,
}

/// All commands, in alphabetical order.
pub const COMMANDS: &[AdminCommand] = &[
    reload::COMMAND,
    show_clients::COMMAND,
    show_help::COMMAND,
    show_pools::COMMAND,
    show_shards::COMMAND,
    show_version::COMMAND,
    show_vschema::COMMAND,
];

/// Whether a database's name is the console's. `pgbouncer` is, so that existing tools find it.
pub fn is_console(database: &str) -> bool {
    matches!(database, "goldseam" | "pgbouncer")
}

/// An operator's connection.
#[derive(Debug)]
pub struct Console {
    shared: Arc<Shared>,
    client: Client,
    handle: Registration,
}

impl Console {
    /// A console that has said nothing yet.
    pub fn new(shared: Arc<Shared>, client: Client, handle: Registration) -> Self {
        Console { shared, client, handle }
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
        std::future::poll_fn(|cx| {
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
                Ok(text) => run(text, self.shared.clone()).await,
                Err(error) => Err(error),
            },
            b'S' => {
                encode::ready_for_query(&mut self.client.outgoing, b'I');
                return true;
            }
            // Said once for the whole batch, when its Execute comes.
            b'P' | b'B' | b'D' | b'C' | b'H' => return true,
            b'E' => {
                let error = PgError::unsupported("the console speaks the simple query protocol only");
                encode::error_response(&mut self.client.outgoing, &error);
                return true;
            }
            _ => return false,
        };
        let out = &mut self.client.outgoing;
        match outcome {
            Ok(Some((tag, table))) => {
                if !table.columns.is_empty() {
                    encode::row_description(out, &table.columns);
                    for row in &table.rows {
                        encode::data_row(out, row.iter().map(Some));
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
}

/// Runs a command's text; none for an empty one.
async fn run(text: &str, shared: Arc<Shared>) -> Result<Option<(&'static str, Table)>, PgError> {
    let words: Vec<String> = text.trim().trim_end_matches(';').split_whitespace().map(str::to_uppercase).collect();
    if words.is_empty() {
        return Ok(None);
    }
    let name = words.join(" ");
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        return Err(PgError::new(SqlState::SYNTAX_ERROR, format!("unknown console command \"{name}\""))
            .with_hint("SHOW HELP lists the commands."));
    };
    let table = (command.run)(shared).await?;
    let tag = command.name.split(' ').next().unwrap_or(command.name);
    Ok(Some((tag, table)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_in_alphabetical_order() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
    }
}
