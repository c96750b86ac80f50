//! Answers that Goldseam gives by itself: command tags, and small tables of text.

use bytes::BytesMut;

use crate::protocol::encode;

/// An answer without a backend.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answer {
    /// Columns and rows, if it returns any.
    pub table: Option<(Vec<String>, Vec<Vec<String>>)>,
    /// A warning that comes before it: SQLSTATE's class 25 and 01 know a few.
    pub warning: Option<crate::error::PgError>,
    /// The command tag.
    pub tag: String,
}

impl Answer {
    /// Nothing but a tag.
    pub(super) fn tag(tag: &str) -> Self {
        Answer { tag: tag.into(), ..Answer::default() }
    }

    /// A tag with a warning.
    pub(super) fn warned(tag: &str, warning: crate::error::PgError) -> Self {
        Answer { tag: tag.into(), warning: Some(warning), table: None }
    }

    /// One column of lines.
    pub(super) fn lines(column: &str, lines: Vec<String>, tag: &str) -> Self {
        let rows = lines.into_iter().map(|line| vec![line]).collect();
        Answer { table: Some((vec![column.into()], rows)), warning: None, tag: tag.into() }
    }

    /// RowDescription or NoData.
    pub(super) fn describe(columns: Option<&[String]>, out: &mut BytesMut) {
        match columns {
            Some(columns) => encode::row_description(out, &columns.iter().map(String::as_str).collect::<Vec<_>>()),
            None => encode::no_data(out),
        }
    }

    /// Rows and tag, after the description where the protocol wants one.
    pub(super) fn write(&self, described: bool, out: &mut BytesMut) {
        if let Some(warning) = &self.warning {
            encode::notice(out, "WARNING", warning);
        }
        if let Some((columns, rows)) = &self.table {
            if !described {
                Answer::describe(Some(columns), out);
            }
            for row in rows {
                encode::data_row(out, row.iter().map(Some));
            }
        }
        encode::command_complete(out, &self.tag);
    }
}
