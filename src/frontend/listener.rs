//! Accepts clients and leads each to its session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::net::{TcpListener, TcpStream};

use super::auth::{self, Verifiers};
use super::greeting::{Greeted, Login as Hello, greet};
use super::tls::Tls;
use crate::admin;
use crate::backend::{self, Login};
use crate::config::AuthMethod;
use crate::error::PgError;
use crate::protocol::encode;
use crate::session::client::{Client, ClientStream};
use crate::session::registry::Registration;
use crate::session::settings::check_readable;
use crate::session::shared::Shared;
use crate::session::{Session, Start};
use crate::sqlstate::SqlState;

/// Connections that have not logged in: each may hold 10,000 bytes for `limits.login_timeout`, so that strangers cost little.
const MOST_STRANGERS: usize = 1_000;
/// After an accept that failed for want of file descriptors: long enough for some to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a cancel request may take to reach a server.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// What all connections need before they are sessions.
#[derive(Debug)]
pub struct Frontend {
    /// What sessions share.
    pub shared: Arc<Shared>,
    /// Passwords' verifiers.
    pub verifiers: Verifiers,
    /// TLS, if it is offered.
    pub tls: ArcSwapOption<Tls>,
    strangers: AtomicUsize,
}

impl Frontend {
    /// Nobody is connected yet.
    pub fn new(shared: Arc<Shared>, tls: Option<Tls>) -> Result<Arc<Self>, getrandom::Error> {
        Ok(Arc::new(Frontend {
            shared,
            verifiers: Verifiers::new()?,
            tls: ArcSwapOption::from_pointee(tls),
            strangers: AtomicUsize::new(0),
        }))
    }

