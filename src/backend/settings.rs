//! A session's settings, as they must stand on whatever server connection runs its statements.
//!
//! With transaction pooling a connection serves many sessions in turn. Before it serves one, its settings are made that
//! session's: [`Settings::sync_sql`] is the text that does it, and nothing at all when both are equal, which
//! is the usual case and costs a pointer comparison, or that of one hash.
//!
//! Values keep the client's own text, for `SET search_path TO a, b` and `SET search_path TO 'a, b'` mean different things. Entries
//! stand in the order in which they were last set, because rights depend on it: what was set before `SET ROLE` may have
//! needed the rights of the role before. `session_authorization` and `role` are settings too, with commands of their own; the
//! former undoes the latter (PostgreSQL, `SetSessionAuthorization`).

use std::borrow::Cow;
use std::fmt::Write;
use std::hash::Hasher;
use std::sync::Arc;

use twox_hash::XxHash3_64;

/// A setting's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// As the client wrote it after `TO`: `'a b'`, `a, b`, `on`, `10`.
    Sql(Box<str>),
    /// A bare string, as in a startup message or in `set_config`.
    Plain(Box<str>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// In lower case.
    name: Box<str>,
    value: Value,
    hash: u64,
}

/// Settings that differ from the server's own. Cheap to compare; meant to be shared as `Arc<Settings>`.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    entries: Vec<Entry>,
    /// The sum of the entries' hashes: equal whatever their order.
    hash: u64,
}

const ROLE: &str = "role";
const AUTHORIZATION: &str = "session_authorization";

/// Settings whose bare string is a list, which a quoted literal after SET would turn into one element
/// (`GUC_LIST_QUOTE` in `src/backend/utils/misc/guc_tables.c`).
const QUOTED_LISTS: &[&str] = &[
    "search_path",
    "temp_tablespaces",
    "session_preload_libraries",
    "local_preload_libraries",
    "shared_preload_libraries",
    "unix_socket_directories",
];

impl Settings {
    /// The server's own settings, shared by everybody who set nothing.
    pub fn none() -> Arc<Settings> {
        static NONE: std::sync::OnceLock<Arc<Settings>> = std::sync::OnceLock::new();
        NONE.get_or_init(Default::default).clone()
    }

    /// Notes `SET name TO value`. The name is folded to lower case.
    pub fn set(&mut self, name: &str, value: Value) {
        let name = folded(name);
        self.remove(&name);
        if name == AUTHORIZATION {
            self.remove(ROLE);
        }
        let mut hasher = XxHash3_64::with_seed(0);
        hasher.write(name.as_bytes());
        let (kind, text) = match &value {
            Value::Sql(text) => (0, text),
            Value::Plain(text) => (1, text),
        };
        hasher.write_u8(kind);
        hasher.write(text.as_bytes());
        let hash = hasher.finish();
        self.hash = self.hash.wrapping_add(hash);
        self.entries.push(Entry { name: name.into(), value, hash });
    }

    /// Notes `SET name TO value` with the client's own text of the value.
    pub fn set_sql(&mut self, name: &str, text: &str) {
        self.set(name, Value::Sql(text.into()));
    }

    /// Notes a bare string: a startup parameter, or what `set_config` was given.
    pub fn set_plain(&mut self, name: &str, value: &str) {
        self.set(name, Value::Plain(value.into()));
    }

    /// Notes `RESET name`; says whether there was anything to forget.
    pub fn reset(&mut self, name: &str) -> bool {
        let name = folded(name);
        if name == AUTHORIZATION {
            self.remove(ROLE);
        }
        self.remove(&name)
    }

    /// Notes `RESET ALL`, which spares role and session authorization (`GUC_NO_RESET_ALL`).
    pub fn reset_all(&mut self) {
        self.entries.retain(|entry| is_identity(&entry.name));
        self.hash = self.entries.iter().fold(0, |sum, entry| sum.wrapping_add(entry.hash));
    }

