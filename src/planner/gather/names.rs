//! What PostgreSQL calls a column that the statement gives no name (`FigureColname` in `parse_target.c`).

use sqlparser::ast::{
    AccessExpr, DataType, ExactNumberInfo, Expr, ObjectNamePart, SelectItem, SetExpr, TimezoneInfo, TrimWhereField,
    Value,
};

use crate::planner::scope;

/// How sure a name is of itself: a cast's type is a name only where nothing better is found.
#[derive(PartialEq, Eq, PartialOrd)]
enum Strength {
    None,
    Weak,
    Strong,
}

/// The column's name; none if it is not certain.
pub fn column_name(expr: &Expr) -> Option<String> {
    let (strength, name) = figure(expr)?;
    Some(if strength == Strength::None { "?column?".to_string() } else { name })
}

fn figure(expr: &Expr) -> Option<(Strength, String)> {
    let strong = |name: &str| Some((Strength::Strong, name.to_string()));
    let nothing = || Some((Strength::None, String::new()));
    match expr {
        Expr::Nested(inner) => figure(inner),
        Expr::Identifier(ident) => strong(&scope::fold(ident)),
        Expr::CompoundIdentifier(idents) => strong(&scope::fold(idents.last()?)),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(field) => Some(field),
                AccessExpr::Subscript(_) => None,
            });
            match field {
                Some(Expr::Identifier(ident)) => strong(&scope::fold(ident)),
                Some(_) => None,
                None => figure(root),
            }
        }
        Expr::Function(function) => {
            let ObjectNamePart::Identifier(last) = function.name.0.last()? else { return None };
            let name = scope::fold(last).into_owned();
            match name.as_str() {
                // The grammar has words of its own for these, and versions differ in what they become.
                "normalize" | "json_value" | "json_query" | "json_exists" | "json_scalar" | "json_serialize"
                | "json" => None,
                _ => strong(&name),
            }
        }
        Expr::Cast { expr, data_type, .. } => {
            let (strength, name) = figure(expr)?;
            if strength == Strength::Strong {
                return Some((strength, name));
            }
            Some((Strength::Weak, type_name(data_type)?))
        }
        Expr::TypedString(typed) => Some((Strength::Weak, type_name(&typed.data_type)?)),
        Expr::Collate { expr, .. } => figure(expr),
        Expr::Exists { negated: false, .. } => strong("exists"),
        Expr::Subquery(query) => {
            let SetExpr::Select(select) = &*query.body else { return None };
            match select.projection.first()? {
                SelectItem::UnnamedExpr(expr) => strong(&column_name(expr)?),
                SelectItem::ExprWithAlias { alias, .. } => strong(&scope::fold(alias)),
                _ => None,
            }
        }
        Expr::Case { else_result, .. } => match else_result {
            Some(result) => match figure(result)? {
                (Strength::Strong, name) => Some((Strength::Strong, name)),
                _ => Some((Strength::Weak, "case".into())),
            },
            None => Some((Strength::Weak, "case".into())),
        },
        Expr::Array(_) => strong("array"),
        Expr::Tuple(_) => strong("row"),
        Expr::Extract { .. } => strong("extract"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::Interval(_) => Some((Strength::Weak, "interval".into())),
        Expr::BinaryOp { op: sqlparser::ast::BinaryOperator::Overlaps, .. } => strong("overlaps"),
        // PostgreSQL 14 says bool, later ones ?column?.
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => None,
        Expr::Value(_) => nothing(),
        Expr::BinaryOp { .. }
        | Expr::UnaryOp { .. }
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::InList { .. }
        | Expr::Between { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. }
        | Expr::AnyOp { .. }
        | Expr::AllOp { .. } => nothing(),
        _ => None,
    }
}

/// A type's own name, for the types of which it is certain.
pub fn type_name(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        DataType::SmallInt(_) | DataType::Int2(_) => "int2".into(),
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int4".into(),
        DataType::BigInt(_) | DataType::Int8(_) => "int8".into(),
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric".into(),
        DataType::Real | DataType::Float4 => "float4".into(),
        DataType::DoublePrecision | DataType::Float8 => "float8".into(),
        DataType::Float(ExactNumberInfo::None) => "float8".into(),
        DataType::Boolean | DataType::Bool => "bool".into(),
        DataType::Text => "text".into(),
        DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::CharVarying(_) => "varchar".into(),
        DataType::Char(_) | DataType::Character(_) => "bpchar".into(),
        DataType::Uuid => "uuid".into(),
        DataType::Date => "date".into(),
        DataType::JSON => "json".into(),
        DataType::JSONB => "jsonb".into(),
        DataType::Bytea => "bytea".into(),
        DataType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => "timestamp".into(),
        DataType::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => "timestamptz".into(),
        DataType::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => "time".into(),
        DataType::Interval { fields: None, .. } => "interval".into(),
        _ => return None,
    })
}