    /// Accepts clients until the future is dropped. Sessions are tasks of their own and live on.
    ///
    /// # Cancel safety
    /// A connection whose accept was under way is refused by the kernel when the listener is closed.
    pub async fn listen(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    let frontend = self.clone();
                    tokio::spawn(async move { frontend.welcome(stream, address).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// One connection, from its first byte to its session's end.
    async fn welcome(self: Arc<Self>, stream: TcpStream, address: SocketAddr) {
        if self.strangers.fetch_add(1, Ordering::Relaxed) >= MOST_STRANGERS {
            self.strangers.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(%address, "too many connections that have not logged in");
            return;
        }
        // Small answers must not wait for an acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let patience = self.shared.state.load().config.limits.login_timeout;
        let outcome = tokio::time::timeout(patience, self.clone().log_in(stream, address)).await;
        self.strangers.fetch_sub(1, Ordering::Relaxed);
        match outcome {
            // Tasks of their own, so that a client costs no memory for the login that is behind it.
            Ok(Some(Entered::Session(session))) => {
                let handle = session.handle();
                handle.activity.set_task(tokio::spawn(session.run()).abort_handle());
            }
            Ok(Some(Entered::Console(console))) => drop(tokio::spawn(console.run())),
            Ok(None) => {}
            Err(_) => tracing::info!(%address, "a client did not log in in time"),
        }
    }

    async fn log_in(self: Arc<Self>, stream: TcpStream, address: SocketAddr) -> Option<Entered> {
        let tls = self.tls.load().as_deref().cloned();
        let mut hello = match greet(stream, tls).await {
            Ok(Greeted::Login(hello)) => hello,
            Ok(Greeted::Cancel { pid, secret, mut client }) => {
                self.cancel(pid, &secret).await;
                client.close().await;
                return None;
            }
            Ok(Greeted::Gone) => return None,
            Err((client, error)) => {
                farewell(client, &error).await;
                return None;
            }
        };
        match self.admit(&mut hello, address).await {
            Ok(admitted) => Some(self.enter(*hello, admitted)),
            Err(error) => {
                tracing::info!(user = %hello.user, %address, %error, "login refused");
                farewell(hello.client, &error).await;
                None
            }
        }
    }

    async fn admit(&self, hello: &mut Hello, address: SocketAddr) -> Result<Admitted, PgError> {
        let state = self.shared.state.load_full();
        let auth = &state.config.auth;
        let certificate = hello.certificate.clone();
        auth::authenticate(
            &mut hello.client,
            &hello.user,
            auth,
            &self.verifiers,
            certificate.as_deref().map(Vec::as_slice),
        )
        .await?;
        let user = auth.users.get(&hello.user);
        let operator = user.is_some_and(|user| user.operator);
        let console = admin::is_console(&hello.database);
        let gate = self.shared.pools.gate();
        if !console && gate.is_disabled() {
            return Err(PgError::fatal(
                SqlState::CANNOT_CONNECT_NOW,
                format!("database \"{}\" is disabled", hello.database),
            )
            .with_hint("An operator has said DISABLE; ENABLE lets clients in again."));
        }
        if !console {
            // As PgBouncer: whoever comes while the database is paused waits, for `limits.login_timeout` at most.
            gate.passed().await;
        }
        let application = hello.parameters.iter().find(|(name, _)| name == "application_name");
        let handle = self.shared.clients.register(
            &hello.user,
            &hello.database,
            application.map_or("", |(_, value)| value),
            address,
            matches!(hello.client.stream, ClientStream::Tls(_)),
            state.config.pool.max_client_connections,
            user.and_then(|user| user.max_connections),
        )?;
        handle.activity.set_local(hello.client.stream.local());
        if console {
            let rights = match user {
                Some(user) if user.operator => Some(admin::Rights::Operator),
                Some(user) if user.stats => Some(admin::Rights::Stats),
                _ => None,
            };
            let Some(rights) = rights else {
                return Err(PgError::fatal(
                    SqlState::INSUFFICIENT_PRIVILEGE,
                    format!("permission denied for database \"{}\"", hello.database),
                )
                .with_hint("Give the user `operator = true`, or `stats = true`, in the server's configuration."));
            };
            return Ok(Admitted::Operator(handle, rights));
        }
        if hello.database != state.config.database {
            return Err(PgError::fatal(
                SqlState::UNDEFINED_DATABASE,
                format!("database \"{}\" does not exist", hello.database),
            )
            .with_hint(format!("The database is \"{}\"; operators also have \"goldseam\".", state.config.database)));
        }
        let first = state
            .config
            .shards
            .first()
            .ok_or_else(|| PgError::fatal(SqlState::CANNOT_CONNECT_NOW, "no shard is configured"))?;
        let trusts = auth.method == AuthMethod::Trust && user.is_none() && hello.user != first.primary.user;
        let (name, password) =
            if trusts { (hello.user.clone(), None) } else { state.config.server_login(&hello.user, &first.primary) };
        let login = Arc::new(Login::new(name, password));
        let greeting = self.shared.pools.greeting(&login).await.map_err(|mut error| {
            error.severity = crate::error::Severity::Fatal;
            error
        })?;
        self.shared.pools.register(&login);
        let mut settings = backend::Settings::default();
        for (name, value) in &hello.parameters {
            let folded = name.to_ascii_lowercase();
            check_readable(&folded, value, state.vschema.single_shard()).map_err(|mut error| {
                error.severity = crate::error::Severity::Fatal;
                error
            })?;
            settings.set_plain(name, value);
        }
        // What the server does by itself costs nothing to keep.
        let redundant = settings.iter().all(|(name, _)| name != "client_encoding")
            || hello.parameters.iter().any(|(name, value)| name == "client_encoding" && is_utf8(value));
        if redundant && greeting.parameters.get("client_encoding") == Some("UTF8") {
            settings.reset("client_encoding");
        }
        Ok(Admitted::Client(Box::new(Known { handle, operator, login, greeting, settings })))
    }

    fn enter(&self, hello: Hello, admitted: Admitted) -> Entered {
        match admitted {
            Admitted::Operator(handle, rights) => {
                Entered::Console(Box::new(admin::Console::new(self.shared.clone(), hello.client, handle, rights)))
            }
            Admitted::Client(parts) => {
                let Known { handle, operator, login, greeting, settings } = *parts;
                let start =
                    Start { client: hello.client, handle, user: hello.user, operator, login, greeting, settings };
                Entered::Session(Box::new(Session::new(self.shared.clone(), start)))
            }
        }
    }

    /// Passes a cancel request on. The client gets no answer, whatever happens (protocol section "Canceling Requests in Progress").
    async fn cancel(&self, pid: i32, secret: &[u8]) {
        let Some((targets, cancelling)) = self.shared.clients.cancel(pid, secret) else { return };
        let state = self.shared.state.load_full();
        // All at once: a server that does not answer must not keep the others at work.
        let mut requests = tokio::task::JoinSet::new();
        for target in targets {
            let Some(shard) = state.topology.shard(target.shard) else { continue };
            let (name, primary) = (shard.name.clone(), shard.primary.clone());
            requests.spawn(async move {
                if let Err(error) = backend::cancel(&primary, target.pid, &target.secret, CANCEL_TIMEOUT).await {
                    tracing::warn!(shard = %name, %error, "a cancel request did not arrive");
                }
            });
        }
        while requests.join_next().await.is_some() {}
        drop(cancelling);
    }
}

/// Who has been let in.
enum Admitted {
    Client(Box<Known>),
    Operator(Registration, admin::Rights),
}

/// What a session needs to know of its client.
struct Known {
    handle: Registration,
    operator: bool,
    login: Arc<Login>,
    greeting: Arc<crate::pool::Greeting>,
    settings: backend::Settings,
}

enum Entered {
    Session(Box<Session>),
    Console(Box<admin::Console>),
}

fn is_utf8(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    plain.eq_ignore_ascii_case("utf8") || plain.eq_ignore_ascii_case("unicode")
}

/// Tells a client why it is not let in.
async fn farewell(mut client: Client, error: &PgError) {
    encode::error_response(&mut client.outgoing, error);
    // It may be gone already.
    let _ = client.send().await;
    client.close().await;
}
