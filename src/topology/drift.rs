//! Whether all copies of a reference table are equal: a count and a hash of the rows of each, which do not depend on the rows' order.

use crate::backend::Backend;
use crate::error::PgError;
use crate::sqlstate::SqlState;

/// What a copy's rows come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many there are.
    pub rows: u64,
    /// The sum of the rows' hashes, as a decimal number.
    pub hash: String,
}

/// How values are printed while they are hashed: the same on every server.
const SETTINGS: &str = "SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL TimeZone = 'UTC'; \
    SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'; SET LOCAL search_path = ''";

/// Reads a whole copy. `columns` in one order for all shards, as stored; those that only this or that shard has make the copies differ anyway.
///
/// # Errors
/// The server's: a table or a column that it does not have.
pub async fn fingerprint(
    backend: &mut Backend,
    schema: &str,
    name: &str,
    columns: &[String],
) -> Result<Fingerprint, PgError> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let list: Vec<String> = columns.iter().map(|column| format!("t.{}", quoted(column))).collect();
    // 60 bits of each row's hash, added up as numeric: no order matters, and no two equal rows take one another away.
    let sql = format!(
        "BEGIN READ ONLY; {SETTINGS}; \
         SELECT pg_catalog.count(*), COALESCE(pg_catalog.sum(('x' || pg_catalog.substr(pg_catalog.md5((ROW({}))::text), 1, 15))::bit(60)::bigint), 0) \
         FROM {}.{} AS t; COMMIT",
        list.join(", "),
        quoted(schema),
        quoted(name)
    );
    let rows = match backend.query(&sql).await {
        Ok(rows) => rows,
        Err(error) => {
            // The transaction is over in any case.
            let _ = backend.query("ROLLBACK").await;
            return Err(error);
        }
    };
    match rows.first().map(Vec::as_slice) {
        Some([Some(rows), Some(hash)]) => Ok(Fingerprint { rows: rows.parse().unwrap_or(0), hash: hash.clone() }),
        _ => Err(PgError::new(SqlState::INTERNAL_ERROR, "a server does not count its rows")),
    }
}
