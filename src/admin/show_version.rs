//! `SHOW VERSION`

use super::{AdminCommand, Argument, Column, Kind, Table};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW VERSION",
    argument: Argument::None,
    about: "Goldseam's version.",
    run: |_| {
        Box::pin(async {
            let rows = vec![vec![concat!("goldseam ", env!("CARGO_PKG_VERSION")).into()]];
            Ok(Table { columns: COLUMNS, rows })
        })
    },
};

const COLUMNS: &[Column] = &[("version", Kind::Text)];