    /// A setting's value, by its name in any case.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let name = folded(name);
        self.entries.iter().find(|entry| *entry.name == *name).map(|entry| &entry.value)
    }

    /// All, in the order in which they were last set.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|entry| (&*entry.name, &entry.value))
    }

    /// What sets these values again after a RESET of one (or all) of them has brought the server's own: one statement each.
    pub fn restore_statements(&self, name: Option<&str>, local: bool) -> Vec<String> {
        let name = name.map(folded);
        let wanted = |entry: &&Entry| match &name {
            Some(name) => *entry.name == **name,
            None => !is_identity(&entry.name),
        };
        let statement = |entry: &Entry| {
            let mut sql = String::new();
            match &entry.value {
                Value::Plain(text) => {
                    sql.push_str("SELECT pg_catalog.set_config(");
                    push_literal(&mut sql, &entry.name);
                    sql.push(',');
                    push_literal(&mut sql, text);
                    let _ = write!(sql, ",{local})"); // writing to a String cannot fail
                }
                Value::Sql(_) => {
                    push_set(&mut sql, entry);
                    sql.pop();
                }
            }
            sql
        };
        self.entries.iter().filter(wanted).map(statement).collect()
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The 64-bit hash that equality looks at first.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The one simple query that turns a connection with settings `current` into one with these; `None` if nothing is to be done.
    ///
    /// A failure of any part undoes all of it, because a simple query without transaction control is one transaction: the connection
    /// then still has `current`.
    pub fn sync_sql(&self, current: &Settings) -> Option<String> {
        if std::ptr::eq(self, current) || self == current {
            return None;
        }
        let mut sql = String::new();
        // Rights first: what has to be set or reset may need those of the login itself, so that any role is left, the rest is
        // replayed in the session's own order, and roles are taken on again where the session took them.
        for name in [ROLE, AUTHORIZATION] {
            if current.has(name) {
                sql.push_str(if name == ROLE { "RESET ROLE;" } else { "RESET SESSION AUTHORIZATION;" });
            }
        }
        for entry in &current.entries {
            if !is_identity(&entry.name) && !self.has(&entry.name) {
                sql.push_str("RESET ");
                push_name(&mut sql, &entry.name);
                sql.push(';');
            }
        }
        for entry in &self.entries {
            if is_identity(&entry.name) || !current.entries.contains(entry) {
                push_set(&mut sql, entry);
            }
        }
        sql.pop();
        Some(sql)
    }

    fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| *entry.name == *name)
    }

    fn remove(&mut self, name: &str) -> bool {
        match self.entries.iter().position(|entry| *entry.name == *name) {
            Some(index) => {
                self.hash = self.hash.wrapping_sub(self.entries.remove(index).hash);
                true
            }
            None => false,
        }
    }
}

impl PartialEq for Settings {
    /// Whatever the order.
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && self.entries.len() == other.entries.len()
            && self.entries.iter().all(|entry| other.entries.contains(entry))
    }
}

impl Eq for Settings {}

fn is_identity(name: &str) -> bool {
    name == ROLE || name == AUTHORIZATION
}

