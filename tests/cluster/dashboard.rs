//! Metrics, health and the API over HTTP; and what the log says of slow statements.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use goldseam::local::Stop;
use serde_json::Value;

use crate::own::{self, DATABASE, HTTP, Own, Program, eventually};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Sends raw bytes and reads to the end: status and body.
fn send(port: u16, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // A server that has had enough closes before all is written.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

fn get(port: u16, path: &str) -> (u16, String) {
    send(port, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
}

fn api(port: u16, table: &str) -> Value {
    let (status, body) = get(port, &format!("/api/{table}"));
    assert_eq!(status, 200, "{table}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{table}: {error}: {body}"))
}

/// A program that has answered a few statements.
fn program(own: &Own) -> Program {
    let program = Program::start(&own.config(&format!("{HTTP}\n[auth.user.app]\npassword = \"hush\"\n")));
    let mut client = program.connect();
    for key in own.keys {
        client.ok(&format!("SELECT note FROM items WHERE id = {key}"));
    }
    client.ok("SELECT 1");
    assert_eq!(client.query("SELECT ctid FROM items WHERE note <> 'hush'").code(), "0A000");
    assert_eq!(client.query(&format!("SELECT 1/0 FROM items WHERE id = {}", own.keys[0])).code(), "22012");
    program
}

#[test]
fn metrics_say_what_happened_in_base_units() {
    let own = own::get();
    let program = program(own);
    let (status, text) = get(program.http(), "/metrics");
    assert_eq!(status, 200);
    for line in [
        "goldseam_statements_total{route=\"single\"} 3",
        "goldseam_statements_total{route=\"any\"} 1",
        "goldseam_statements_total{route=\"refused\"} 1",
        "goldseam_refusals_total{sqlstate=\"0A000\"} 1",
        "goldseam_statement_duration_seconds_count{shard=\"s1\"} ",
        "goldseam_statement_duration_seconds_bucket{shard=\"s0\",le=\"+Inf\"} ",
        "goldseam_shard_up{shard=\"s0\"} 1",
        "goldseam_paused 0",
        "# TYPE goldseam_statement_duration_seconds histogram",
        "# TYPE goldseam_statements_total counter",
        "# TYPE goldseam_statement_seconds_total counter",
        "# TYPE goldseam_clients gauge",
    ] {
        assert!(text.lines().any(|known| known.starts_with(line)), "{line}\n{text}");
    }
    for part in ["sqlstate=\"22012\"", "sqlstate=\"0A000\"", "source=\"server\"", "state=\"idle\"", "service=\"yes\""] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let known = |line: &str| goldseam::dashboard::NAMES.iter().any(|name| line.starts_with(name));
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        assert!(known(line), "a metric without a name in the list: {line}");
        let value = line.rsplit(' ').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn the_api_says_what_the_console_says() {
    let own = own::get();
    let program = program(own);
    let http = program.http();
    let (_, index) = get(http, "/");
    let index: Value = serde_json::from_str(&index).unwrap();
    let mut console = own.console(program.port);
    for path in index["tables"].as_array().unwrap() {
        let name = path.as_str().unwrap().strip_prefix("/api/").unwrap();
        let answer = api(http, name);
        assert!(!answer.to_string().contains("hush"), "{name}");
        if name == "vschema" {
            assert!(answer["vschema"].as_str().unwrap().contains("[keyspace.main]"));
            continue;
        }
        let shown = console.table(&format!("SHOW {name}"));
        let rows = answer.as_array().unwrap();
        assert!(!rows.is_empty(), "{name}");
        for row in rows {
            let keys: Vec<&String> = row.as_object().unwrap().keys().collect();
            let mut columns = console.columns.iter().collect::<Vec<_>>();
            columns.sort();
            let mut sorted = keys.clone();
            sorted.sort();
            assert_eq!(sorted, columns, "{name}");
        }
        if ["shards", "queries", "refusals", "config", "version"].contains(&name) {
            assert_eq!(rows.len(), shown.len(), "{name}");
        }
    }
    let queries = api(http, "queries");
    let plain = queries.as_array().unwrap().iter().find(|row| row["query"] == "SELECT note FROM items WHERE id = ?");
    assert_eq!(plain.unwrap()["calls"], 2);
}

#[test]
fn bad_requests_are_refused_and_cost_little() {
    let own = own::get();
    let program = Program::start(&own.config(HTTP));
    let http = program.http();
    assert_eq!(get(http, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(get(http, "/api/passwords").0, 404);
    assert_eq!(get(http, "/api/../metrics").0, 404);
    assert_eq!(get(http, "/api/pools;KILL").0, 404);
    assert_eq!(get(http, "/metrics?x=1").0, 200);
    assert_eq!(send(http, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), (200, String::new()));
    for method in ["POST", "DELETE", "OPTIONS", "PUT"] {
        let request =
            format!("{method} /api/pools HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(send(http, request.as_bytes()).0, 405, "{method}");
    }
    let long = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(500));
    for (bad, status) in [
        (long.as_bytes(), 431),
        (many.as_bytes(), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(100_000)).as_bytes(), 414),
        (b"NONSENSE\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", 400),
    ] {
        let (got, _) = send(http, bad);
        assert!(got == status || (status != 400 && got == 431) || got == 400, "{got}: {:?}", &bad[..bad.len().min(40)]);
    }
    // Clients that send nothing keep nobody else out.
    let silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(("127.0.0.1", http)).unwrap()).collect();
    assert_eq!(get(http, "/healthz").0, 200);
    drop(silent);
    assert_eq!(get(http, "/healthz").0, 200);
}

#[test]
fn readiness_follows_the_shards_and_the_operator() {
    let mut own = Own::start();
    let program = Program::start(&own.config(&format!("{HTTP}\n[pool]\nconnect_timeout = \"2s\"\n")));
    let http = program.http();
    let ready = || {
        let (status, body) = get(http, "/readyz");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status == 200, body["ready"] == true, "{body}");
        (status, body.to_string())
    };
    assert_eq!(ready().0, 200);
    let mut console = own.console(program.port);
    console.ok("PAUSE");
    let (status, body) = ready();
    assert!(status == 503 && body.contains("paused"), "{body}");
    console.ok("RESUME");
    console.ok(&format!("DISABLE {DATABASE}"));
    assert_eq!(ready().0, 503);
    console.ok(&format!("ENABLE {DATABASE}"));
    own.cluster.servers[1].stop(Stop::Fast);
    own.console(program.port).ok("RELOAD");
    let (status, body) = ready();
    assert!(status == 503 && body.contains("\"s1\""), "{body}");
    assert_eq!(get(http, "/healthz").0, 200, "the process lives");
    own.cluster.servers[1].start().unwrap();
    eventually("it is ready again", || {
        own.console(program.port).ok("RELOAD");
        ready().0 == 200
    });
}

#[test]
fn slow_statements_are_logged_with_their_trace_and_without_their_values() {
    let own = own::get();
    let program = Program::start(
        &own.config(&format!("{HTTP}\n[log]\nslow = \"200ms\"\nformat = \"json\"\nlevel = \"warn,goldseam=info\"\n")),
    );
    let mut client = program.connect();
    let key = own.keys[1];
    client.ok(&format!("SELECT 'quick' FROM items WHERE id = {key}"));
    client.ok(&format!("SELECT pg_sleep(0.3), 'hush' FROM items WHERE id = {key} /*traceparent='{TRACE}'*/"));
    let commented = format!("/* traceparent='{TRACE}' */ SELECT pg_sleep(0.3), 'hush' FROM items WHERE id = $1");
    assert_eq!(client.prepare("q", &commented).code(), "");
    client.execute("q", &[&key.to_string()]);
    eventually("both are logged", || program.said().matches("slow statement").count() == 2);
    let said = program.said();
    assert!(!said.contains("hush") && !said.contains("quick"), "{said}");
    for line in said.lines().filter(|line| line.contains("slow statement")) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["level"], "WARN", "{line}");
        assert!(
            line["statement"].as_str().unwrap().starts_with("SELECT pg_sleep(?), ? FROM items WHERE id = "),
            "{line}"
        );
        assert_eq!(
            (&line["route"], &line["shards"], &line["traceparent"]),
            (&"single".into(), &"s1".into(), &TRACE.into())
        );
        assert!(line["seconds"].as_f64().unwrap() >= 0.3, "{line}");
        assert_eq!(line["rows"], 1, "{line}");
    }
}

