//! Which expressions are values that can be read at run time: literals and parameters, with a sign and a cast at most.

use sqlparser::ast::{
    Array, BinaryOperator, CastKind, CharacterLength, DataType, ExactNumberInfo, Expr, ObjectNamePart, TimezoneInfo,
    UnaryOperator, Value, ValueWithSpan,
};

use super::Planner;
use crate::plan::{Arithmetic, KeySet, KeySource, Origin};
use crate::sql::parse::byte_of;
use crate::types::{KeyType, Oid, Raw, oid};

impl Planner<'_> {
    /// The value that an expression is, if it is one that can be read at run time.
    pub(super) fn source(&self, expr: &Expr) -> Option<KeySource> {
        match expr {
            Expr::Nested(inner) => self.source(inner),
            Expr::Value(value) => {
                Some(KeySource { origin: self.origin(value)?, negate: false, cast: None, doubtful: false })
            }
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
                let mut source = self.source(expr)?;
                // The sign of a string or of an untyped parameter is not ours to guess.
                let number = matches!(unwrap(expr), Expr::Value(value) if matches!(value.value, Value::Number(..)));
                if !number && !source.cast.is_some_and(is_number) {
                    return None;
                }
                source.negate = !source.negate;
                Some(source)
            }
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => {
                let number = matches!(unwrap(expr), Expr::Value(value) if matches!(value.value, Value::Number(..)));
                if number { self.source(expr) } else { None }
            }
            Expr::BinaryOp { left, op, right } => {
                let operation = match op {
                    BinaryOperator::Plus => Arithmetic::Add,
                    BinaryOperator::Minus => Arithmetic::Subtract,
                    BinaryOperator::Multiply => Arithmetic::Multiply,
                    _ => return None,
                };
                // Numbers only: the type of a parameter beside an operator is PostgreSQL's to infer.
                let number = |expr: &Expr| match unwrap(expr) {
                    Expr::Value(value) => matches!(value.value, Value::Number(..)),
                    Expr::BinaryOp { .. } => true,
                    _ => false,
                };
                if !number(left) || !number(right) {
                    return None;
                }
                let terms = Box::new((self.source(left)?, operation, self.source(right)?));
                Some(KeySource { origin: Origin::Arithmetic(terms), negate: false, cast: None, doubtful: false })
            }
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None } => {
                let cast = type_oid(data_type)?;
                let mut source = self.source(expr)?;
                // A cast of a cast, or of a signed value of another type, may change the value twice.
                if source.cast.is_some_and(|known| known != cast) || (source.negate && !is_number(cast)) {
                    return None;
                }
                source.cast = Some(cast);
                Some(source)
            }
            Expr::TypedString(typed) if !typed.uses_odbc_syntax => {
                let cast = type_oid(&typed.data_type)?;
                Some(KeySource { origin: self.origin(&typed.value)?, negate: false, cast: Some(cast), doubtful: false })
            }
            _ => None,
        }
    }

    fn origin(&self, value: &ValueWithSpan) -> Option<Origin> {
        match &value.value {
            Value::Null => Some(Origin::Constant(Raw::Null)),
            Value::Placeholder(name) => {
                let number: u32 = name.strip_prefix('$')?.parse().ok()?;
                Some(Origin::Parameter(u16::try_from(number.checked_sub(1)?).ok()?))
            }
            // `0x1F` and `1_000` share their kind with bit strings, which are never keys.
            Value::Number(digits, _)
                if digits.bytes().any(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) =>
            {
                None
            }
            Value::Number(..)
            | Value::SingleQuotedString(_)
            | Value::EscapedStringLiteral(_)
            | Value::DollarQuotedString(_) => {
                let byte = u32::try_from(byte_of(value.span)?).ok()?;
                let index = self.literals.binary_search(&byte).ok()?;
                Some(Origin::Literal(u16::try_from(index).ok()?))
            }
            _ => None,
        }
    }

    /// The set that `column = ANY (expr)` restricts to.
    pub(super) fn array_source(&self, expr: &Expr) -> Option<KeySet> {
        match expr {
            Expr::Nested(inner) => self.array_source(inner),
            Expr::Array(Array { elem, named: true }) => {
                // The array's element type is that of its typed elements, whatever the column's is.
                Some(KeySet::Values(doubt(
                    elem,
                    elem.iter().map(|element| self.source(element)).collect::<Option<_>>()?,
                )))
            }
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None } => {
                let DataType::Array(element) = data_type else { return None };
                let element = match element {
                    sqlparser::ast::ArrayElemTypeDef::SquareBracket(element, None) => type_oid(element)?,
                    _ => return None,
                };
                match unwrap(expr) {
                    Expr::Value(value) => {
                        let cast = Some(array_of(element)?);
                        Some(KeySet::Array(KeySource {
                            origin: self.origin(value)?,
                            negate: false,
                            cast,
                            doubtful: false,
                        }))
                    }
                    Expr::Array(Array { elem, named: true }) => {
                        let cast = |source: KeySource| match source.cast {
                            None if !source.negate || is_number(element) => {
                                Some(KeySource { cast: Some(element), ..source })
                            }
                            Some(known) if known == element => Some(source),
                            _ => None,
                        };
                        let sources = elem.iter().map(|element| cast(self.source(element)?));
                        Some(KeySet::Values(sources.collect::<Option<_>>()?))
                    }
                    _ => None,
                }
            }
            Expr::Value(value) => {
                let origin = self.origin(value)?;
                Some(KeySet::Array(KeySource { origin, negate: false, cast: None, doubtful: false }))
            }
            _ => None,
        }
    }

    /// The set that an `IN` list restricts to.
    pub(super) fn list_source(&self, list: &[Expr]) -> Option<KeySet> {
        Some(KeySet::Values(doubt(list, list.iter().map(|element| self.source(element)).collect::<Option<_>>()?)))
    }

    /// Takes note of the type that a comparison with a column, or a cast, gives to a parameter.
    pub(super) fn note_types(&mut self, set: &KeySet, column: Option<KeyType>) {
        let mut note = |source: &KeySource, own: Option<Oid>| {
            if let (Origin::Parameter(number), false, Some(oid)) =
                (&source.origin, source.doubtful, source.cast.or(own))
            {
                self.parameter_types.entry(*number).or_default().push(oid);
            }
        };
        match set {
            KeySet::Values(sources) => sources.iter().for_each(|source| note(source, column.map(KeyType::oid))),
            KeySet::Array(source) => note(source, column.and_then(|column| array_of(column.oid()))),
            KeySet::Range { lower, upper } => {
                lower.iter().chain(upper).for_each(|edge| note(&edge.at, column.map(KeyType::oid)));
            }
            KeySet::Any(sets) | KeySet::All(sets) => sets.iter().for_each(|set| self.note_types(set, column)),
        }
    }

    /// Sets the type of each parameter that its uses agree on; of the others nothing is sure but a type the client declares.
    pub(super) fn judge_types(&self, set: &mut KeySet, column: KeyType) {
        let judge = |source: &mut KeySource, own: Option<Oid>| {
            let Origin::Parameter(number) = source.origin else { return };
            let Some(own) = source.cast.or(own) else {
                source.doubtful = true;
                return;
            };
            let types = self.parameter_types.get(&number).map_or(&[] as &[Oid], Vec::as_slice);
            let uses = self.parameter_uses.get(&number).copied().unwrap_or(0);
            source.doubtful |= types.len() != uses || types.iter().any(|oid| *oid != own);
        };
        match set {
            KeySet::Values(sources) => sources.iter_mut().for_each(|source| judge(source, Some(column.oid()))),
            KeySet::Array(source) => judge(source, array_of(column.oid())),
            KeySet::Range { lower, upper } => {
                lower.iter_mut().chain(upper).for_each(|edge| judge(&mut edge.at, Some(column.oid())));
            }
            KeySet::Any(sets) | KeySet::All(sets) => sets.iter_mut().for_each(|set| self.judge_types(set, column)),
        }
    }
}

