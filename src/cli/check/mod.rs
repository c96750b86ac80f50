//! `goldseam check`: the files against the servers, before a client finds the difference.
//!
//! `facts` asks each server, `judge` compares the answers with the vschema and with each other, `copies` the rows of reference tables. Asking is one
//! connection per login and shard, all at the same time; a server that does not answer is a finding and does not hide those of the others.

mod copies;
mod facts;
pub mod judge;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use self::facts::Facts;
use self::judge::{Finding, Level};
use super::{ConfigFile, FAILURE, Failure, Format, SUCCESS, Shared, logs, style::Paint};
use crate::backend::{Backend, ConnectOptions, Connector, Login};
use crate::config::Config;
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::types::ShardId;
use crate::vschema::Vschema;

/// Longer than a slow login takes, shorter than patience.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A catalog's answer is text of some bytes per column.
const MAX_FRAME: usize = 64 << 20;

/// Compare the configuration and the vschema with the live servers
///
/// Every shard must be reachable, let every configured user in, and allow prepared transactions. Every table of the vschema must have
/// the same columns and types on every shard of its keyspace, and a shard key that its vindex can place. All copies of a
/// reference table must have the same rows. Unique constraints and foreign
/// keys that the shards cannot enforce are warned of. The exit code is 1 if there are errors; warnings leave it at 0.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// A report for people or for machines
    #[arg(long, value_enum, default_value = "plain")]
    format: Format,
}

/// Everything that `check` found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// One per shard, in the order of the configuration.
    pub shards: Vec<ShardReport>,
    /// How many tables the vschema names.
    pub tables: usize,
    /// Errors first.
    pub findings: Vec<Finding>,
}

/// One shard's line.
#[derive(Debug, Serialize)]
pub struct ShardReport {
    /// Its name.
    pub name: String,
    /// Host, port and database.
    pub address: String,
    /// PostgreSQL's version; none if it could not be asked.
    pub version: Option<String>,
}

impl Report {
    /// How many findings of a level there are.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}

pub(super) fn execute(arguments: &Arguments, shared: &Shared) -> Result<u8, Failure> {
    let files = super::load_files(&arguments.file)?;
    logs::start(&files.config.log, shared)?;
    let report = super::small_runtime()?.block_on(check(&files.config, &files.vschema));
    match arguments.format {
        Format::Json => super::print(&serde_json::to_string_pretty(&report).map_err(Failure::new)?)?,
        Format::Plain => super::print(&plain(&report, Paint::stdout()))?,
    };
    Ok(if report.count(Level::Error) > 0 { FAILURE } else { SUCCESS })
}

/// Asks all servers and judges the answers.
pub async fn check(config: &Config, vschema: &Vschema) -> Report {
    let mut findings = Vec::new();
    let facts = ask_all(config, &mut findings).await;
    findings.extend(try_logins(config, &facts).await);
    findings.extend(judge::judge(vschema, &facts));
    findings.extend(copies::compare(config, vschema, &facts).await);
    findings.extend(copies::compare(config, vschema, &facts).await);
    findings.sort_by_key(|finding| finding.level); // stable: within a level as found
    let shard = |(shard, facts): (&crate::config::Shard, &Option<Facts>)| ShardReport {
        name: shard.name.clone(),
        address: format!("{}:{}/{}", shard.primary.host, shard.primary.port, shard.primary.database),
        version: facts.as_ref().map(|facts| facts.version.clone()),
    };
    let shards = config.shards.iter().zip(&facts).map(shard).collect();
    Report { shards, tables: vschema.tables.len(), findings }
}

fn connector(config: &Config, index: usize) -> Arc<Connector> {
    let shard = &config.shards[index];
    Connector::new(ShardId(index as u16), shard.name.as_str().into(), shard.primary.clone())
}

async fn connect(connector: &Arc<Connector>, login: &Login) -> Result<Backend, PgError> {
    let options = ConnectOptions {
        timeout: CONNECT_TIMEOUT,
        application_name: "goldseam check".into(),
        max_frame: MAX_FRAME,
        prepared_statements: 0,
    };
    Backend::connect(connector, login, &options).await
}

/// The facts of every shard over Goldseam's own login; who does not answer is a finding.
async fn ask_all(config: &Config, findings: &mut Vec<Finding>) -> Vec<Option<Facts>> {
    let mut tasks = JoinSet::new();
    for index in 0..config.shards.len() {
        let connector = connector(config, index);
        tasks.spawn(async move {
            let login = Login::service(&connector.server);
            let facts = async { facts::read(&mut connect(&connector, &login).await?).await }.await;
            (index, facts)
        });
    }
    let mut all: Vec<Option<Facts>> = vec![None; config.shards.len()];
    for (index, facts) in tasks.join_all().await {
        match facts {
            Ok(facts) => all[index] = Some(facts),
            Err(error) => findings.push(Finding::error(format!("shard {}", config.shards[index].name), said(&error))),
        }
    }
    findings.sort_by(|a, b| a.subject.cmp(&b.subject)); // tasks end in any order
    all
}

/// Logs every configured user in on every shard that answered.
async fn try_logins(config: &Config, facts: &[Option<Facts>]) -> Vec<Finding> {
    let mut tasks = JoinSet::new();
    for user in config.auth.users.keys() {
        for index in (0..config.shards.len()).filter(|index| facts[*index].is_some()) {
            let connector = connector(config, index);
            let (server_user, password) = config.server_login(user, &connector.server);
            if server_user == connector.server.user && password == connector.server.password {
                continue; // the service login, which has just been used
            }
            let subject = format!("user {user} on {}", connector.shard_name);
            tasks.spawn(async move {
                let outcome = connect(&connector, &Login::new(server_user, password)).await;
                outcome.err().map(|error| {
                    let finding = Finding::error(subject, said(&error));
                    let wrong = [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION].contains(&error.code);
                    if wrong {
                        finding.hint("create the role there, or set server_user and server_password")
                    } else {
                        finding
                    }
                })
            });
        }
    }
    let mut findings: Vec<Finding> = tasks.join_all().await.into_iter().flatten().collect();
    findings.sort_by(|a, b| a.subject.cmp(&b.subject));
    findings
}

/// An error on one line.
fn said(error: &PgError) -> String {
    let detail = error.detail.as_deref().map(|detail| format!(": {}", detail.trim_end_matches('.')));
    format!("{}{}", error.message, detail.unwrap_or_default())
}

/// The report for people.
fn plain(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    for shard in &report.shards {
        let state = match &shard.version {
            Some(version) => format!("{}  PostgreSQL {version}", paint.green("ok")),
            None => paint.red("does not answer"),
        };
        text += &format!("shard {:10} {:32} {state}\n", shard.name, shard.address);
    }
    for finding in &report.findings {
        let level = match finding.level {
            Level::Error => paint.red("error:"),
            Level::Warning => paint.yellow("warning:"),
        };
        text += &format!("{level} {}: {}\n", paint.bold(&finding.subject), finding.message);
        if let Some(hint) = &finding.hint {
            text += &format!("  {}\n", paint.dim(format!("hint: {hint}")));
        }
    }
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let (errors, warnings) = (report.count(Level::Error), report.count(Level::Warning));
    text + &format!(
        "{} checked: {}, {}\n",
        plural(report.tables, "table"),
        plural(errors, "error"),
        plural(warnings, "warning")
    )
}
