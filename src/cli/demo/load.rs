//! Fills shards with the shop's rows, each row where the vindexes place it, and one plain server with all of them.
//!
//! The loader asks the same vindexes that the proxy asks, so a wrong placement shows as a missing row and not as an accident of two
//! rules that agree. Rows travel by COPY over Goldseam's own server connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::tables::{Row, TABLES, TableData, copy_line};
use crate::backend::{Backend, ConnectOptions, Connector, Login};
use crate::config::{Secret, Server, SslMode};
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::types::{Key, ShardId};
use crate::vindex::Placement;
use crate::vschema::{NamedVindex, Table, TablePlacement, Vschema};

/// The role that owns everything, on the servers and towards the proxy.
pub const USER: &str = "app";
/// Its password. The servers listen on loopback only and hold nothing but made-up rows.
pub const PASSWORD: &str = "gold";
/// The database on every server, and the name clients connect to.
pub const DATABASE: &str = "commerce";

const SUPERUSER: &str = "postgres";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_FRAME: usize = 1 << 30;
/// COPY goes in pieces of this many bytes, so that a progress bar moves.
const PIECE: usize = 256 * 1024;

/// Told how many rows have arrived since the last call.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// What one server is to hold: statements to run and rows to copy, in order.
#[derive(Debug, Default, Clone)]
pub struct Load {
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Run(String),
    Copy { sql: String, lines: String },
}

/// How many rows of a table each shard holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// The table.
    pub table: &'static str,
    /// By shard.
    pub rows: Vec<u64>,
    /// The shards hold the same rows.
    pub copies: bool,
}

impl Load {
    /// How many rows there are to copy.
    pub fn rows(&self) -> u64 {
        let lines = |step: &Step| match step {
            Step::Copy { lines, .. } => lines.bytes().filter(|byte| *byte == b'\n').count() as u64,
            Step::Run(_) => 0,
        };
        self.steps.iter().map(lines).sum()
    }

    /// All rows on one server: what every answer is compared with.
    pub fn plain() -> Load {
        let mut load = Load::default();
        for table in TABLES {
            let mut lines = String::new();
            (table.rows)().iter().for_each(|row| copy_line(row, &mut lines));
            load.table(table, lines);
        }
        load.steps.push(Step::Run("ANALYZE".into()));
        load
    }

    /// The rows of each shard, as the vschema places them.
    pub fn sharded(vschema: &Vschema) -> Result<(Vec<Load>, Vec<Spread>), PgError> {
        let mut loads = vec![Load::default(); vschema.shards.len()];
        let mut spreads = Vec::new();
        for data in TABLES {
            let table =
                vschema.table("public", data.name).ok_or_else(|| misfit(data.name, "the vschema does not name it"))?;
            let mut lines = vec![String::new(); loads.len()];
            let mut counts = vec![0u64; loads.len()];
            let mut placer = Placer::new(vschema, table, data)?;
            for row in (data.rows)() {
                for shard in placer.shards(&row)? {
                    copy_line(&row, &mut lines[usize::from(shard.0)]);
                    counts[usize::from(shard.0)] += 1;
                }
            }
            placer.write_directory(vschema, &mut loads);
            for shard in placer.homes() {
                let shard = usize::from(shard.0);
                loads[shard].table(data, std::mem::take(&mut lines[shard]));
            }
            let copies = table.placement == TablePlacement::Reference;
            spreads.push(Spread { table: data.name, rows: counts, copies });
        }
        loads.iter_mut().for_each(|load| load.steps.push(Step::Run("ANALYZE".into())));
        Ok((loads, spreads))
    }

    fn table(&mut self, data: &TableData, lines: String) {
        self.steps.push(Step::Run(data.ddl.to_string()));
        let sql = format!("COPY {} ({}) FROM STDIN", data.name, data.columns.join(", "));
        self.steps.push(Step::Copy { sql, lines });
    }
}

/// Finds the shards of one table's rows.
struct Placer<'a> {
    table: &'a Table,
    /// Where the table exists.
    homes: Vec<ShardId>,
    /// The positions of the key columns in a row, and the rule.
    key: Option<(Vec<usize>, &'a NamedVindex)>,
    /// What the directory has given out: (key, shard).
    directory: Vec<(String, ShardId)>,
}

