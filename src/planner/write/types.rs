//! A column's type as SQL for a cast that changes nothing but the type: without the length that only the column itself enforces.

/// `character varying(20)` without its length. `bit` and `character` alone would mean a length of one.
pub fn without_length(type_name: &str) -> String {
    let (name, brackets) = match type_name.find('[') {
        Some(at) => type_name.split_at(at),
        None => (type_name, ""),
    };
    // A name in quotes may have anything in it, and has no length.
    let bare = match (name.contains('"'), name.find('('), name.find(')')) {
        (false, Some(open), Some(close)) if open < close => format!("{}{}", &name[..open], &name[close + 1..]),
        _ => name.to_string(),
    };
    let bare = match bare.as_str() {
        "character" => "pg_catalog.bpchar".to_string(),
        "bit" => "pg_catalog.\"bit\"".to_string(),
        "\"char\"" => "pg_catalog.\"char\"".to_string(),
        known if known.starts_with("interval ") => "interval".to_string(),
        known => known.to_string(),
    };
    format!("{bare}{brackets}")
}

#[cfg(test)]
mod tests {
    use super::without_length;

    #[test]
    fn lengths_go_and_names_stay() {
        for (name, bare) in [
            ("integer", "integer"),
            ("character varying(20)", "character varying"),
            ("character(3)", "pg_catalog.bpchar"),
            ("numeric(10,2)[]", "numeric[]"),
            ("timestamp(3) with time zone", "timestamp with time zone"),
            ("bit(8)", "pg_catalog.\"bit\""),
            ("bit varying(8)", "bit varying"),
            ("interval day to second(3)", "interval"),
            ("\"odd(name)\"", "\"odd(name)\""),
        ] {
            assert_eq!(without_length(name), bare);
        }
    }
}
