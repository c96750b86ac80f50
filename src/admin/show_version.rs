//! `SHOW VERSION`

use super::{AdminCommand, Table};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW VERSION",
    about: "Goldseam's version.",
    run: |_| {
        Box::pin(async {
            let rows = vec![vec![concat!("goldseam ", env!("CARGO_PKG_VERSION")).to_owned()]];
            Ok(Table { columns: vec!["version"], rows })
        })
    },
};
