//! Files of statements: a topic each.
//!
//! A line `# sentence` says what is asked, then come one or more statements, each ended by `;` at a line's end, and a blank line ends the
//! session that runs them; if the sentence begins with `Each: `, each statement has a session of its own. A line `-- $ int4:b:42 | :t:abc` before a statement gives its parameters: declared type or nothing, binary or
//! text format, value. How its answer is compared may be said in such lines too ([`Rule`]):
//!
//! * `-- by 2 1`: its order leaves ties; the rows are in order by these columns, counted from 1.
//! * `-- of SELECT ...`: its LIMIT leaves a choice; so many rows of that query's.
//! * `-- about`: floating-point numbers that depend on the order of adding.
//! * `-- shape`: only the columns.
//! * `-- second`: it is asked in the case's second session.
//!
//! Lines that begin with `| ` are what a `COPY ... FROM STDIN` before them is given, line by line; `|x 00ff` are bytes.
//!
//! * `-- may be refused`: the exception in a file that begins with the line `-- answered`, where all else must be answered.

use std::error::Error;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use crate::proof::compare::Rule;

/// One session: what it is about, and its statements.
#[derive(Debug, Clone)]
pub struct Case {
    pub sentence: String,
    pub steps: Vec<Step>,
}

/// A statement with its parameters.
#[derive(Debug, Clone, Default)]
pub struct Step {
    pub parameters: Vec<Parameter>,
    pub sql: String,
    pub rule: Rule,
    pub may_be_refused: bool,
    /// By another client.
    pub second: bool,
    /// What COPY is given.
    pub data: Vec<u8>,
}

/// A parameter as the file writes it.
#[derive(Debug, Clone)]
pub struct Parameter {
    pub declared: Option<Type>,
    pub format: Format,
    pub value: Option<String>,
}

/// Whether all statements of a file must be answered.
pub fn is_answered(text: &str) -> bool {
    text.starts_with("-- answered\n")
}

/// The sessions of a file.
pub fn parse(text: &str) -> Vec<Case> {
    let text = text.strip_prefix("-- answered\n").unwrap_or(text);
    let mut cases: Vec<Case> = Vec::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let mut case = Case { sentence: String::new(), steps: Vec::new() };
        let mut step = Step::default();
        for line in block.trim_matches('\n').lines() {
            if let Some(sentence) = line.strip_prefix("# ") {
                case.sentence = sentence.to_string();
            } else if let Some(list) = line.strip_prefix("-- $ ") {
                step.parameters = list.split(" | ").map(parameter).collect();
            } else if let Some(list) = line.strip_prefix("-- by ") {
                let column = |number: &str| number.parse::<usize>().unwrap() - 1;
                step.rule.by = Some(list.split(' ').map(column).collect());
            } else if let Some(query) = line.strip_prefix("-- of ") {
                step.rule.of = Some(query.to_string());
            } else if line == "-- about" {
                step.rule.about = true;
            } else if line == "-- shape" {
                step.rule.shape = true;
            } else if line == "-- may be refused" {
                step.may_be_refused = true;
            } else if line == "-- second" {
                step.second = true;
            } else if let Some(text) = line.strip_prefix("| ").or((line == "|").then_some("")) {
                let data = &mut case.steps.last_mut().unwrap_or_else(|| panic!("data of nothing: {block}")).data;
                data.extend(text.as_bytes());
                data.push(b'\n');
            } else if let Some(digits) = line.strip_prefix("|x ") {
                let data = &mut case.steps.last_mut().unwrap_or_else(|| panic!("data of nothing: {block}")).data;
                data.extend(digits.split(' ').flat_map(hex));
            } else {
                step.sql += line;
                match step.sql.strip_suffix(';') {
                    Some(whole) => {
                        step.sql = whole.to_string();
                        case.steps.push(std::mem::take(&mut step));
                    }
                    None => step.sql.push('\n'),
                }
            }
        }
        assert!(step.sql.is_empty(), "no `;` at the end of: {}", step.sql);
        assert!(!case.sentence.is_empty() && !case.steps.is_empty(), "no sentence or no statement: {block}");
        match case.sentence.strip_prefix("Each: ") {
            Some(sentence) => cases
                .extend(case.steps.into_iter().map(|step| Case { sentence: sentence.to_string(), steps: vec![step] })),
            None => cases.push(case),
        }
    }
    cases
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn parameter(text: &str) -> Parameter {
    let mut parts = text.splitn(3, ':');
    let (declared, format, value) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let declared = match declared {
        "" => None,
        "int2" => Some(Type::INT2),
        "int4" => Some(Type::INT4),
        "int8" => Some(Type::INT8),
        "numeric" => Some(Type::NUMERIC),
        "float8" => Some(Type::FLOAT8),
        "text" => Some(Type::TEXT),
        "varchar" => Some(Type::VARCHAR),
        "bpchar" => Some(Type::BPCHAR),
        "name" => Some(Type::NAME),
        "date" => Some(Type::DATE),
        "timestamp" => Some(Type::TIMESTAMP),
        "timestamptz" => Some(Type::TIMESTAMPTZ),
        "int4[]" => Some(Type::INT4_ARRAY),
        "int8[]" => Some(Type::INT8_ARRAY),
        "text[]" => Some(Type::TEXT_ARRAY),
        other => panic!("type {other}"),
    };
    let format = if format == "b" { Format::Binary } else { Format::Text };
    Parameter { declared, format, value: (value != "NULL").then(|| value.to_string()) }
}

impl ToSql for Parameter {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(value) = &self.value else { return Ok(IsNull::Yes) };
        if matches!(self.format, Format::Text) {
            out.extend_from_slice(value.as_bytes());
            return Ok(IsNull::No);
        }
        match *ty {
            Type::INT2 => value.parse::<i16>()?.to_sql(ty, out),
            Type::INT4 => value.parse::<i32>()?.to_sql(ty, out),
            Type::INT8 => value.parse::<i64>()?.to_sql(ty, out),
            Type::FLOAT8 => value.parse::<f64>()?.to_sql(ty, out),
            Type::INT4_ARRAY => ints::<i32>(value)?.to_sql(ty, out),
            Type::INT8_ARRAY => ints::<i64>(value)?.to_sql(ty, out),
            // Days, or microseconds, since 2000.
            Type::DATE => {
                out.extend_from_slice(&value.parse::<i32>()?.to_be_bytes());
                Ok(IsNull::No)
            }
            Type::TIMESTAMP | Type::TIMESTAMPTZ => {
                out.extend_from_slice(&value.parse::<i64>()?.to_be_bytes());
                Ok(IsNull::No)
            }
            // One digit of base 10,000, and a scale of one.
            Type::NUMERIC => {
                for part in [1, 0, 0, 1, value.parse::<i16>()?] {
                    out.extend_from_slice(&i16::to_be_bytes(part));
                }
                Ok(IsNull::No)
            }
            _ => {
                out.extend_from_slice(value.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        self.format
    }

    to_sql_checked!();
}

fn ints<T: std::str::FromStr>(list: &str) -> Result<Vec<T>, T::Err> {
    list.split(',').map(str::parse).collect()
}
