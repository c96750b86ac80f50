//! What PostgreSQL reads (asked of a real one, in `cases/postgres_reads.txt`) against what is read here; and the costumes.

use proptest::prelude::*;

use super::*;
use crate::types::cases::check;
use crate::types::key::decode_array;

const UTC: DecodeContext = DecodeContext { utc: true, iso: true };
const ELSEWHERE: DecodeContext = DecodeContext { utc: false, iso: true };

fn unescape(text: &str) -> String {
    text.replace("\\\\", "\u{1}").replace("\\n", "\n").replace("\\t", "\t").replace('\u{1}', "\\")
}

fn shown(read: &Match<'_>) -> String {
    match read {
        Match::Key(key) => format!("<{}>", key.to_text()),
        Match::Nothing => "nothing".to_owned(),
        Match::Unclear(_) => "unclear".to_owned(),
    }
}

#[test]
fn values_are_read_as_postgresql_reads_them_or_not_at_all() {
    let mut clear = 0;
    for line in include_str!("../cases/postgres_reads.txt").lines().filter(|line| !line.starts_with('#')) {
        let (question, answer) = line.rsplit_once(" = ").unwrap();
        let (name, value) = question.split_once(" <").unwrap();
        let value = unescape(value.strip_suffix('>').unwrap());
        let key_type = KeyType::from_name(name).unwrap();
        let raw = Raw::Text { text: value.as_str().into(), oid: oid::UNKNOWN };
        let read = decode(&raw, key_type, &UTC);
        match &read {
            Match::Key(key) => assert_eq!(format!("<{}>", key.to_text()), unescape(answer), "{line}"),
            Match::Nothing => assert_eq!(answer, "error", "{line}"),
            Match::Unclear(_) => continue,
        }
        clear += 1;
        // An explicit cast and a text parameter are read alike.
        let cast = Raw::Text { text: value.as_str().into(), oid: key_type.oid() };
        assert_eq!(decode(&cast, key_type, &UTC), read, "{line}");
        let owned = Raw::Text { text: value.clone().into(), oid: 0 };
        assert_eq!(decode(&owned, key_type, &UTC), read, "{line}");
    }
    assert!(clear > 110, "only {clear} values were read at all");
}

/// `column: value [as type]` or `column <- value [as type]` (stored), a value being text, or `x'..'` for binary.
fn case(input: &str) -> String {
    let mut output = String::new();
    for line in input.lines() {
        let (column, value, stored) = match line.split_once(" <- ") {
            Some((column, value)) => (column, value, true),
            None => {
                let (column, value) = line.split_once(" = ").unwrap();
                (column, value, false)
            }
        };
        let (value, type_name) = value.split_once(" as ").unwrap_or((value, "unknown"));
        let oid = match type_name {
            "unknown" => oid::UNKNOWN,
            "float8" => oid::FLOAT8,
            "bool" => oid::BOOL,
            "any" => 0,
            array if array.ends_with("[]") => match array {
                "int4[]" => oid::INT4_ARRAY,
                "text[]" => oid::TEXT_ARRAY,
                _ => panic!("{array}"),
            },
            name => KeyType::from_name(name).unwrap().oid(),
        };
        let column = KeyType::from_name(column).unwrap();
        let bytes: Vec<u8>;
        let raw = if let Some(hex) = value.strip_prefix("x'") {
            let hex = hex.trim_end_matches('\'');
            bytes = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
            Raw::Binary { bytes: &bytes, oid }
        } else {
            Raw::Text { text: value.trim_matches('<').trim_matches('>').into(), oid }
        };
        let is_array = value.starts_with("<{") && column != KeyType::Uuid || type_name.ends_with("[]");
        for (name, ctx) in [("", &UTC), (" elsewhere", &ELSEWHERE)] {
            let read = if is_array {
                match decode_array(&raw, column, ctx) {
                    Ok(items) => items.iter().map(shown).collect::<Vec<_>>().join(" "),
                    Err(why) => format!("unclear: {why}"),
                }
            } else {
                match if stored { decode_stored(&raw, column, ctx) } else { decode(&raw, column, ctx) } {
                    Match::Unclear(why) => format!("unclear: {why}"),
                    read => shown(&read),
                }
            };
            if name.is_empty() || !output.ends_with(&format!("{line} -> {read}\n")) {
                output += &format!("{line}{name} -> {read}\n");
            }
        }
    }
    output
}

#[test]
fn costumes_are_taken_off_as_their_cases_say() {
    check("src/types/cases/decode.txt", case);
}

proptest! {
    #[test]
    fn no_text_and_no_bytes_make_it_panic(text in ".{0,40}", bytes in proptest::collection::vec(any::<u8>(), 0..60), oid in any::<u32>()) {
        for column in KeyType::ALL {
            for oid in [0, oid::UNKNOWN, column.oid(), oid::NUMERIC, oid::TEXT, oid::INT4_ARRAY, oid] {
                for raw in [Raw::Text { text: text.as_str().into(), oid }, Raw::Binary { bytes: &bytes, oid }] {
                    let _ = (decode(&raw, *column, &UTC), decode_stored(&raw, *column, &UTC), decode_array(&raw, *column, &UTC));
                }
            }
        }
    }

    #[test]
    fn binary_numerics_are_their_text(value in any::<i64>(), scale in 0u32..12) {
        let decimal = BigDecimal::new(value.into(), i64::from(scale));
        let mut digits = Vec::new();
        // Four decimal places in each digit, the point between whole digits.
        let shifted = value as i128 * 10_i128.pow((4 - scale % 4) % 4);
        let fraction_digits = i64::from(scale.div_ceil(4));
        let mut rest = shifted.unsigned_abs();
        while rest > 0 {
            digits.push((rest % 10_000) as u16);
            rest /= 10_000;
        }
        digits.reverse();
        let weight = digits.len() as i64 - 1 - fraction_digits;
        let sign: u16 = if value < 0 { 0x4000 } else { 0 };
        let words = [digits.len() as u16, weight as u16, sign, scale as u16];
        let bytes: Vec<u8> = words.iter().chain(&digits).flat_map(|word| word.to_be_bytes()).collect();
        let binary = decode(&Raw::Binary { bytes: &bytes, oid: 0 }, KeyType::Numeric, &UTC);
        let text = decode(&Raw::Text { text: decimal.to_plain_string().into(), oid: oid::UNKNOWN }, KeyType::Numeric, &UTC);
        prop_assert_eq!(binary, text);
    }
}
