//! Against PostgreSQL's own results: `cases/numeric.txt`, `cases/quotients.txt`.

use super::*;
use crate::merge::tests::{hex, lines, shown};

#[test]
fn sums_and_averages_are_postgresqls_to_the_last_digit() {
    let mut cases = 0;
    for line in lines("numeric.txt") {
        let (terms, results) = line.split_once(" -> ").unwrap();
        let terms: Vec<Vec<u8>> = terms.split(' ').map(hex).collect();
        let [sum, avg, sum_text, avg_text] = *results.split(' ').collect::<Vec<_>>() else { panic!("{line}") };
        // In any order.
        for turn in 0..terms.len().min(3) {
            let mut total = Sum::default();
            for index in 0..terms.len() {
                total.add(read(&terms[(index + turn) % terms.len()]).unwrap());
            }
            let (total, count) = (total.total(), terms.len() as u64);
            let (own_sum, own_avg) = (total.write().unwrap(), total.divide(count).write().unwrap());
            assert_eq!((shown(&own_sum).as_str(), shown(&own_avg).as_str()), (sum, avg), "{line}");
            assert_eq!((text(&own_sum).unwrap().as_str(), text(&own_avg).unwrap().as_str()), (sum_text, avg_text));
        }
        cases += 1;
    }
    assert!(cases > 250, "{cases}");
}

#[test]
fn quotients_have_postgresqls_decimals() {
    let mut cases = 0;
    for line in lines("quotients.txt") {
        let [sum, count, _, quotient, quotient_text] = *line.split(' ').collect::<Vec<_>>() else { panic!("{line}") };
        let mut total = Sum::default();
        total.add(read(&hex(sum)).unwrap());
        let own = total.total().divide(count.parse().unwrap()).write().unwrap();
        assert_eq!((shown(&own).as_str(), text(&own).unwrap().as_str()), (quotient, quotient_text), "{line}");
        cases += 1;
    }
    assert!(cases > 600, "{cases}");
}

#[test]
fn integers_sum_as_numerics() {
    let mut total = Sum::default();
    [i64::MAX, i64::MAX, i64::MIN, -1, 10_000, 0].into_iter().for_each(|value| total.add_integer(value));
    let sum = i128::from(i64::MAX) + 10_000 - 2;
    assert_eq!(text(&total.total().write().unwrap()).unwrap(), sum.to_string());
}

#[test]
fn a_number_too_great_is_postgresqls_error() {
    let mut total = Sum::default();
    let greatest = frame(32_767, false, &[9_999]);
    total.add(read(&greatest).unwrap());
    assert_eq!(total.total().write().unwrap(), greatest);
    total.add(read(&greatest).unwrap());
    let Err(Fault::Error(error)) = total.total().write() else { panic!("no error") };
    assert_eq!((error.code.as_str(), error.message.as_str()), ("22003", "value overflows numeric format"));
}

fn frame(weight: i16, negative: bool, digits: &[u16]) -> Vec<u8> {
    let decimal = Decimal::new(negative, weight.into(), digits.to_vec(), 0);
    decimal.write().unwrap()
}

#[test]
fn bytes_that_are_no_numeric_are_refused() {
    for bytes in [
        "",
        "00",
        "0001000000000000",
        "00010000000000002710",
        "00010000123400000001",
        "000100000000400000010",
        "000000000000ffff",
    ] {
        let bytes = if bytes.len() % 2 == 0 { hex(bytes) } else { hex(&bytes[1..]) };
        assert_eq!(read(&bytes), Err(VALUE), "{bytes:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        bytes: Vec<u8>,
        weight: i16,
        scale in 0_u16..300,
        digits in proptest::collection::vec(0_u16..10_100, 0..20),
        count: u64,
    ) {
        let _ = text(&bytes);
        let mut sum = Sum::default();
        let mut frame = Vec::new();
        for word in [digits.len() as u16, weight as u16 % 700, 0, scale].iter().chain(&digits) {
            frame.extend_from_slice(&word.to_be_bytes());
        }
        for bytes in [bytes, frame] {
            if let Ok(value) = read(&bytes) {
                sum.add(value);
                let total = sum.total();
                let _ = (total.write().map(|written| text(&written)), total.divide(count.max(1)).write(), text(&bytes));
            }
        }
    }
}
