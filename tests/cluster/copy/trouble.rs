//! Clients and servers that misbehave during a COPY, and clients that send ahead: everywhere all or nothing.

use std::time::Duration;

use super::stage::{self, SHARDS, Stage, copy_in, shown};
use crate::wire::raw::{Raw, message, query};

/// Both protocols' messages for one COPY, sent at once.
fn extended(sql: &str, data: &[u8]) -> Vec<u8> {
    let parse = [b"\0", sql.as_bytes(), b"\0\0\0"].concat();
    [
        message(b'P', &parse),
        message(b'B', &[0; 8]),
        message(b'D', b"P\0"),
        message(b'E', &[0; 5]),
        message(b'S', &[]),
        message(b'd', data),
        message(b'c', &[]),
        message(b'S', &[]),
    ]
    .concat()
}

fn exchange(raw: &mut Raw, bytes: &[u8], ready: usize) -> Vec<String> {
    raw.send(bytes);
    shown(&raw.until(b'Z', ready))
}

#[test]
fn the_extended_protocol_and_data_sent_ahead() {
    let mut stage = Stage::new();
    for sql in ["COPY items FROM STDIN", "COPY facts FROM STDIN"] {
        for data in [&b"1\t1\tx\n2\t2\ty\n3\t3\tz\n"[..], b"4\tbad\n", b""] {
            let bytes = extended(sql, data);
            let (proxy, plain) = (exchange(&mut stage.proxy, &bytes, 1), exchange(&mut stage.plain, &bytes, 1));
            assert_eq!(proxy, plain, "{sql}");
            let simple = [query(sql), message(b'd', b"7\t\\N\tq\n"), message(b'c', &[]), query("SELECT 1")].concat();
            let (proxy, plain) = (exchange(&mut stage.proxy, &simple, 2), exchange(&mut stage.plain, &simple, 2));
            assert_eq!(proxy, plain, "{sql}");
            stage.same("DELETE FROM items WHERE id = 7");
        }
    }
    stage.same_table("items");
    // As one of several statements of a query, which are one transaction.
    for data in [&b"50\t1\tx\n51\t1\tx\n52\t1\tx\n"[..], b"60\t1\tx\n61\tbad\n", b""] {
        let several = "INSERT INTO items VALUES (90, 1, 'y'); COPY items FROM STDIN; DELETE FROM items WHERE id = 90; SELECT count(*) FROM items";
        let bytes = [query(several), message(b'd', data), message(b'c', &[]), query("SELECT 1")].concat();
        let (proxy, plain) = (exchange(&mut stage.proxy, &bytes, 2), exchange(&mut stage.plain, &bytes, 2));
        assert_eq!(proxy, plain);
        stage.same_table("items");
    }
    for sql in ["COPY items TO STDOUT", "COPY (SELECT * FROM items ORDER BY id) TO STDOUT (FORMAT binary)"] {
        let parse = [b"\0", sql.as_bytes(), b"\0\0\0"].concat();
        let bytes = [
            message(b'P', &parse),
            message(b'B', &[0; 8]),
            message(b'D', b"P\0"),
            message(b'E', &[0; 5]),
            message(b'S', &[]),
        ]
        .concat();
        let mut both = [exchange(&mut stage.proxy, &bytes, 1), exchange(&mut stage.plain, &bytes, 1)];
        if sql.contains("binary") {
            // How bytes are put into messages is a server's own affair.
            both.iter_mut().for_each(|heard| heard.retain(|said| !said.starts_with('d')));
        }
        both.iter_mut().for_each(|heard| heard.sort());
        assert_eq!(both[0], both[1], "{sql}");
    }
}

#[test]
fn a_client_that_gives_up_leaves_nothing() {
    let mut stage = Stage::new();
    let bytes = [
        query("COPY items FROM STDIN"),
        message(b'd', b"1\t1\tx\n2\t2\ty\n3\t3\tz\n4\t"),
        message(b'f', b"I changed my mind\0"),
    ]
    .concat();
    let (proxy, plain) = (exchange(&mut stage.proxy, &bytes, 1), exchange(&mut stage.plain, &bytes, 1));
    assert_eq!(proxy, plain);
    assert_eq!(stage.same_table("items"), [0; 3]);
    // One that hangs up.
    let mut other = stage.servers.proxy();
    other.send(&query("COPY items FROM STDIN"));
    other.until(b'G', 1);
    let rows: Vec<u8> = (0..20_000).flat_map(|n| format!("{n}\t1\tx\n").into_bytes()).collect();
    other.send(&message(b'd', &rows));
    drop(other);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(stage.same_table("items"), [0; 3]);
    for n in 0..SHARDS {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE 'copy%' AND state <> 'idle'";
        assert_eq!(stage.servers.shard(n).rows(sql), ["0"]);
    }
    stage.copy_in("COPY items FROM STDIN", b"1\t1\tx\n", 100);
}

