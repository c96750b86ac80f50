//! A session's settings: PostgreSQL's, which follow the client from backend to backend, and Goldseam's own.

use std::sync::Arc;

use crate::backend::{self, Value};
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::types::ShardId;
use crate::types::key::DecodeContext;
use crate::vschema::Vschema;

/// All settings of a session, cheap to clone: a transaction keeps copies to come back to.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionSettings {
    /// What the backends are told.
    pub server: Arc<backend::Settings>,
    /// `goldseam.shard`: the operator's word instead of any analysis.
    pub shard: Option<ShardId>,
}

/// Names of Goldseam's own settings begin with this.
const PREFIX: &str = "goldseam.";

/// Whether a setting is Goldseam's own.
pub fn is_own(name: &str) -> bool {
    name.starts_with(PREFIX)
}

impl SessionSettings {
    /// Changes one of Goldseam's own settings; `value` is as after `TO`.
    pub fn set_own(&mut self, name: &str, value: Option<&str>, vschema: &Vschema) -> Result<(), PgError> {
        let value = value.map(unquote);
        match (name, value.as_deref()) {
            ("goldseam.shard", None | Some("" | "none")) => self.shard = None,
            ("goldseam.shard", Some(shard)) => self.shard = Some(named_shard(shard, vschema)?),
            ("goldseam.consistency", None | Some("strong")) => {}
            ("goldseam.snapshot", None | Some("shard")) => {}
            ("goldseam.consistency" | "goldseam.snapshot", Some(value)) => {
                return Err(PgError::unsupported(format!("{name} = '{value}' is not supported yet"))
                    .with_hint("The default is the only value so far: 'strong' and 'shard'."));
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    /// The value of one of Goldseam's own settings, as SHOW prints it.
    pub fn show_own(&self, name: &str, vschema: &Vschema) -> Result<String, PgError> {
        match name {
            "goldseam.shard" => Ok(self.shard.map_or(String::new(), |shard| vschema.shard_name(shard).to_owned())),
            "goldseam.consistency" => Ok("strong".into()),
            "goldseam.snapshot" => Ok("shard".into()),
            _ => Err(unknown(name)),
        }
    }

    /// The effective search path, without `pg_catalog`. `default` is the login's own.
    pub fn search_path(&self, default: &str, user: &str) -> Arc<[String]> {
        let text = match self.server.get("search_path") {
            Some(Value::Sql(text)) => text,
            Some(Value::Plain(text)) => return parse_path(text, user),
            None => return parse_path(default, user),
        };
        // SET search_path TO 'a, b' names one schema, whose name has a comma.
        let items = split_list(text);
        let schemas = items.iter().map(|item| if item.starts_with('\'') { unquote(item) } else { identifier(item) });
        resolve_path(schemas, user)
    }
}

/// The shard of a name.
pub fn named_shard(name: &str, vschema: &Vschema) -> Result<ShardId, PgError> {
    vschema.shard(name).ok_or_else(|| {
        PgError::new(SqlState::INVALID_PARAMETER_VALUE, format!("shard \"{name}\" does not exist"))
            .with_hint(format!("The shards are: {}.", vschema.shards.join(", ")))
    })
}

/// How key literals are read, from what the server last reported of the session.
pub fn decode_context(parameters: &backend::Parameters) -> DecodeContext {
    let zone = parameters.get("TimeZone").unwrap_or("");
    DecodeContext {
        utc: matches!(zone, "UTC" | "GMT" | "Etc/UTC" | "Etc/GMT" | "Zulu" | "UCT" | "Universal"),
        iso: parameters.get("DateStyle").is_some_and(|style| style.starts_with("ISO")),
    }
}

/// Whether a setting changes how statements are to be read.
pub fn changes_reading(name: &str) -> bool {
    matches!(name, "client_encoding" | "standard_conforming_strings")
}

/// Settings that change how statements are to be read: they cannot leave the value that Goldseam reads by. `single` if there is only one
/// shard, so that nothing has to be read in a statement. `value` as after `TO`, or bare.
pub fn check_readable(name: &str, value: &str, single: bool) -> Result<(), PgError> {
    let bare = unquote(value).to_ascii_lowercase();
    let plain: String = bare.chars().filter(char::is_ascii_alphanumeric).collect();
    let readable = match name {
        "client_encoding" => single || matches!(plain.as_str(), "utf8" | "unicode"),
        "standard_conforming_strings" => {
            matches!(bare.as_str(), "on" | "true" | "yes" | "1" | "t" | "y" | "tr" | "tru" | "ye")
        }
        _ => true,
    };
    if readable {
        return Ok(());
    }
    Err(PgError::unsupported(format!("{name} = '{bare}' is not supported"))
        .with_detail("Goldseam finds shard keys in the statement's text, and reads it as UTF-8 with standard strings.")
        .with_hint("Use UTF8, and E'...' for strings with backslash escapes."))
}

fn unknown(name: &str) -> PgError {
    PgError::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
        .with_hint("Goldseam's settings are goldseam.shard, goldseam.consistency and goldseam.snapshot.")
}

/// The text of a literal, or the text itself.
fn unquote(text: &str) -> String {
    match text.trim().strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(inside) => inside.replace("''", "'"),
        None => text.trim().to_owned(),
    }
}

/// A schema's name from an identifier: folded to lower case unless quoted.
fn identifier(text: &str) -> String {
    match text.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inside) => inside.replace("\"\"", "\""),
        None => text.trim().to_lowercase(),
    }
}

