//! What a function call means for routing: whether it reads tables by itself, keeps state on a connection, or is the same anywhere.
//!
//! PostgreSQL's own functions are listed, with their volatility, in `system_functions.txt`; the ones that matter are named here.
//! A name that is neither there nor among the users' functions comes from an extension: it is taken for volatile, but not for a
//! reader of tables, except where it is known to be one.

use std::collections::HashMap;
use std::sync::OnceLock;

/// Functions that take or give OIDs, which differ from shard to shard: like the catalogs, they are asked on the home shard.
pub fn speaks_of_oids(name: &str) -> bool {
    const PREFIXES: &[&str] = &["pg_get_", "to_reg", "has_", "pg_describe_", "pg_identify_", "acl"];
    const SUFFIXES: &[&str] = &["_description", "_is_visible"];
    name == "format_type"
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// How a function of PostgreSQL's, or of an extension, is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The same answer anywhere, at any time.
    Plain,
    /// The same answer anywhere, but of this transaction or moment.
    Moment,
    /// Only the one home shard gives the answer that one PostgreSQL would give.
    Home,
    /// Takes a lock that outlives the transaction.
    SessionLock,
    /// State that only this connection has.
    SessionState,
    /// `nextval`, `setval`, `currval`: about the sequence that its first argument names.
    Sequence,
    /// `set_config`.
    SetConfig,
    /// Reads tables that its arguments name.
    ReadsTables,
    /// Not PostgreSQL's own: an extension's.
    Foreign,
}

/// Functions that read tables which only their arguments name. Those of extensions are here because no catalog says it.
const READERS: &[&str] = &[
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "table_to_xml",
    "table_to_xmlschema",
    "table_to_xml_and_xmlschema",
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "schema_to_xml",
    "schema_to_xmlschema",
    "schema_to_xml_and_xmlschema",
    "database_to_xml",
    "database_to_xmlschema",
    "database_to_xml_and_xmlschema",
    "ts_stat",
    "ts_rewrite",
    "pg_relation_size",
    "pg_table_size",
    "pg_total_relation_size",
    "pg_indexes_size",
    "currtid2",
    "pg_sequence_last_value",
    "dblink",
    "dblink_exec",
    "dblink_open",
    "dblink_send_query",
    "crosstab",
    "crosstab2",
    "crosstab3",
    "crosstab4",
    "connectby",
    "xpath_table",
    "pgrowlocks",
    "pgstattuple",
    "pgstattuple_approx",
    "get_raw_page",
    "heap_page_items",
    "pg_visibility",
    "pg_prewarm",
    "lo_manage",
];

const MOMENT: &[&str] = &[
    "now",
    "transaction_timestamp",
    "statement_timestamp",
    "clock_timestamp",
    "timeofday",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "pg_backend_pid",
    "age",
    "pg_is_in_recovery",
    "pg_stat_clear_snapshot",
];

const HARMLESS: &[&str] = &[
    "random",
    "random_normal",
    "gen_random_uuid",
    "uuidv4",
    "uuidv7",
    "array_sample",
    "array_shuffle",
    "current_query",
    "pg_jit_available",
    "pg_partition_tree",
    "pg_partition_ancestors",
    "pg_collation_actual_version",
    "pg_database_collation_actual_version",
    "pg_extension_config_dump",
    // Words of the grammar that the parser gives out as calls.
    "user",
    "current_catalog",
    "current_role",
    "array",
    "session_user",
    "current_user",
    "current_schema",
];

const HOME: &[&str] = &[
    "txid_current",
    "txid_current_if_assigned",
    "txid_current_snapshot",
    "pg_current_xact_id",
    "pg_current_xact_id_if_assigned",
    "pg_current_snapshot",
];

/// Whether several shards may be asked to call a function, each for its own rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// All servers give the same answer, or each call another one anyway.
    Alike,
    /// The time: of the transaction, or of the statement.
    Time,
    /// Each server has an answer of its own, or an effect would happen once for each.
    Apart,
}

/// What a function's answer is on several shards.
pub fn spread(name: &str) -> Spread {
    /// Another value with each call: on one server as on many.
    const EACH_CALL: &[&str] = &["clock_timestamp", "timeofday"];
    /// Stable, and yet a server's own.
    const OWN: &[&str] = &[
        "pg_backend_pid",
        "pg_is_in_recovery",
        "pg_stat_clear_snapshot",
        "pg_postmaster_start_time",
        "pg_conf_load_time",
        "pg_sleep_until",
        "inet_server_addr",
        "inet_server_port",
        "inet_client_addr",
        "inet_client_port",
        "current_database",
        "current_catalog",
        "current_query",
        "version",
        "age",
    ];
    // A server that waits longer than another keeps nothing from anybody.
    if EACH_CALL.contains(&name) || matches!(name, "pg_sleep" | "pg_sleep_for") {
        return Spread::Alike;
    }
    let own = OWN.contains(&name)
        || speaks_of_oids(name)
        || reads_catalog(name)
        || name.starts_with("pg_stat_")
        || name.starts_with("pg_current_wal")
        || name.starts_with("pg_last_")
        || name.ends_with("_size");
    match class(name) {
        // Bytes of a value are bytes of a value.
        Class::Plain if name == "pg_column_size" => Spread::Alike,
        Class::Plain if !own => Spread::Alike,
        Class::Moment if !own => Spread::Time,
        _ => Spread::Apart,
    }
}