fn folded(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// A setting's name as a quoted identifier, part by part: `"goldseam"."shard"`.
fn push_name(sql: &mut String, name: &str) {
    for (index, part) in name.split('.').enumerate() {
        if index > 0 {
            sql.push('.');
        }
        sql.push('"');
        sql.push_str(&part.replace('"', "\"\""));
        sql.push('"');
    }
}

/// A string as a literal that means the same whatever `standard_conforming_strings` says.
fn push_literal(sql: &mut String, text: &str) {
    if text.contains('\\') {
        sql.push('E');
    }
    sql.push('\'');
    for letter in text.chars() {
        if matches!(letter, '\'' | '\\') {
            sql.push(letter);
        }
        sql.push(letter);
    }
    sql.push('\'');
}

fn push_set(sql: &mut String, entry: &Entry) {
    let name = &*entry.name;
    match &entry.value {
        Value::Plain(text) if QUOTED_LISTS.contains(&name) => {
            sql.push_str("SELECT pg_catalog.set_config(");
            push_literal(sql, name);
            sql.push(',');
            push_literal(sql, text);
            sql.push_str(",false);");
            return;
        }
        // `SET TIME ZONE` has two forms of value that `SET timezone TO` has not.
        Value::Sql(text)
            if name == "timezone" && (starts_with_word(text, "interval") || starts_with_word(text, "local")) =>
        {
            let _ = write!(sql, "SET TIME ZONE {text};"); // writing to a String cannot fail
            return;
        }
        _ => {}
    }
    match name {
        ROLE => sql.push_str("SET ROLE "),
        AUTHORIZATION => sql.push_str("SET SESSION AUTHORIZATION "),
        _ => {
            sql.push_str("SET ");
            push_name(sql, name);
            sql.push_str(" TO ");
        }
    }
    match &entry.value {
        Value::Sql(text) => sql.push_str(text),
        Value::Plain(text) if name == ROLE && &**text == "none" => sql.push_str("NONE"),
        Value::Plain(text) => push_literal(sql, text),
    }
    sql.push(';');
}

fn starts_with_word(text: &str, word: &str) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
        && !text[word.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(entries: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::default();
        entries.iter().for_each(|(name, text)| settings.set_sql(name, text));
        settings
    }

    fn check(case: &str, from: &[(&str, &str)], to: &[(&str, &str)], sql: Option<&str>) {
        assert_eq!(settings(to).sync_sql(&settings(from)).as_deref(), sql, "{case}");
    }

    #[test]
    fn a_connection_becomes_the_sessions_own() {
        check("nothing to do", &[], &[], None);
        check("equal in another order", &[("a.b", "1"), ("c.d", "2")], &[("c.d", "2"), ("a.b", "1")], None);
        check("a first setting", &[], &[("TimeZone", "'UTC'")], Some(r#"SET "timezone" TO 'UTC'"#));
        check("a list keeps its text", &[], &[("search_path", "a, \"B\"")], Some(r#"SET "search_path" TO a, "B""#));
        check("what nobody set is reset", &[("work_mem", "'1MB'")], &[], Some(r#"RESET "work_mem""#));
        check(
            "one of two changes",
            &[("a.b", "1"), ("c.d", "2")],
            &[("a.b", "1"), ("c.d", "3")],
            Some(r#"SET "c"."d" TO 3"#),
        );
        check("a role is left", &[("role", "x")], &[], Some("RESET ROLE"));
        check("a role is changed", &[("role", "x")], &[("role", "y")], Some("RESET ROLE;SET ROLE y"));
        check(
            "with a role, what came before it is set with the rights before it",
            &[("role", "x")],
            &[("work_mem", "1"), ("role", "x"), ("a.b", "2")],
            Some(r#"RESET ROLE;SET "work_mem" TO 1;SET ROLE x;SET "a"."b" TO 2"#),
        );
        check(
            "authorization comes before role",
            &[("session_authorization", "x"), ("role", "z")],
            &[("session_authorization", "y"), ("role", "z")],
            Some("RESET ROLE;RESET SESSION AUTHORIZATION;SET SESSION AUTHORIZATION y;SET ROLE z"),
        );
        check(
            "an interval",
            &[],
            &[("timezone", "INTERVAL '+02:00' HOUR TO MINUTE")],
            Some("SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE"),
        );
        check("hostile names stay names", &[], &[("a\";drop", "1")], Some(r#"SET "a"";drop" TO 1"#));
    }

    #[test]
    fn bare_strings_are_quoted_and_lists_stay_lists() {
        let mut to = Settings::default();
        to.set_plain("application_name", r"it's a \ name");
        to.set_plain("search_path", "a, b");
        assert_eq!(
            to.sync_sql(&Settings::default()).unwrap(),
            r#"SET "application_name" TO E'it''s a \\ name';SELECT pg_catalog.set_config('search_path','a, b',false)"#
        );
    }

    #[test]
    fn a_new_authorization_ends_the_role_and_reset_all_spares_both() {
        let mut some = settings(&[("role", "a"), ("session_authorization", "b"), ("work_mem", "1")]);
        assert_eq!(some.get("ROLE"), None);
        some.reset_all();
        assert_eq!(some, settings(&[("session_authorization", "b")]));
        assert!(some.reset("session_authorization") && some.is_empty() && some.hash() == 0);
    }
}