#[test]
fn each_statement_has_a_span_where_somebody_wants_it() {
    let own = own::get();
    let program = Program::start(&own.config("[log]\nformat = \"json\"\nlevel = \"debug\"\n"));
    let mut client = program.connect();
    client.ok(&format!("SELECT note FROM items WHERE id = {} /*traceparent='{TRACE}'*/", own.keys[1]));
    eventually("it is logged", || program.said().contains("\"message\":\"statement\""));
    let said = program.said();
    let line = said.lines().find(|line| line.contains("\"message\":\"statement\"")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    let span = &line["span"];
    assert_eq!(
        (&span["name"], &span["route"], &span["shards"]),
        (&"statement".into(), &"single".into(), &"s1".into()),
        "{line}"
    );
    assert_eq!(span["traceparent"], TRACE);
}

#[test]
fn the_example_dashboard_asks_for_metrics_that_exist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let text = std::fs::read_to_string(folder.join("grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut asked = 0;
    for target in panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten() {
        let expr = target["expr"].as_str().unwrap();
        for name in
            expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("goldseam_"))
        {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(goldseam::dashboard::NAMES.contains(&base), "{name} in {expr}");
            asked += 1;
        }
    }
    assert!(asked > 15);
    let scrape = std::fs::read_to_string(folder.join("prometheus.yml")).unwrap();
    assert!(scrape.contains("metrics_path: /metrics") && scrape.contains("127.0.0.1:6433"));
}
