//! A real PostgreSQL server for the tests of this layer and the two above it.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::{Backend, ConnectOptions, Connector, Login};
use crate::config::{Secret, Server, SslMode};
use crate::types::ShardId;

/// A server that ends with this value. `postgres` is its superuser, and `trust` the rule but for the users of [`HBA`].
pub(crate) struct Postgres {
    child: Child,
    folder: tempfile::TempDir,
    pub port: u16,
}

/// Users named after what they are asked for, and everybody else trusted.
const HBA: &str = "\
hostssl all scram_tls all scram-sha-256
hostnossl all scram_tls all reject
host all scram all scram-sha-256
host all md5 all md5
host all clear all password
host all all all trust
local all all trust
";

const SETUP: &str = "\
set password_encryption = 'scram-sha-256';
create role scram login password 'secret'; create role scram_tls login password 'secret'; create role clear login password 'secret';
set password_encryption = 'md5'; create role md5 login password 'secret';
create role app login; create role reader; grant reader to app;";

fn binary(name: &str) -> PathBuf {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    folders.sort();
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not installed"))
}

/// Root may not run a server: as the system's user postgres then.
fn as_postgres(command: &mut Command) -> &mut Command {
    if let Some((uid, gid)) = postgres_user() {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

fn postgres_user() -> Option<(u32, u32)> {
    // SAFETY: takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with("postgres:")).expect("the user postgres");
    let fields: Vec<&str> = line.split(':').collect();
    Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
}

fn write_as_postgres(path: &Path, text: &str) {
    use std::os::unix::fs::{PermissionsExt, chown};
    std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    if let Some((uid, gid)) = postgres_user() {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

impl Postgres {
    pub fn start() -> Postgres {
        Postgres::start_with(&[])
    }

    /// Also with these further lines of `postgresql.conf`.
    pub fn start_with(lines: &[&str]) -> Postgres {
        Postgres::start_tls(lines, None)
    }

    /// `tls`: certificate and key, PEM.
    pub fn start_tls(lines: &[&str], tls: Option<(&str, &str)>) -> Postgres {
        let folder = tempfile::tempdir().unwrap();
        if let Some((uid, gid)) = postgres_user() {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let data = folder.path().join("data");
        let mut initdb = Command::new(binary("initdb"));
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N", "-D"]).arg(&data);
        assert!(as_postgres(&mut initdb).status().unwrap().success(), "initdb");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut conf = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
        conf.push_str(&format!(
            "\nlisten_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\nmax_connections = 60\n\
             max_prepared_transactions = 7\n",
            folder.path().display()
        ));
        if let Some((certificate, key)) = tls {
            write_as_postgres(&data.join("server.crt"), certificate);
            write_as_postgres(&data.join("server.key"), key);
            conf.push_str("ssl = on\n");
        }
        conf.push_str(&lines.join("\n"));
        write_as_postgres(&data.join("postgresql.conf"), &conf);
        write_as_postgres(&data.join("pg_hba.conf"), HBA);
        let child = Postgres::spawn(&data);
        let postgres = Postgres { child, folder, port };
        postgres.wait();
        postgres.sql(SETUP);
        postgres
    }

    fn spawn(data: &Path) -> Child {
        as_postgres(Command::new(binary("postgres")).arg("-D").arg(data)).spawn().unwrap()
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while !self.psql("select 1") {
            assert!(Instant::now() < until, "the server does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn psql(&self, sql: &str) -> bool {
        let mut psql = Command::new(binary("psql"));
        psql.args([
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-p",
            &self.port.to_string(),
            "-c",
            sql,
        ]);
        as_postgres(&mut psql).status().unwrap().success()
    }

    /// Runs statements as the superuser.
    pub fn sql(&self, sql: &str) {
        assert!(self.psql(sql), "{sql}");
    }

    /// Stops at once, as in a crash.
    pub fn crash(&mut self) {
        // SAFETY: a plain system call on a process that this value started and has not waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGQUIT) };
        self.child.wait().unwrap();
    }

    /// Starts again after [`Postgres::crash`], on the same port.
    pub fn restart(&mut self) {
        self.child = Postgres::spawn(&self.folder.path().join("data"));
        self.wait();
    }

    pub fn socket_folder(&self) -> String {
        self.folder.path().display().to_string()
    }

    pub fn server(&self) -> Server {
        server("127.0.0.1", self.port)
    }

    pub fn connector(&self) -> Arc<Connector> {
        Connector::new(ShardId(0), "s0".into(), self.server())
    }

    pub async fn connect(&self, user: &str) -> Backend {
        Backend::connect(&self.connector(), &login(user), &options()).await.unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.crash();
        }
    }
}

pub(crate) fn server(host: &str, port: u16) -> Server {
    Server {
        host: host.into(),
        port,
        database: "postgres".into(),
        user: "postgres".into(),
        password: None,
        sslmode: SslMode::Disable,
        sslrootcert: None,
    }
}

pub(crate) fn login(user: &str) -> Login {
    Login::new(user, Some(Secret::new("secret")))
}

pub(crate) fn options() -> ConnectOptions {
    ConnectOptions {
        timeout: Duration::from_secs(5),
        application_name: "goldseam".into(),
        max_frame: 1 << 20,
        prepared_statements: 10,
    }
}
