//! The folder that servers live in: ours alone while we live, and recognisably nobody's afterwards.
//!
//! A folder is held by a lock on a file in it (`flock`): the kernel gives the lock back when its holder is gone, so a folder
//! whose lock is free is stale, however its owner ended. No process id is trusted for that. Temporary folders are removed by
//! their owner, or by the servers' guards if the owner was killed, or, after a crash of the whole machine, by the next
//! [`Folder::temporary`].

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::LocalError;
use super::account::Account;

/// Temporary folders begin with this, in the system's folder for such.
const PREFIX: &str = "goldseam-local-";
const LOCK: &str = "lock";
/// Far longer than it takes from making a folder to locking it.
const SETTLED: Duration = Duration::from_secs(600);

/// A locked folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    temporary: bool,
    account: Option<Account>,
    _lock: File,
}

impl Folder {
    /// A new one, removed when dropped. Removes stale ones of earlier runs on the way.
    pub fn temporary(account: Option<Account>) -> Result<Folder, LocalError> {
        let base = std::env::temp_dir();
        sweep(&base);
        let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&base).map_err(|e| fail(&base, e))?;
        let folder = Folder::lock(made.path(), account, true)?;
        let _ = made.keep(); // from here on `folder` removes it
        Ok(folder)
    }

    /// One that stays: created if missing, taken over if it is free, refused if it holds what we did not make.
    pub fn kept(path: &Path, account: Option<Account>) -> Result<Folder, LocalError> {
        fs::create_dir_all(path).map_err(|e| fail(path, e))?;
        let path = path.canonicalize().map_err(|e| fail(path, e))?;
        let mut entries = fs::read_dir(&path).map_err(|e| fail(&path, e))?;
        if entries.next().is_some() && !path.join(LOCK).exists() {
            return Err(LocalError::ForeignFolder(path));
        }
        Folder::lock(&path, account, false)
    }

    fn lock(path: &Path, account: Option<Account>, temporary: bool) -> Result<Folder, LocalError> {
        let lock_path = path.join(LOCK);
        let lock =
            File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(|e| fail(path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LocalError::FolderInUse(path.to_path_buf())),
            Err(TryLockError::Error(e)) => return Err(fail(path, e)),
        }
        // The servers' user must be able to enter it, and to remove it when we are gone.
        fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(|e| fail(path, e))?;
        Account::own(account, path).map_err(|e| fail(path, e))?;
        Ok(Folder { path: path.to_path_buf(), temporary, account, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it, made if missing. It belongs to the servers' user, so that their guards can remove it and the files in it.
    pub fn subfolder(&self, name: &str) -> Result<PathBuf, LocalError> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(|e| fail(&path, e))?;
        Account::own(self.account, &path).map_err(|e| fail(&path, e))?;
        Ok(path)
    }

    /// Whether it goes away with us.
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            let _ = fs::remove_dir_all(&self.path); // a guard may be at it too; what is left is swept next time
        }
    }
}

fn fail(path: &Path, error: io::Error) -> LocalError {
    LocalError::Folder { path: path.to_path_buf(), reason: error.to_string() }
}

/// Removes the temporary folders whose owner is gone and whose servers have stopped.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) || !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        let stale = match File::options().write(true).open(path.join(LOCK)) {
            Ok(lock) => lock.try_lock().is_ok(),
            // Either it is being made at this moment, or somebody was stopped while making or removing it.
            Err(_) => {
                entry.metadata().and_then(|m| m.modified()).is_ok_and(|t| t.elapsed().is_ok_and(|age| age > SETTLED))
            }
        };
        if stale && !has_running_server(&path) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Whether a `postmaster.pid` in one of the data folders names a living process: its guard is still stopping it.
fn has_running_server(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let text = fs::read_to_string(entry.path().join("postmaster.pid")).unwrap_or_default();
        let pid = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok());
        // SAFETY: signal 0 only asks whether the process exists; no memory is involved.
        pid.is_some_and(|pid| pid > 0 && unsafe { libc::kill(pid, 0) } == 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_by_one_and_free_again_afterwards() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("demo");
        let first = Folder::kept(&path, None).unwrap();
        assert!(matches!(Folder::kept(&path, None), Err(LocalError::FolderInUse(_))));
        drop(first);
        let again = Folder::kept(&path, None).unwrap();
        assert!(again.path().exists());
    }

    #[test]
    fn a_temporary_folder_removes_itself() {
        let folder = Folder::temporary(None).unwrap();
        let path = folder.path().to_path_buf();
        assert!(path.exists());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn only_stale_folders_are_swept() {
        let base = tempfile::tempdir().unwrap();
        let [stale, held, strange] = [format!("{PREFIX}stale"), format!("{PREFIX}held"), "other".into()];
        for name in [&stale, &held, &strange] {
            fs::create_dir(base.path().join(name)).unwrap();
            fs::write(base.path().join(name).join(LOCK), "").unwrap();
        }
        let holder = Folder::kept(&base.path().join(&held), None).unwrap();
        sweep(base.path());
        assert!(!base.path().join(&stale).exists());
        assert!(base.path().join(&held).exists() && base.path().join(&strange).exists());
        drop(holder);
    }

    #[test]
    fn a_folder_with_other_things_in_it_is_left_alone() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("thesis.txt"), "").unwrap();
        assert!(matches!(Folder::kept(base.path(), None), Err(LocalError::ForeignFolder(_))));
        assert!(!base.path().join(LOCK).exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let message = Folder::kept(Path::new("/proc/none/demo"), None).unwrap_err().to_string();
        assert!(message.contains("/proc/none/demo"), "{message}");
    }
}
