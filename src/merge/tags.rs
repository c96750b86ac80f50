//! Command tags: `SELECT 3`, `UPDATE 3`, `INSERT 0 3` (protocol section "Message Formats", CommandComplete).

use crate::error::PgError;
use crate::sqlstate::SqlState;

/// What the shards' tags come to.
#[derive(Debug, Default, Clone)]
pub(super) struct Tags {
    /// The command, with the 0 of INSERT.
    command: Option<String>,
    /// The sum of the rows; none if the command has no count.
    rows: Option<u64>,
}

impl Tags {
    /// Adds the body of a CommandComplete.
    pub fn add(&mut self, body: &[u8], shard: &str) -> Result<(), PgError> {
        let tag = body.strip_suffix(b"\0").unwrap_or(body);
        let tag = std::str::from_utf8(tag).map_err(|_| unknown(shard, "a tag that is not text"))?;
        let (command, rows) = match tag.rsplit_once(' ').map(|(command, rows)| (command, rows.parse::<u64>())) {
            Some((command, Ok(rows))) => (command, Some(rows)),
            _ => (tag, None),
        };
        match &self.command {
            None => {
                self.command = Some(command.to_owned());
                self.rows = rows;
            }
            Some(known) if known == command && self.rows.is_some() == rows.is_some() => {
                self.rows = self.rows.zip(rows).map(|(sum, rows)| sum.saturating_add(rows));
            }
            Some(known) => return Err(unknown(shard, &format!("\"{command}\", another shard \"{known}\""))),
        }
        Ok(())
    }

    /// The client's tag. `rows` counts in place of the sum; until a shard is complete the command is a SELECT.
    pub fn tag(&self, rows: Option<u64>) -> String {
        let command = self.command.as_deref().unwrap_or("SELECT");
        match rows.or(self.rows) {
            Some(rows) => format!("{command} {rows}"),
            None => command.to_owned(),
        }
    }
}

fn unknown(shard: &str, what: &str) -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, format!("shard \"{shard}\" completed another command than was sent"))
        .with_detail(format!("It said {what}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_and_commands_must_agree() {
        let mut tags = Tags::default();
        tags.add(b"INSERT 0 2\0", "s0").unwrap();
        tags.add(b"INSERT 0 3\0", "s1").unwrap();
        assert_eq!((tags.tag(None), tags.tag(Some(1))), ("INSERT 0 5".to_owned(), "INSERT 0 1".to_owned()));
        assert!(tags.add(b"UPDATE 1\0", "s2").is_err() && tags.add(b"\xff\0", "s2").is_err());
        assert_eq!(Tags::default().tag(Some(7)), "SELECT 7");
        let mut tags = Tags::default();
        tags.add(b"ANALYZE\0", "s0").unwrap();
        assert_eq!(tags.tag(None), "ANALYZE");
        assert!(tags.add(b"ANALYZE 1", "s1").is_err());
    }
}
