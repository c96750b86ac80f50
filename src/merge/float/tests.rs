//! Against PostgreSQL's own texts: `cases/floats.txt`.

use super::*;
use crate::merge::tests::{hex, lines};

#[test]
fn floats_print_as_postgresql_prints_them() {
    let mut cases = 0;
    for line in lines("floats.txt") {
        let [kind, bytes, expected] = *line.split(' ').collect::<Vec<_>>() else { panic!("{line}") };
        let bytes = hex(bytes);
        let text = match kind {
            "float4" => float4(f32::from_be_bytes(bytes.try_into().unwrap())),
            _ => float8(f64::from_be_bytes(bytes.try_into().unwrap())),
        };
        assert_eq!(text, expected, "{line}");
        cases += 1;
    }
    assert!(cases > 1_000, "{cases}");
}

proptest::proptest! {
    #[test]
    fn every_float_reads_back(bits: u64) {
        let value = f64::from_bits(bits);
        let read = float8(value).replace("Infinity", "inf").parse::<f64>().unwrap();
        proptest::prop_assert!(read.to_bits() == value.to_bits() || value.is_nan());
        let value = f32::from_bits(bits as u32);
        let read = float4(value).replace("Infinity", "inf").parse::<f32>().unwrap();
        proptest::prop_assert!(read.to_bits() == value.to_bits() || value.is_nan());
    }
}
