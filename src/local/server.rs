//! One local server and its guard.
//!
//! The server is the child of a small shell script (`guard.sh`), and the script's standard input is a pipe whose other end
//! only this process holds. We stop a server by writing the signal's name into the pipe; and when we end, by whatever cause,
//! the kernel closes our end, the script reads the end of the file and stops its child, which it knows by its process id and
//! which cannot have been replaced by another process because the script has not yet waited for it. `prctl(PR_SET_PDEATHSIG)`
//! would do on Linux only, and there it fires when the *thread* that spawned the child ends.
//!
//! The script has its own process group, so that Ctrl-C at a terminal reaches us alone and we decide how to stop.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use super::account::Account;
use super::{Binaries, LocalError};

/// Lies beside the data folders, so that process lists stay readable.
pub(super) const GUARD_FILE: &str = "guard.sh";
pub(super) const GUARD: &str = include_str!("guard.sh");
/// Long enough for crash recovery of a kept demo on a slow disk.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// A fast shutdown writes a checkpoint; after this the server is made to stop at once.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);
/// Another process may take a port between our choosing it and the server's binding it; that often in a row it is no accident.
const PORT_TRIES: usize = 8;
/// How much of a log is shown in an error.
const LOG_TAIL_LINES: usize = 12;

/// How a server is told to stop (PostgreSQL's names of its shutdown modes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Ends all sessions and shuts down in order.
    Fast,
    /// Ends at once, as if it had crashed; the next start recovers.
    Immediate,
}

/// A data folder and, while it runs, its server on a loopback port.
#[derive(Debug)]
pub struct Server {
    data: PathBuf,
    log: PathBuf,
    port: u16,
    binaries: Binaries,
    account: Option<Account>,
    remove: Option<PathBuf>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    guard: Child,
    pipe: Option<ChildStdin>,
    pid: u32,
}

impl Server {
    /// A server over a data folder that `initdb` made; not started yet. `remove` is the folder that the guard removes when we are
    /// gone without stopping the server.
    pub(super) fn new(data: PathBuf, binaries: Binaries, account: Option<Account>, remove: Option<PathBuf>) -> Server {
        let log = data.with_extension("log");
        Server { data, log, port: 0, binaries, account, remove, running: None }
    }

    /// Its port on 127.0.0.1; the same again after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The file with everything it printed.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The server's own process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.pid)
    }

    /// Starts it and waits until it accepts connections. A first start chooses a free port, later ones keep it. Starting a
    /// running server does nothing.
    pub fn start(&mut self) -> Result<(), LocalError> {
        self.spawn()?;
        self.wait_ready()
    }

    /// Starts it without waiting, so that several start at once; [`Server::wait_ready`] must follow.
    pub(super) fn spawn(&mut self) -> Result<(), LocalError> {
        if self.running.is_some() {
            return Ok(());
        }
        if self.port == 0 {
            self.port = free_port().map_err(|e| tool_failed("choosing a free port", e.to_string()))?;
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(|e| LocalError::Folder { path: self.log.clone(), reason: e.to_string() })?;
        let mut command = tool_command(Path::new("/bin/sh"), &self.binaries, self.account, &self.data);
        command.arg(self.data.with_file_name(GUARD_FILE)).arg(self.binaries.tool("postgres"));
        command.arg("-D").arg(&self.data).arg("-p").arg(self.port.to_string());
        command.env("PGDATA", &self.data).env("GOLDSEAM_REMOVE", self.remove.as_deref().unwrap_or(Path::new("")));
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let failed = |e: io::Error| tool_failed("starting postgres", e.to_string());
        let mut guard = command.spawn().map_err(failed)?;
        let pipe = guard.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = guard.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
        }
        let pid = line.trim().parse().map_err(|_| tool_failed("starting postgres", self.log_tail()))?;
        self.running = Some(Running { guard, pipe, pid });
        Ok(())
    }

    /// Waits until the server accepts connections, and moves it to another port if its own was taken meanwhile.
    pub(super) fn wait_ready(&mut self) -> Result<(), LocalError> {
        let began = Instant::now();
        let mut tries = 1;
        while began.elapsed() < READY_TIMEOUT {
            let Some(running) = &mut self.running else { return Err(tool_failed("postgres", self.log_tail())) };
            // The last line says how far the start has come (`pidfile.h`); the first must be ours, not a crashed ancestor's.
            let status = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
            let mut lines = status.lines();
            let ours = lines.next().is_some_and(|line| line.trim() == running.pid.to_string());
            if ours && lines.nth(6).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            if running.guard.try_wait().ok().flatten().is_some() {
                self.running = None;
                let log = self.log_tail();
                if tries < PORT_TRIES && log.contains("Address already in use") {
                    tries += 1;
                    self.port = 0;
                    let _ = fs::remove_file(&self.log);
                    self.spawn()?;
                    continue;
                }
                return Err(tool_failed("postgres", log));
            }
            std::thread::sleep(POLL);
        }
        let log = self.log_tail();
        self.stop(Stop::Immediate);
        Err(LocalError::NotReady { data: self.data.clone(), seconds: READY_TIMEOUT.as_secs(), log })
    }

    /// Stops it and waits until it is gone. Stopping a stopped server does nothing.
    pub fn stop(&mut self, how: Stop) {
        self.ask_to_stop(how);
        self.wait_stopped();
    }

    /// Sends the signal only, so that several stop at once.
    pub(super) fn ask_to_stop(&mut self, how: Stop) {
        let signal = match how {
            Stop::Fast => "INT",
            Stop::Immediate => "QUIT",
        };
        if let Some(pipe) = self.running.as_mut().and_then(|running| running.pipe.as_mut()) {
            // A guard that is gone has no server left to stop.
            let _ = pipe.write_all(format!("{signal}\n").as_bytes());
        }
    }

    pub(super) fn wait_stopped(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        let began = Instant::now();
        while began.elapsed() < STOP_TIMEOUT {
            match running.guard.try_wait() {
                Ok(None) => std::thread::sleep(POLL),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        // Out of patience: the guard does at the end of the pipe what it does when we are gone, and that ends with SIGKILL.
        running.pipe = None;
        let _ = running.guard.wait();
    }

    fn log_tail(&self) -> String {
        let text = fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Stop::Immediate);
    }
}

/// A command of PostgreSQL's under the right user and without the caller's PG* variables, which would redirect it.
pub(super) fn tool_command(program: &Path, binaries: &Binaries, account: Option<Account>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", binaries.dir.display());
    command.env_clear().env("PATH", path).env("LC_ALL", "C").current_dir(dir);
    for inherited in ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"] {
        if let Some(value) = std::env::var_os(inherited) {
            command.env(inherited, value);
        }
    }
    Account::apply(account, &mut command);
    command
}

pub(super) fn tool_failed(tool: &'static str, reason: String) -> LocalError {
    LocalError::Tool { tool, reason }
}

/// A loopback port that nobody listens on at this moment.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
