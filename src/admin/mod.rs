//! The operators' console: the virtual database `goldseam`, after PgBouncer's, and what the API shows.
//!
//! One file per command, one line per command in [`COMMANDS`]; its `about` is its help. Where PgBouncer has the command, the answer
//! begins with PgBouncer's columns under their names and in their order (those of 1.24, and `load_balance_hosts` in `SHOW POOLS`), so that
//! exporters and scripts made for it work; Goldseam's own follow. The simple query protocol is all that it speaks, as there.
//!
//! A command answers a [`Table`], and that is the one source of what the [`Console`] prints and the API sends as JSON. None shows a
//! password or a value of a client's statement.

mod console;
mod disable;
mod enable;
mod kill;
mod kill_client;
mod pause;
mod reconnect;
mod reload;
mod resume;
mod show_clients;
mod show_config;
mod show_databases;
mod show_drift;
mod show_help;
mod show_lists;
mod show_pools;
mod show_queries;
mod show_refusals;
mod show_servers;
mod show_shards;
mod show_state;
mod show_stats;
mod show_stats_averages;
mod show_stats_totals;
mod show_totals;
mod show_users;
mod show_version;
mod show_vschema;
mod shutdown;
mod table;
mod wait_close;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::PgError;
use crate::session::shared::Shared;
use crate::sqlstate::SqlState;
use crate::types::nearest;

pub use console::Console;
pub use table::{Cell, Column, Kind, Table};

type Answer = Pin<Box<dyn Future<Output = Result<Table, PgError>> + Send>>;

/// What a command is given.
pub struct Request {
    /// The proxy.
    pub shared: Arc<Shared>,
    /// What stands behind the command's name.
    pub argument: Option<String>,
}

/// Whether something stands behind a command's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// Nothing.
    None,
    /// This, or nothing.
    Optional(&'static str),
    /// This.
    Required(&'static str),
}

/// A command of the console.
#[derive(Clone, Copy)]
pub struct AdminCommand {
    /// In upper case, words one space apart.
    pub name: &'static str,
    /// What may follow.
    pub argument: Argument,
    /// One line of help.
    pub about: &'static str,
    /// Does it.
    pub run: fn(Request) -> Answer,
}

/// All commands, in alphabetical order.
pub const COMMANDS: &[AdminCommand] = &[
    disable::COMMAND,
    enable::COMMAND,
    kill::COMMAND,
    kill_client::COMMAND,
    pause::COMMAND,
    reconnect::COMMAND,
    reload::COMMAND,
    resume::COMMAND,
    show_clients::COMMAND,
    show_config::COMMAND,
    show_databases::COMMAND,
    show_drift::COMMAND,
    show_help::COMMAND,
    show_lists::COMMAND,
    show_pools::COMMAND,
    show_queries::COMMAND,
    show_refusals::COMMAND,
    show_servers::COMMAND,
    show_shards::COMMAND,
    show_state::COMMAND,
    show_stats::COMMAND,
    show_stats_averages::COMMAND,
    show_stats_totals::COMMAND,
    show_totals::COMMAND,
    show_users::COMMAND,
    show_version::COMMAND,
    show_vschema::COMMAND,
    shutdown::COMMAND,
    wait_close::COMMAND,
];

/// Whether a database's name is the console's. `pgbouncer` is, so that existing tools find it.
pub fn is_console(database: &str) -> bool {
    matches!(database, "goldseam" | "pgbouncer")
}

/// What somebody may do on the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Everything: `operator = true`.
    Operator,
    /// Look: `stats = true`.
    Stats,
}

impl Rights {
    /// Whether they may run it.
    fn allow(self, command: &AdminCommand) -> bool {
        self == Rights::Operator || command.name.starts_with("SHOW ")
    }
}

