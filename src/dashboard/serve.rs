//! Requests in, answers out.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::{health, metrics};
use crate::admin;
use crate::session::shared::Shared;

/// A scraper, a load balancer and some browsers; whoever comes beyond that waits for a place.
const CONNECTIONS: usize = 64;
/// The head of a request; hyper's least.
const HEAD_BYTES: usize = 8 << 10;
/// Header lines of a request.
const HEADERS: usize = 64;
/// How long a client may take for the head of a request, its connection's idle time before it included.
const HEAD_PATIENCE: Duration = Duration::from_secs(15);
/// How long a connection may last, slow readers' too. A scraper simply makes a new one.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(120);
/// After an accept that failed for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// What Prometheus asks for.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The tables that the API has; each is a command of the console.
pub(super) const TABLES: &[&str] = &[
    "clients",
    "config",
    "databases",
    "pools",
    "queries",
    "refusals",
    "servers",
    "shards",
    "stats",
    "users",
    "version",
    "vschema",
];

/// Serves until the future is dropped.
///
/// # Cancel safety
/// Connections are tasks of their own and end by themselves.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, address)) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    connection(stream, address, shared).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an HTTP client");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, address: SocketAddr, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(&request, &shared).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_PATIENCE, connection).await {
        Ok(Ok(())) => {}
        // A client that breaks the protocol, or leaves: hyper has told it what there is to tell.
        Ok(Err(error)) => tracing::debug!(%address, %error, "an HTTP connection broke"),
        Err(_) => tracing::debug!(%address, "an HTTP connection lasted too long"),
    }
}

async fn answer(request: &Request<Incoming>, shared: &Arc<Shared>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => reply(StatusCode::OK, EXPOSITION, metrics::render(shared)),
        "/healthz" => reply(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => {
            let (ready, body) = health::readiness(shared);
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            reply(status, JSON, body.to_string())
        }
        "/" | "/api" | "/api/" => {
            let tables: Vec<String> = TABLES.iter().map(|table| format!("/api/{table}")).collect();
            let body =
                serde_json::json!({ "metrics": "/metrics", "health": ["/healthz", "/readyz"], "tables": tables });
            reply(StatusCode::OK, JSON, body.to_string())
        }
        path => match path.strip_prefix("/api/").filter(|name| TABLES.contains(name)) {
            Some(name) => table(shared, name).await,
            None => error(StatusCode::NOT_FOUND, "no such page; / lists what there is"),
        },
    }
}

async fn table(shared: &Arc<Shared>, name: &str) -> Response<Full<Bytes>> {
    match admin::show(shared, name).await {
        // One file, not one object per line.
        Ok(table) if name == "vschema" => {
            let lines: Vec<String> = table.rows.iter().flatten().filter_map(admin::Cell::text).collect();
            let body = serde_json::json!({ "vschema": lines.join("\n") });
            reply(StatusCode::OK, JSON, body.to_string())
        }
        Ok(table) => reply(StatusCode::OK, JSON, table.json().to_string()),
        Err(refused) => error(StatusCode::INTERNAL_SERVER_ERROR, &refused.message),
    }
}

fn error(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    reply(status, JSON, serde_json::json!({ "error": message }).to_string())
}

fn reply(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A browser must not take a statement's text for a page.
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