/// Whether a function of PostgreSQL's gives the same value for the same arguments on every server, and does nothing else.
pub fn is_pure(name: &str) -> bool {
    class(name) == Class::Plain && spread(name) == Spread::Alike && !ERRATIC.contains(&name) && !is_aggregate(name)
}

/// Those of PostgreSQL's that give another value with each call.
pub const ERRATIC: &[&str] = &[
    "random",
    "random_normal",
    "gen_random_uuid",
    "uuidv4",
    "uuidv7",
    "array_sample",
    "array_shuffle",
    "clock_timestamp",
    "timeofday",
];

/// Whether a function gives another value with each call.
pub fn is_erratic(name: &str) -> bool {
    ERRATIC.contains(&name) || matches!(class(name), Class::Foreign)
}

/// PostgreSQL's own aggregates.
pub fn is_aggregate(name: &str) -> bool {
    const AGGREGATES: &[&str] = &[
        "any_value",
        "array_agg",
        "avg",
        "bit_and",
        "bit_or",
        "bit_xor",
        "bool_and",
        "bool_or",
        "corr",
        "count",
        "covar_pop",
        "covar_samp",
        "cume_dist",
        "dense_rank",
        "every",
        "grouping",
        "json_agg",
        "json_agg_strict",
        "json_arrayagg",
        "json_object_agg",
        "json_object_agg_strict",
        "json_object_agg_unique",
        "json_object_agg_unique_strict",
        "json_objectagg",
        "jsonb_agg",
        "jsonb_agg_strict",
        "jsonb_object_agg",
        "jsonb_object_agg_strict",
        "jsonb_object_agg_unique",
        "jsonb_object_agg_unique_strict",
        "max",
        "min",
        "mode",
        "percent_rank",
        "percentile_cont",
        "percentile_disc",
        "range_agg",
        "range_intersect_agg",
        "rank",
        "regr_avgx",
        "regr_avgy",
        "regr_count",
        "regr_intercept",
        "regr_r2",
        "regr_slope",
        "regr_sxx",
        "regr_sxy",
        "regr_syy",
        "stddev",
        "stddev_pop",
        "stddev_samp",
        "string_agg",
        "sum",
        "var_pop",
        "var_samp",
        "variance",
        "xmlagg",
    ];
    AGGREGATES.binary_search(&name).is_ok()
}

/// Whether a plain function tells of tables and other objects: then the shard matters, as for the catalog's tables.
pub fn reads_catalog(name: &str) -> bool {
    const PREFIXES: [&str; 4] = ["to_reg", "pg_get_", "has_", "pg_relation_"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.ends_with("_is_visible")
        || name.ends_with("_description")
}

/// What is known of a function, by its bare name.
pub fn class(name: &str) -> Class {
    if READERS.contains(&name) || name.starts_with("dblink_") {
        return Class::ReadsTables;
    }
    if name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_") {
        return if name.contains("_xact_") { Class::Home } else { Class::SessionLock };
    }
    match name {
        "nextval" | "setval" | "currval" => return Class::Sequence,
        "lastval" | "setseed" => return Class::SessionState,
        "set_config" => return Class::SetConfig,
        _ => {}
    }
    if MOMENT.contains(&name) {
        return Class::Moment;
    }
    if HARMLESS.contains(&name) {
        return Class::Plain;
    }
    if HOME.contains(&name) {
        return Class::Home;
    }
    match system().get(name) {
        Some(true) => Class::Home,
        Some(false) => Class::Plain,
        None => Class::Foreign,
    }
}

/// PostgreSQL's own functions: whether any overload is volatile.
fn system() -> &'static HashMap<&'static str, bool> {
    static TABLE: OnceLock<HashMap<&'static str, bool>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = HashMap::with_capacity(2_500);
        let mut volatile = true;
        for line in include_str!("system_functions.txt").lines() {
            match line.as_bytes().first() {
                Some(b'[') => volatile = line == "[volatile]",
                Some(b'#') | None => {}
                Some(_) => {
                    table.insert(line, volatile);
                }
            }
        }
        table
    })
}