#[test]
fn an_error_is_told_at_once_and_the_rest_is_passed_over() {
    let mut stage = Stage::new();
    stage.proxy.send(&query("COPY items FROM STDIN"));
    stage.proxy.until(b'G', 1);
    let rows: Vec<u8> =
        (0..50_000).flat_map(|n| format!("{n}\t{}\tx\n", if n == 10 { "bad" } else { "1" }).into_bytes()).collect();
    stage.proxy.send(&message(b'd', &rows));
    // Although the client has not said that it is done.
    let heard = shown(&stage.proxy.until(b'Z', 1));
    assert!(heard[0].contains("22P02") && heard[0].ends_with("COPY items, line 11, column n: \"bad\""), "{heard:?}");
    let rest = [message(b'd', b"1\t1\tx\n"), message(b'c', &[]), query("SELECT 1")].concat();
    assert_eq!(exchange(&mut stage.proxy, &rest, 1).last().unwrap(), "Z I");
    assert_eq!(stage.same_table("items"), [0; 3]);
}

#[test]
fn a_cancel_request_ends_it() {
    let mut stage = Stage::new();
    // A server that waits for data takes no notice of it before some come.
    let mut heard = Vec::new();
    let (port, plain_port) = (stage.servers.port, stage.servers.cluster.servers[SHARDS].port());
    for (raw, port) in [(&mut stage.proxy, port), (&mut stage.plain, plain_port)] {
        raw.send(&query("COPY items FROM STDIN"));
        raw.until(b'G', 1);
        raw.send(&message(b'd', b"1\t1\tx\n2\t1\tx\n3\t1\tx\n"));
        std::thread::sleep(Duration::from_millis(100));
        let mut key = raw.key.0.to_be_bytes().to_vec();
        key.extend(&raw.key.1);
        crate::raw::cancel(port, &key);
        std::thread::sleep(Duration::from_millis(200));
        raw.send(&[message(b'd', b"4\t1\tx\n"), message(b'c', &[])].concat());
        let mut said = shown(&raw.until(b'Z', 1));
        // Which line it had come to is a matter of time.
        let end = said[0].find(" | ").unwrap_or(said[0].len());
        said[0].truncate(end);
        heard.push(said);
    }
    assert!(heard[0][0].contains("57014"), "{heard:?}");
    assert_eq!(heard[0], heard[1]);
    assert_eq!(stage.same_table("items"), [0; 3]);
    stage.copy_in("COPY items FROM STDIN", b"1\t1\tx\n", 100);
}

#[test]
fn a_shard_that_dies_takes_the_copy_with_it() {
    let servers = stage::start();
    let mut proxy = servers.proxy();
    let mut admin = servers.shard(1);
    proxy.send(&query("COPY items FROM STDIN"));
    proxy.until(b'G', 1);
    let rows: Vec<u8> = (0..5_000).flat_map(|n| format!("{n}\t1\tx\n").into_bytes()).collect();
    proxy.send(&message(b'd', &rows));
    std::thread::sleep(Duration::from_millis(200));
    admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'copy%' AND state <> 'idle'");
    let heard = shown(&proxy.until(b'Z', 1));
    assert!(heard[0].starts_with('E') && (heard[0].contains("57P01") || heard[0].contains("08006")), "{heard:?}");
    assert_eq!(heard.last().unwrap(), "Z I");
    for n in 0..SHARDS {
        assert_eq!(servers.shard(n).rows("SELECT count(*) FROM items"), ["0"]);
    }
    assert_eq!(copy_in(&mut proxy, "COPY items FROM STDIN", &rows, 1 << 20)[1], "C COPY 5000");
}