/// Splits at commas outside of quotes.
fn split_list(text: &str) -> Vec<&str> {
    let (mut items, mut start, mut quote) = (Vec::new(), 0, None);
    for (at, letter) in text.char_indices() {
        match (letter, quote) {
            ('"' | '\'', None) => quote = Some(letter),
            (_, Some(open)) if letter == open => quote = None,
            (',', None) => {
                items.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(text[start..].trim());
    items
}

fn parse_path(text: &str, user: &str) -> Arc<[String]> {
    resolve_path(split_list(text).into_iter().map(identifier), user)
}

fn resolve_path(schemas: impl Iterator<Item = String>, user: &str) -> Arc<[String]> {
    schemas
        .map(|schema| if schema == "$user" { user.to_owned() } else { schema })
        .filter(|schema| !schema.is_empty() && schema != "pg_catalog")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(set: Option<Value>) -> Vec<String> {
        let mut server = backend::Settings::default();
        if let Some(value) = set {
            server.set("search_path", value);
        }
        let settings = SessionSettings { server: Arc::new(server), shard: None };
        settings.search_path("\"$user\", public", "ann").to_vec()
    }

    #[test]
    fn the_search_path_is_read_as_postgresql_reads_it() {
        assert_eq!(path(None), ["ann", "public"]);
        assert_eq!(path(Some(Value::Sql("Sales, \"Sales\", pg_catalog".into()))), ["sales", "Sales"]);
        assert_eq!(path(Some(Value::Sql("'a, b', c".into()))), ["a, b", "c"]);
        assert_eq!(path(Some(Value::Plain("a, b".into()))), ["a", "b"]);
        assert_eq!(path(Some(Value::Plain("".into()))), [""; 0]);
    }

    #[test]
    fn what_changes_the_reading_of_statements_is_refused() {
        for (name, value, single, ok) in [
            ("client_encoding", "'UTF-8'", false, true),
            ("client_encoding", "latin1", false, false),
            ("client_encoding", "latin1", true, true),
            ("standard_conforming_strings", "on", false, true),
            ("standard_conforming_strings", "'off'", true, false),
            ("work_mem", "'1MB'", false, true),
        ] {
            assert_eq!(check_readable(name, value, single).is_ok(), ok, "{name} {value}");
        }
    }

    #[test]
    fn own_settings_are_checked() {
        let vschema = Vschema { shards: vec!["s0".into(), "s1".into()], ..Vschema::default() };
        let mut settings = SessionSettings { server: backend::Settings::none(), shard: None };
        settings.set_own("goldseam.shard", Some("'s1'"), &vschema).unwrap();
        assert_eq!(settings.show_own("goldseam.shard", &vschema).unwrap(), "s1");
        settings.set_own("goldseam.shard", None, &vschema).unwrap();
        assert_eq!(settings.shard, None);
        for (name, value, code) in [
            ("goldseam.shard", "'s9'", SqlState::INVALID_PARAMETER_VALUE),
            ("goldseam.shrad", "1", SqlState::UNDEFINED_OBJECT),
            ("goldseam.consistency", "'eventual'", SqlState::FEATURE_NOT_SUPPORTED),
        ] {
            assert_eq!(settings.set_own(name, Some(value), &vschema).unwrap_err().code, code, "{name}");
        }
    }
}
