//! What each function makes of partial results; sums and averages have vectors of their own (`numeric`).

use super::*;
use crate::types::oid;

fn result(function: Function, oid: Oid, parts: &[Option<&[u8]>]) -> Option<Vec<u8>> {
    let mut accumulator = (method(function, &[oid]).unwrap().open)();
    for (shard, part) in parts.iter().enumerate() {
        accumulator.add(shard as u16, &[*part]).unwrap();
    }
    accumulator.result().unwrap()
}

#[test]
fn booleans_and_bits_leave_nulls_out() {
    let (t, f): (Option<&[u8]>, Option<&[u8]>) = (Some(&[1]), Some(&[0]));
    assert_eq!(result(Function::BoolAnd, oid::BOOL, &[t, None, t]), Some(vec![1]));
    assert_eq!(result(Function::BoolAnd, oid::BOOL, &[t, f]), Some(vec![0]));
    assert_eq!(result(Function::BoolOr, oid::BOOL, &[f, None, f]), Some(vec![0]));
    assert_eq!(result(Function::BoolOr, oid::BOOL, &[f, t]), Some(vec![1]));
    assert_eq!(result(Function::BoolOr, oid::BOOL, &[None, None]), None);
    let (one, two): (Option<&[u8]>, Option<&[u8]>) = (Some(&[0x0f, 0xf1]), Some(&[0x3c, 0x01]));
    assert_eq!(result(Function::BitAnd, oid::INT2, &[one, two, None]), Some(vec![0x0c, 0x01]));
    assert_eq!(result(Function::BitOr, oid::INT2, &[None, one, two]), Some(vec![0x3f, 0xf1]));
    assert_eq!(result(Function::BitXor, oid::INT2, &[one, two]), Some(vec![0x33, 0xf0]));
}

#[test]
fn sums_of_floats_do_not_depend_on_who_answers_first() {
    let values = [1e16, 1.0, -1e16, 0.1, 3.7];
    let mut results = Vec::new();
    for turn in 0..values.len() {
        let mut accumulator = (method(Function::Sum, &[oid::FLOAT8]).unwrap().open)();
        for index in 0..values.len() {
            let shard = (index + turn) % values.len();
            accumulator.add(shard as u16, &[Some(&f64::to_be_bytes(values[shard]))]).unwrap();
        }
        results.push(accumulator.result().unwrap());
    }
    assert!(results.windows(2).all(|two| two[0] == two[1]));
    assert_eq!(results[0], Some(values.iter().sum::<f64>().to_be_bytes().to_vec()));
}

#[test]
fn types_that_a_server_must_do_have_no_method() {
    for (function, parts) in [
        (Function::Sum, &[oid::INT4][..]),
        (Function::Sum, &[790]),
        (Function::Sum, &[1186]),
        (Function::Avg, &[1186, oid::INT8]),
        (Function::Avg, &[oid::FLOAT4, oid::INT8]),
        (Function::Avg, &[oid::INT8]),
        (Function::Count, &[oid::INT4]),
        (Function::Min { bytewise: false }, &[oid::TEXT]),
        (Function::Max { bytewise: true }, &[114]),
        (Function::BitAnd, &[oid::BYTEA]),
        (Function::BoolAnd, &[]),
    ] {
        assert!(method(function, parts).is_none(), "{function:?} {parts:?}");
    }
}
