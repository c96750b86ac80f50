//! The command line: what an operator types, and what the shell gets back.
//!
//! One file per subcommand, each with its flags, its help and its `execute`. This module knows the list, the exit codes and
//! the two things all share: colour (`style`) and logs (`logs`). A new subcommand is one file and one line in
//! `Command` and in `execute`.
//!
//! Results go to standard output, everything said about them to standard error, so that `goldseam schema vschema > file` and
//! `goldseam check --format json | jq` work as they are.

pub mod check;
mod completions;
pub mod demo;
mod explain;
mod logs;
mod run;
mod schema;
mod style;
mod vschema;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::LogFormat;
use crate::server::files::{self, Files};

/// Nothing to complain of.
const SUCCESS: u8 = 0;
/// The command ran and failed, or `check` found an error.
const FAILURE: u8 = 1;
/// The command line or a file could not be understood; nothing was done. The code of clap's own errors.
const USAGE: u8 = 2;

const AFTER_HELP: &str = "\
Examples:
  goldseam demo                                try it: four local PostgreSQL shards with sample data
  goldseam run --config goldseam.toml          serve
  goldseam check --config goldseam.toml        compare files and servers before serving
  goldseam explain 'SELECT * FROM orders WHERE customer_id = 42'

Exit codes: 0 success, 1 failure or findings of check, 2 wrong usage or a file that is refused.
Environment: GOLDSEAM_CONFIG names the configuration file, NO_COLOR turns colours off.";

/// Goldseam joins many PostgreSQL servers into one database: a sharding-aware proxy.
///
/// Clients connect with psql or any driver and see one PostgreSQL. Goldseam finds the shard key in each statement and sends it to
/// the shard that holds the rows.
#[derive(Debug, Parser)]
#[command(name = "goldseam", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every subcommand takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Shared {
    /// What to log: error, warn, info, debug, trace, or a filter such as goldseam::pool=debug
    #[arg(long, global = true, value_name = "FILTER", help_heading = "Logs")]
    log_level: Option<String>,
    /// Logs for people or for machines
    #[arg(long, global = true, value_name = "FORMAT", help_heading = "Logs")]
    log_format: Option<Format>,
}

/// For people or for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people.
    Plain,
    /// JSON for machines.
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> LogFormat {
        match format {
            Format::Plain => LogFormat::Plain,
            Format::Json => LogFormat::Json,
        }
    }
}

/// Where the configuration is.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigFile {
    /// The server's configuration file; the vschema is the one it names
    #[arg(long, short, value_name = "FILE", env = "GOLDSEAM_CONFIG", default_value = "goldseam.toml")]
    pub config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Demo(demo::Arguments),
    Check(check::Arguments),
    Explain(explain::Arguments),
    Schema(schema::Arguments),
    #[command(subcommand)]
    Vschema(vschema::Arguments),
    Completions(completions::Arguments),
}

/// Why a command failed, as its exit code and what to say.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Something did not work.
    pub fn new(message: impl ToString) -> Failure {
        Failure { code: FAILURE, message: message.to_string() }
    }

    /// Something was asked for that makes no sense, or a file is refused; nothing was done.
    pub fn usage(message: impl ToString) -> Failure {
        Failure { code: USAGE, message: message.to_string() }
    }
}

/// The operator's two files, read and validated.
fn load_files(file: &ConfigFile) -> Result<Files, Failure> {
    files::load(&file.config).map_err(|mistake| {
        let missing = !file.config.exists();
        let hint = if missing { "\n  hint: name it with --config FILE; `goldseam demo` needs none" } else { "" };
        Failure::usage(format!("{mistake}{hint}"))
    })
}

/// The whole program: `main` is this and nothing else.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(), // prints help and version to stdout with code 0, errors to stderr with code 2
    };
    match execute(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let paint = style::Paint::stderr();
            eprintln!("{} {}", paint.red("error:"), failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn execute(arguments: Arguments) -> Result<u8, Failure> {
    let shared = &arguments.shared;
    match arguments.command {
        Command::Run(arguments) => run::execute(&arguments, shared),
        Command::Demo(arguments) => demo::execute(&arguments, shared),
        Command::Check(arguments) => check::execute(&arguments, shared),
        Command::Explain(arguments) => explain::execute(&arguments, shared),
        Command::Schema(arguments) => schema::execute(&arguments),
        Command::Vschema(arguments) => vschema::execute(&arguments),
        Command::Completions(arguments) => completions::execute(&arguments),
    }
}

/// Prints a result. A reader that has gone away (`| head`) is no error.
fn print(text: &str) -> Result<u8, Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let written =
        out.write_all(text.as_bytes()).and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(error)),
        _ => Ok(SUCCESS),
    }
}

/// A runtime for the commands that ask the servers something and end.
fn small_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(Failure::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_subcommand_has_help_worth_reading() {
        for command in Arguments::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            assert!(command.get_long_about().is_some() || command.has_subcommands(), "{}", command.get_name());
        }
    }

    #[test]
    fn flags_are_understood() {
        for line in [
            "goldseam run --config x.toml --log-format json",
            "goldseam demo --shards 2 --port 0 --keep",
            "goldseam demo --no-install --pg-bin /usr/lib/postgresql/15/bin",
            "goldseam check -c x.toml --format json",
            "goldseam explain 1",
            "goldseam schema config",
            "goldseam vschema show --format json",
            "goldseam completions bash",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "goldseam",
            "goldseam demo --shards 0",
            "goldseam demo --shards 65",
            "goldseam demo --install --no-install",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
