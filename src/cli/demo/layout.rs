//! The sample vschema, fitted to the number of shards the user asked for.

use std::fmt::Write;

/// The file the documentation shows and the demo runs, for four shards.
const SAMPLE: &str = include_str!("../../../vschema/commerce.toml");
/// How the sample names all its shards.
const ALL_SHARDS: &str = r#"["s0", "s1", "s2", "s3"]"#;

/// The names of the demo's shards.
pub fn shard_names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("s{n}")).collect()
}

/// The sample vschema for this many shards: keyspaces over all shards grow or shrink, and whatever else names a shard that is not
/// there names one that is.
pub fn vschema_toml(shards: usize) -> String {
    let names: Vec<String> = shard_names(shards).iter().map(|name| format!("{name:?}")).collect();
    let all = format!("[{}]", names.join(", "));
    let parts: Vec<String> = SAMPLE.split(ALL_SHARDS).map(|part| wrap_names(part, shards)).collect();
    let text = parts.join(&all);
    // Over one shard the tables are unsharded by themselves, and no table is left to say where a vindex belongs.
    if shards > 1 {
        return text;
    }
    let keyed = |line: &str| match line.starts_with("[vindex.") {
        true => format!("{line}\nkeyspace = \"commerce\"\n"),
        false => format!("{line}\n"),
    };
    text.lines().map(keyed).collect()
}

/// `"s3"` becomes `"s1"` where there are two shards.
fn wrap_names(text: &str, shards: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("\"s") {
        let (before, found) = rest.split_at(start + 2);
        out.push_str(before);
        let digits = found.bytes().take_while(u8::is_ascii_digit).count();
        match found[..digits].parse::<usize>() {
            Ok(shard) if found[digits..].starts_with('"') => {
                let _ = write!(out, "{}", shard % shards.max(1)); // writing to a String cannot fail
            }
            _ => out.push_str(&found[..digits]),
        }
        rest = &found[digits..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_fits_any_number_of_shards() {
        for shards in [1, 2, 3, 4, 5, 64] {
            let text = vschema_toml(shards);
            let loaded = crate::vschema::load(&[("commerce.toml".into(), text.clone())], &shard_names(shards));
            assert!(loaded.is_ok(), "{shards} shards: {}\n{text}", loaded.unwrap_err());
        }
    }

    #[test]
    fn only_shard_names_are_touched() {
        assert_eq!(
            wrap_names(r#"{ to = "2026", shard = "s3" }, "s", "sales", "s12x""#, 2),
            r#"{ to = "2026", shard = "s1" }, "s", "sales", "s12x""#
        );
        assert_eq!(vschema_toml(4), SAMPLE);
    }
}