/// In a list with typed members (`IN ($1, 4.5)`) the untyped ones take the common type of all, which may not be the column's.
fn doubt(exprs: &[Expr], mut list: Vec<KeySource>) -> Vec<KeySource> {
    let untyped = |(expr, source): (&Expr, &KeySource)| {
        let number = |value: &ValueWithSpan| matches!(value.value, Value::Number(..));
        source.cast.is_none() && matches!(unwrap(expr), Expr::Value(value) if !number(value))
    };
    let untyped: Vec<bool> = exprs.iter().zip(&list).map(untyped).collect();
    if untyped.contains(&false) {
        for (source, untyped) in list.iter_mut().zip(untyped) {
            source.doubtful |= untyped;
        }
    }
    list
}

/// Without parentheses around it.
pub fn unwrap(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// The terms of a chain of one operator, in the order of the text; parentheses are looked through. Iterative along the left
/// spine, where chains are long.
pub fn chain<'e>(expr: &'e Expr, operator: &BinaryOperator) -> Vec<&'e Expr> {
    let mut terms = Vec::new();
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        match unwrap(expr) {
            Expr::BinaryOp { left, op, right } if op == operator => {
                open.push(right);
                open.push(left);
            }
            _ => terms.push(expr),
        }
    }
    terms
}