impl<'a> Placer<'a> {
    fn new(vschema: &'a Vschema, table: &'a Table, data: &TableData) -> Result<Placer<'a>, PgError> {
        let all = vschema.keyspace(table.keyspace).shards.clone();
        let (homes, key) = match &table.placement {
            TablePlacement::Reference => (all, None),
            TablePlacement::Unsharded { shard } => (vec![*shard], None),
            TablePlacement::Sharded { columns, vindex } => {
                let position = |name: &String| data.columns.iter().position(|column| column == name);
                let positions: Option<Vec<usize>> = columns.iter().map(position).collect();
                let positions = positions.ok_or_else(|| misfit(data.name, "it has no such shard key"))?;
                (all, Some((positions, vschema.vindex(*vindex))))
            }
        };
        Ok(Placer { table, homes, key, directory: Vec::new() })
    }

    fn homes(&self) -> &[ShardId] {
        &self.homes
    }

    fn shards(&mut self, row: &Row) -> Result<Vec<ShardId>, PgError> {
        let Some((positions, vindex)) = &self.key else { return Ok(self.homes.clone()) };
        let key: Vec<Key<'_>> = positions.iter().map(|position| row[*position].key()).collect();
        match (vindex.vindex.place(&key), &vindex.directory) {
            (Placement::Shard(shard), _) => Ok(vec![shard]),
            (Placement::Directory, Some(directory)) if !directory.shards.is_empty() => {
                // In turn, which is what the least loaded comes to when a table is filled from empty.
                let shard = directory.shards[self.directory.len() % directory.shards.len()];
                self.directory.push((key[0].to_text(), shard));
                Ok(vec![shard])
            }
            _ => Err(misfit(&self.table.name, &format!("vindex \"{}\" places the key {key:?} nowhere", vindex.name))),
        }
    }

    /// Puts what was given out where the proxy looks for it.
    fn write_directory(&self, vschema: &Vschema, loads: &mut [Load]) {
        let Some((_, NamedVindex { name, directory: Some(directory), .. })) = &self.key else { return };
        let steps = &mut loads[usize::from(directory.shard.0)].steps;
        let table = format!("goldseam.\"directory_{name}\"");
        steps.push(Step::Run("CREATE SCHEMA IF NOT EXISTS goldseam".into()));
        steps
            .push(Step::Run(format!("CREATE TABLE IF NOT EXISTS {table} (key text PRIMARY KEY, shard text NOT NULL)")));
        let line = |(key, shard): &(String, ShardId)| format!("{key}\t{}\n", vschema.shard_name(*shard));
        let lines: Vec<String> = self.directory.iter().map(line).collect();
        steps.push(Step::Copy { sql: format!("COPY {table} (key, shard) FROM STDIN"), lines: lines.concat() });
    }
}

/// A local server as the configuration would describe it.
pub fn server(port: u16, database: &str, user: &str, password: Option<&str>) -> Server {
    Server {
        host: "127.0.0.1".into(),
        port,
        database: database.into(),
        user: user.into(),
        password: password.map(Secret::new),
        sslmode: SslMode::Disable,
        sslrootcert: None,
    }
}

/// Makes the role and the database on a fresh server.
pub async fn create_database(port: u16, superuser_password: Option<&str>) -> Result<(), PgError> {
    let mut backend = connect("new", server(port, "postgres", SUPERUSER, superuser_password)).await?;
    backend.query(&format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")).await?;
    backend.query(&format!("CREATE DATABASE {DATABASE} OWNER {USER}")).await?;
    Ok(())
}

/// Fills servers, all at the same time: each with its name for messages, its port and its load.
pub async fn fill(
    servers: Vec<(String, u16, Load)>,
    superuser: Option<&str>,
    progress: Progress,
) -> Result<(), PgError> {
    let mut tasks = JoinSet::new();
    for (name, port, load) in servers {
        let superuser = superuser.map(str::to_string);
        let progress = progress.clone();
        tasks.spawn(async move {
            create_database(port, superuser.as_deref()).await?;
            let mut backend = connect(&name, server(port, DATABASE, USER, Some(PASSWORD))).await?;
            for step in &load.steps {
                run(&mut backend, step, &progress).await?;
            }
            Ok(())
        });
    }
    // The first error ends it; the other tasks end with the set.
    while let Some(done) = tasks.join_next().await {
        done.unwrap_or_else(|gone| Err(PgError::new(SqlState::INTERNAL_ERROR, format!("loading stopped: {gone}"))))?;
    }
    Ok(())
}

async fn run(backend: &mut Backend, step: &Step, progress: &Progress) -> Result<(), PgError> {
    match step {
        Step::Run(sql) => backend.query(sql).await.map(drop),
        Step::Copy { sql, lines } => {
            let mut rest = lines.as_str();
            while !rest.is_empty() {
                let end = rest.bytes().skip(PIECE).position(|byte| byte == b'\n').map_or(rest.len(), |n| PIECE + n + 1);
                let (piece, next) = rest.split_at(end);
                backend.copy_in(sql, piece.as_bytes()).await?;
                progress(piece.bytes().filter(|byte| *byte == b'\n').count() as u64);
                rest = next;
            }
            Ok(())
        }
    }
}

/// One connection, as the server description says. `name` is for messages.
pub async fn connect(name: &str, server: Server) -> Result<Backend, PgError> {
    let login = Login::service(&server);
    let connector = Connector::new(ShardId(0), name.into(), server);
    let options = ConnectOptions {
        timeout: CONNECT_TIMEOUT,
        application_name: "goldseam demo".into(),
        max_frame: MAX_FRAME,
        prepared_statements: 0,
    };
    Backend::connect(&connector, &login, &options).await
}

fn misfit(table: &str, why: &str) -> PgError {
    PgError::new(
        SqlState::INTERNAL_ERROR,
        format!("the sample table \"{table}\" does not fit the sample vschema: {why}"),
    )
}
