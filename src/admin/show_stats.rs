//! `SHOW STATS`: times are microseconds, as PgBouncer's.

use super::{AdminCommand, Argument, Cell, Column, Kind, Request, Table};
use crate::meter::Sums;
use crate::plan::RouteKind;

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW STATS",
    argument: Argument::None,
    about: "Totals since the start, and averages of the last minute.",
    run: |request| {
        Box::pin(async move {
            let mut row = totals(&request);
            row.extend(averages(&request).into_iter().skip(1));
            let (sums, errors) = (request.shared.meters.totals.read(), request.shared.meters.errors.total());
            row.extend(
                [sums.plan_hits, sums.plan_misses, errors, sums.route(RouteKind::Refused), sums.slow].map(Cell::from),
            );
            Ok(Table { columns: COLUMNS, rows: vec![row] })
        })
    },
};

const COLUMNS: &[Column] = &[
    ("database", Kind::Text),
    ("total_server_assignment_count", Kind::Int),
    ("total_xact_count", Kind::Int),
    ("total_query_count", Kind::Int),
    ("total_received", Kind::Int),
    ("total_sent", Kind::Int),
    ("total_xact_time", Kind::Int),
    ("total_query_time", Kind::Int),
    ("total_wait_time", Kind::Int),
    ("total_client_parse_count", Kind::Int),
    ("total_server_parse_count", Kind::Int),
    ("total_bind_count", Kind::Int),
    ("avg_server_assignment_count", Kind::Int),
    ("avg_xact_count", Kind::Int),
    ("avg_query_count", Kind::Int),
    ("avg_recv", Kind::Int),
    ("avg_sent", Kind::Int),
    ("avg_xact_time", Kind::Int),
    ("avg_query_time", Kind::Int),
    ("avg_wait_time", Kind::Int),
    ("avg_client_parse_count", Kind::Int),
    ("avg_server_parse_count", Kind::Int),
    ("avg_bind_count", Kind::Int),
    ("total_plan_hits", Kind::Int),
    ("total_plan_misses", Kind::Int),
    ("total_errors", Kind::Int),
    ("total_refused", Kind::Int),
    ("total_slow", Kind::Int),
];

/// The columns of the totals alone, and of the averages alone.
pub(super) const EACH: &[Column] = &[
    ("database", Kind::Text),
    ("server_assignment_count", Kind::Int),
    ("xact_count", Kind::Int),
    ("query_count", Kind::Int),
    ("bytes_received", Kind::Int),
    ("bytes_sent", Kind::Int),
    ("xact_time", Kind::Int),
    ("query_time", Kind::Int),
    ("wait_time", Kind::Int),
    ("client_parse_count", Kind::Int),
    ("server_parse_count", Kind::Int),
    ("bind_count", Kind::Int),
];

/// The database, and what all its statements cost since the start.
pub(super) fn totals(request: &Request) -> Vec<Cell> {
    let sums = request.shared.meters.totals.read();
    let mut row = vec![request.shared.state.load().config.database.as_str().into()];
    row.extend(columns(&sums).map(Cell::from));
    row
}

/// The database, and what happened each second of the last minute; times are those of one transaction, statement or wait.
pub(super) fn averages(request: &Request) -> Vec<Cell> {
    let meters = &request.shared.meters;
    let (period, sums) = meters.averages.read(&meters.totals.read(), std::time::Instant::now());
    let mut row = vec![request.shared.state.load().config.database.as_str().into()];
    let seconds = period.as_secs_f64().max(f64::MIN_POSITIVE);
    let times = [(5, sums.transactions), (6, sums.statements), (7, sums.assignments)];
    for (at, sum) in columns(&sums).into_iter().enumerate() {
        let average = match times.iter().find(|(time, _)| *time == at) {
            Some((_, count)) => sum.checked_div(*count).unwrap_or(0),
            None => (sum as f64 / seconds).round() as u64,
        };
        row.push(average.into());
    }
    row
}

/// In PgBouncer's order.
fn columns(sums: &Sums) -> [u64; 11] {
    [
        sums.assignments,
        sums.transactions,
        sums.statements,
        sums.received,
        sums.sent,
        sums.transaction_nanos / 1000,
        sums.statement_nanos / 1000,
        sums.wait_nanos / 1000,
        sums.client_parses,
        sums.server_parses,
        sums.binds,
    ]
}
