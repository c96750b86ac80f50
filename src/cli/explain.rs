//! `goldseam explain`: the planner at work, without a proxy running.

use crate::plan::{Values, Verdict, explain};
use crate::planner::{self, Context};
use crate::sql::{Limits, Literal, Normalized, normalize, split};
use crate::topology::Topology;
use crate::types::Raw;
use crate::types::key::DecodeContext;

use super::{ConfigFile, FAILURE, Failure, SUCCESS, Shared, logs};

/// Show where a statement would go, and why, without running it
///
/// Reads the configuration and the vschema, asks the shards for their tables, and prints the route as EXPLAIN (ROUTE) does through the
/// proxy. The exit code is 1 if the statement would be refused.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The statement; several may be separated by semicolons
    sql: String,
    #[command(flatten)]
    file: ConfigFile,
    /// The schemas that unqualified names are looked up in
    #[arg(long, value_delimiter = ',', default_value = "public")]
    search_path: Vec<String>,
}

pub fn execute(arguments: &Arguments, shared: &Shared) -> Result<u8, Failure> {
    let files = super::load_files(&arguments.file)?;
    logs::start(&files.config.log, shared)?;
    let topology = Topology::new(&files.config);
    let unread = super::small_runtime()?.block_on(topology.refresh());
    for (shard, error) in unread {
        // A table that only this shard could have told of will look as if it did not exist.
        eprintln!("warning: {} was not asked: {error}", files.vschema.shard_name(shard));
    }
    let limits = Limits::default();
    let catalog = topology.catalog.load();
    let context = Context {
        vschema: &files.vschema,
        catalog: &catalog,
        search_path: &arguments.search_path,
        forced: None,
        limits,
        triggers: 0,
    };
    let mut code = SUCCESS;
    for range in split(&arguments.sql, &limits).map_err(Failure::new)? {
        let text = &arguments.sql[range];
        let mut normalized = Normalized::default();
        normalize(text, &limits, &mut normalized).map_err(Failure::new)?;
        let plan = planner::plan(text, &context);
        if let Verdict::Refuse(_) = plan.verdict {
            code = FAILURE;
        }
        let values = Written { text, literals: &normalized.literals };
        // As a fresh session of a server in UTC reads its literals.
        let lines = explain::explain(&plan, text, &values, &files.vschema, &DecodeContext { utc: true, iso: true });
        super::print(&lines.join("\n"))?;
    }
    Ok(code)
}

/// A statement's literals and no parameters: what `$1` would lead to is said without a value.
struct Written<'a> {
    text: &'a str,
    literals: &'a [Literal],
}

impl Values for Written<'_> {
    fn literal(&self, index: u16) -> Option<Raw<'_>> {
        self.literals.get(usize::from(index))?.raw(self.text)
    }

    fn parameter(&self, _index: u16) -> Option<Raw<'_>> {
        None
    }
}
