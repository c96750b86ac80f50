//! The user under whom servers run: PostgreSQL refuses to run as root, and containers and CI mostly are root.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::LocalError;

/// The user that system packages of PostgreSQL create.
const SERVICE_USER: &str = "postgres";

/// A user other than ourselves; there is one only where we are root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
}

impl Account {
    /// The account servers must run under: `None` where our own will do.
    pub fn for_servers() -> Result<Option<Account>, LocalError> {
        if !is_root() {
            return Ok(None);
        }
        // `id` asks the system's own name service, whichever that is.
        let uid = id("-u")?;
        let gid = id("-g")?;
        Ok(Some(Account { uid, gid }))
    }

    /// Makes a command run as this user, with this user's rights only.
    pub fn apply(account: Option<Account>, command: &mut Command) {
        if let Some(Account { uid, gid }) = account {
            command.uid(uid).gid(gid);
        }
    }

    /// Gives a file or folder to this user.
    pub fn own(account: Option<Account>, path: &Path) -> io::Result<()> {
        match account {
            Some(Account { uid, gid }) => std::os::unix::fs::chown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }
}

/// Whether this process has root's rights.
pub fn is_root() -> bool {
    // SAFETY: geteuid takes nothing, touches no memory and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn id(flag: &str) -> Result<u32, LocalError> {
    let unknown = |why: String| LocalError::NoAccount(why);
    let output = Command::new("id").args([flag, SERVICE_USER]).output().map_err(|e| unknown(e.to_string()))?;
    if !output.status.success() {
        return Err(unknown(String::from_utf8_lossy(&output.stderr).trim().to_string()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| unknown(format!("`id {flag} {SERVICE_USER}` printed {text:?}")))
}
