//! `SELECT set_config(...)`: a SET in the guise of a query. The server that it goes to does it; the session remembers what it was, so that the
//! servers of its next statements are told too.

use super::Session;
use super::effects::After;
use super::sql_execute::literal;
use crate::backend::Value;
use crate::error::PgError;
use crate::plan::Values;
use crate::sql::{self, Given, Setting};
use crate::types::Raw;

impl Session {
    /// What a statement that sets by `set_config` means for the session; nothing for any other statement.
    ///
    /// # Errors
    /// A value that cannot be read, or that would change how statements are read.
    pub(super) fn after_function(&self, statement: &str, values: &impl Values) -> Result<After, PgError> {
        let settings = sql::set_configs(statement);
        let mut afters = settings.iter().map(|setting| self.after_setting(setting, values));
        match settings.len() {
            0 => Ok(After::Nothing),
            1 => afters.next().unwrap_or(Ok(After::Nothing)),
            _ => afters.collect::<Result<_, _>>().map(After::Several),
        }
    }

    fn after_setting(&self, setting: &Setting<'_>, values: &impl Values) -> Result<After, PgError> {
        let name = given(&setting.name, values)?.to_ascii_lowercase();
        if name == "restrict_nonsystem_relation_kind" {
            // pg_dump's guard against views that others made to harm it: kept where it was set, for what is sent to other shards is Goldseam's own.
            return Ok(After::Nothing);
        }
        let value = given(&setting.value, values)?;
        let local = is_true(&setting.local, values)?;
        if super::settings::changes_reading(&name) {
            if local {
                return Err(PgError::unsupported(format!("{name} cannot be set for one transaction")));
            }
            super::settings::check_readable(&name, &value, self.state.vschema.single_shard())?;
        }
        let text = format!("SELECT pg_catalog.set_config({}, {}, {local})", literal(&name), literal(&value));
        Ok(match local {
            true => After::local(&text),
            false => After::Set { name, value: Some(Value::Plain(value.into())), text },
        })
    }
}

/// An argument's text.
fn given(given: &Given<'_>, values: &impl Values) -> Result<String, PgError> {
    let Given::Parameter(at) = given else {
        let Given::Text(text) = given else { return Err(unreadable()) };
        return Ok(text.clone().into_owned());
    };
    match values.parameter(*at) {
        Some(Raw::Text { text, .. }) => Ok(text.into_owned()),
        // Text has one form.
        Some(Raw::Binary { bytes, .. }) => std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| unreadable()),
        _ => Err(unreadable()),
    }
}

/// An argument that is a boolean (`parse_bool`).
fn is_true(local: &Given<'_>, values: &impl Values) -> Result<bool, PgError> {
    if let Given::Parameter(at) = local
        && let Some(Raw::Binary { bytes: [byte], .. }) = values.parameter(*at)
    {
        return Ok(byte != &0);
    }
    match given(local, values)?.trim().to_ascii_lowercase().as_str() {
        "t" | "tr" | "tru" | "true" | "y" | "ye" | "yes" | "on" | "1" => Ok(true),
        "f" | "fa" | "fal" | "fals" | "false" | "n" | "no" | "of" | "off" | "0" => Ok(false),
        _ => Err(unreadable()),
    }
}

/// NULL, or what is no text.
fn unreadable() -> PgError {
    PgError::unsupported("set_config() with an argument that Goldseam cannot read is not supported")
        .with_detail("Each shard has its own settings: they follow the session only if what is set can be read.")
        .with_hint("Give text for the name and the value; use RESET in place of NULL.")
}
