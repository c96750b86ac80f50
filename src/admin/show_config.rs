//! `SHOW CONFIG`

use super::{AdminCommand, Argument, Column, Kind, Table};
use crate::config::Setting;

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW CONFIG",
    argument: Argument::None,
    about: "Settings in force, their defaults, and whether RELOAD can change them; passwords do not show.",
    run: |request| {
        Box::pin(async move {
            let config = request.shared.state.load().config.clone();
            let cells = |setting: Setting| {
                let changeable = if setting.changeable { "yes" } else { "no" };
                vec![setting.key.into(), setting.value.into(), setting.default.into(), changeable.into()]
            };
            Ok(Table { columns: COLUMNS, rows: config.settings().into_iter().map(cells).collect() })
        })
    },
};

const COLUMNS: &[Column] =
    &[("key", Kind::Text), ("value", Kind::Text), ("default", Kind::Text), ("changeable", Kind::Text)];