/// The command that a text means.
enum Found {
    /// The text is empty.
    Nothing,
    /// This one, with its argument.
    Command(&'static AdminCommand, Option<String>),
    /// None; here is why.
    Unknown(PgError),
}

/// Reads a command: words in any case, an argument as it is written or in double quotes, a semicolon or none.
fn find(text: &str) -> Found {
    let text = text.trim().trim_end_matches(';');
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() {
        return Found::Nothing;
    }
    let begins = |command: &&AdminCommand| {
        let mut own = command.name.split(' ').zip(&words);
        command.name.split(' ').count() <= words.len() && own.all(|(own, word)| own.eq_ignore_ascii_case(word))
    };
    let Some(command) = COMMANDS.iter().filter(begins).max_by_key(|command| command.name.len()) else {
        let error = PgError::new(SqlState::SYNTAX_ERROR, format!("invalid command '{text}', use SHOW HELP;"));
        let near = nearest::hint(&words.join(" ").to_uppercase(), COMMANDS.iter().map(|command| command.name));
        return Found::Unknown(error.with_hint(near.unwrap_or_else(|| "SHOW HELP lists the commands.".to_owned())));
    };
    let rest = words[command.name.split(' ').count()..].join(" ");
    let argument = rest.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&rest);
    let argument = (!argument.is_empty()).then(|| argument.to_owned());
    match (command.argument, &argument) {
        (Argument::None, Some(_)) => {
            Found::Unknown(PgError::new(SqlState::SYNTAX_ERROR, format!("invalid command '{text}', use SHOW HELP;")))
        }
        (Argument::Required(what), None) => {
            Found::Unknown(PgError::new(SqlState::SYNTAX_ERROR, format!("{} needs a {what}", command.name)))
        }
        _ => Found::Command(command, argument),
    }
}

/// Answers what the console would, to somebody who may look.
///
/// # Errors
/// The command's own; `42601` if there is no such command.
pub async fn show(shared: &Arc<Shared>, name: &str) -> Result<Table, PgError> {
    match find(&format!("SHOW {name}")) {
        Found::Command(command, None) => (command.run)(Request { shared: shared.clone(), argument: None }).await,
        Found::Unknown(error) => Err(error),
        Found::Nothing | Found::Command(..) => Err(PgError::new(SqlState::SYNTAX_ERROR, "no such table")),
    }
}

/// Checks that a command's argument names the database, if it names one.
fn database(request: &Request) -> Result<(), PgError> {
    let known = request.shared.state.load().config.database.clone();
    match &request.argument {
        Some(name) if *name != known => {
            Err(PgError::new(SqlState::UNDEFINED_DATABASE, format!("no such database: {name}"))
                .with_hint(format!("The database is \"{known}\".")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_in_alphabetical_order() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
    }

    #[test]
    fn commands_are_found_as_people_write_them() {
        let found = |text: &str| match find(text) {
            Found::Command(command, argument) => format!("{} {argument:?}", command.name),
            Found::Nothing => "nothing".into(),
            Found::Unknown(error) => {
                format!("{} {}", error.message, error.hint.unwrap_or_default())
            }
        };
        assert_eq!(found(" show   stats ; "), "SHOW STATS None");
        assert_eq!(found("Show Stats_Totals"), "SHOW STATS_TOTALS None");
        assert_eq!(found("pause"), "PAUSE None");
        assert_eq!(found("PAUSE \"Mixed\";"), "PAUSE Some(\"Mixed\")");
        assert_eq!(found("kill 42"), "KILL Some(\"42\")");
        assert_eq!(found("shutdown wait_for_clients"), "SHUTDOWN Some(\"wait_for_clients\")");
        assert_eq!(found(";"), "nothing");
        assert_eq!(found("DISABLE"), "DISABLE needs a database ");
        assert_eq!(found("SHOW POOLZ"), "invalid command 'SHOW POOLZ', use SHOW HELP; Did you mean `SHOW POOLS`?");
        assert_eq!(
            found("RESUME; DROP"),
            "invalid command 'RESUME; DROP', use SHOW HELP; SHOW HELP lists the commands."
        );
        assert_eq!(found("SHOW STATS now"), "invalid command 'SHOW STATS now', use SHOW HELP; ");
    }

    #[test]
    fn who_may_look_may_not_touch() {
        for command in COMMANDS {
            assert_eq!(Rights::Stats.allow(command), command.name.starts_with("SHOW "), "{}", command.name);
            assert!(Rights::Operator.allow(command));
        }
    }
}