fn is_number(oid: Oid) -> bool {
    matches!(oid, oid::INT2 | oid::INT4 | oid::INT8 | oid::NUMERIC)
}

/// A type of which Goldseam knows exactly what a cast to it does: no length, no precision, no scale. `char` without a length is
/// `char(1)`, and so is not among them.
pub fn type_oid(data_type: &DataType) -> Option<Oid> {
    Some(match data_type {
        DataType::SmallInt(None) | DataType::Int2(None) => oid::INT2,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => oid::INT4,
        DataType::BigInt(None) | DataType::Int8(None) => oid::INT8,
        DataType::Numeric(ExactNumberInfo::None)
        | DataType::Decimal(ExactNumberInfo::None)
        | DataType::Dec(ExactNumberInfo::None) => oid::NUMERIC,
        DataType::Text => oid::TEXT,
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            let none: &Option<CharacterLength> = length;
            if none.is_some() {
                return None;
            }
            oid::VARCHAR
        }
        DataType::Uuid => oid::UUID,
        DataType::Date => oid::DATE,
        DataType::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => oid::TIMESTAMP,
        DataType::Timestamp(None, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => oid::TIMESTAMPTZ,
        DataType::Bytea => oid::BYTEA,
        // `pg_catalog.int8` and the like.
        DataType::Custom(name, modifiers) if modifiers.is_empty() => match name.0.as_slice() {
            [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(name)]
                if schema.value.eq_ignore_ascii_case("pg_catalog") =>
            {
                match name.value.to_ascii_lowercase().as_str() {
                    "int2" => oid::INT2,
                    "int4" => oid::INT4,
                    "int8" => oid::INT8,
                    "numeric" => oid::NUMERIC,
                    "text" => oid::TEXT,
                    "varchar" => oid::VARCHAR,
                    "uuid" => oid::UUID,
                    "date" => oid::DATE,
                    "timestamp" => oid::TIMESTAMP,
                    "timestamptz" => oid::TIMESTAMPTZ,
                    "bytea" => oid::BYTEA,
                    _ => return None,
                }
            }
            _ => return None,
        },
        _ => return None,
    })
}

fn array_of(element: Oid) -> Option<Oid> {
    Some(match element {
        oid::INT2 => oid::INT2_ARRAY,
        oid::INT4 => oid::INT4_ARRAY,
        oid::INT8 => oid::INT8_ARRAY,
        oid::NUMERIC => oid::NUMERIC_ARRAY,
        oid::TEXT => oid::TEXT_ARRAY,
        oid::VARCHAR => oid::VARCHAR_ARRAY,
        oid::UUID => oid::UUID_ARRAY,
        oid::DATE => oid::DATE_ARRAY,
        oid::TIMESTAMP => oid::TIMESTAMP_ARRAY,
        oid::TIMESTAMPTZ => oid::TIMESTAMPTZ_ARRAY,
        _ => return None,
    })
}
