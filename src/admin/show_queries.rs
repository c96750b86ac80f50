//! `SHOW QUERIES`

use super::{AdminCommand, Argument, Column, Kind, Table};
use crate::session::meter::shard_names;

/// Enough to find what costs; all of them might be 20,000.
const MOST: usize = 200;

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW QUERIES",
    argument: Argument::None,
    about: "The statements that took the most time: their text without values, route, shards touched, calls, rows, errors, times.",
    run: |request| {
        Box::pin(async move {
            let state = request.shared.state.load_full();
            let top = request.shared.meters.queries.top(MOST);
            let rows = top.into_iter().map(|counted| {
                let mean = counted.total_nanos as f64 / counted.calls.max(1) as f64;
                vec![
                    counted.text.into(),
                    counted.route.as_str().into(),
                    shard_names(counted.shards, &state.vschema).into(),
                    counted.calls.into(),
                    counted.rows.into(),
                    counted.errors.into(),
                    (counted.total_nanos as f64 / 1e6).into(),
                    (mean / 1e6).into(),
                    (counted.max_nanos as f64 / 1e6).into(),
                ]
            });
            Ok(Table { columns: COLUMNS, rows: rows.collect() })
        })
    },
};

const COLUMNS: &[Column] = &[
    ("query", Kind::Text),
    ("route", Kind::Text),
    ("shards", Kind::Text),
    ("calls", Kind::Int),
    ("rows", Kind::Int),
    ("errors", Kind::Int),
    ("total_ms", Kind::Real),
    ("mean_ms", Kind::Real),
    ("max_ms", Kind::Real),
];
