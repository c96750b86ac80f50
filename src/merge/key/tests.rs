//! Against PostgreSQL's own order: `cases/order.txt`.

use std::collections::BTreeMap;

use super::*;
use crate::merge::tests::{hex, lines};
use crate::merge::types;
use crate::types::Oid;

fn encoded(oid: Oid, order: Order, value: &[u8]) -> Vec<u8> {
    let mut key = Vec::new();
    order.append(Some(value), &mut key).unwrap_or_else(|fault| panic!("{oid}: {fault:?}"));
    key
}

#[test]
fn keys_sort_and_are_equal_as_postgresqls_values() {
    let mut types: BTreeMap<Oid, Vec<(u32, Vec<u8>)>> = BTreeMap::new();
    for line in lines("order.txt") {
        let mut words = line.split(' ');
        let (oid, rank) = (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
        types.entry(oid).or_default().push((rank, hex(words.next().unwrap_or_default())));
    }
    assert!(types.len() >= 29, "{}", types.len());
    for (oid, values) in types {
        let any = Order::any(types::order(oid, true).unwrap_or_else(|| panic!("no key for {oid}")));
        let descending = Order { descending: true, ..any };
        for (rank, value) in &values {
            for (other_rank, other) in &values {
                let expected = rank.cmp(other_rank);
                let [one, two] = [value, other].map(|value| encoded(oid, any, value));
                assert_eq!(one.cmp(&two), expected, "{oid}: {value:?} {other:?}");
                let [one, two] = [value, other].map(|value| encoded(oid, descending, value));
                assert_eq!(two.cmp(&one), expected, "{oid} descending: {value:?} {other:?}");
                // No key begins another one, so that several stand one behind the other.
                assert!(one == two || !one.starts_with(&two), "{oid}: {value:?} {other:?}");
            }
        }
    }
}

#[test]
fn nulls_stand_where_they_are_asked_to() {
    for descending in [false, true] {
        for nulls_first in [false, true] {
            let order = Order { encode: signed::<8>, descending, nulls_first };
            let value = encoded(20, order, &i64::MIN.to_be_bytes());
            let mut null = Vec::new();
            order.append(None, &mut null).unwrap();
            assert_eq!(null < value, nulls_first);
            let mut again = Vec::new();
            order.append_encoded(None, &mut again);
            assert_eq!(again, null);
            again.clear();
            let mut plain = Vec::new();
            signed::<8>(&i64::MIN.to_be_bytes(), &mut plain).unwrap();
            order.append_encoded(Some(&plain), &mut again);
            assert_eq!(again, value);
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        for oid in 0..6_000 {
            if let Some(encode) = types::equality(oid) {
                let _ = encode(&bytes, &mut Vec::new());
                let _ = encode(&bytes[..bytes.len().min(16)], &mut Vec::new());
            }
        }
    }

    #[test]
    fn bytes_of_any_length_sort_as_bytes(one: Vec<u8>, other: Vec<u8>) {
        let [keys @ .., _] = [&one, &other, &one].map(|value| encoded(17, Order::any(bytes), value));
        proptest::prop_assert_eq!(keys[0].cmp(&keys[1]), one.cmp(&other));
    }
}
