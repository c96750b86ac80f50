//! Where a PostgreSQL server's binaries may be: PATH first, because that is the user's own word, then the places where
//! packages put them, the newest version first.

use std::cmp::Reverse;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::install::{Install, installs_by_default};
use super::{LocalError, account};

/// The oldest major version that Goldseam is used with.
pub const MINIMUM_MAJOR: u32 = 13;

/// Folders in which packages put the server's binaries; `*` stands for anything within one path component.
const PLACES: &[&str] = &[
    "/usr/lib/postgresql/*/bin",                      // Debian, Ubuntu, Gentoo's slots
    "/usr/lib/postgresql*/bin",                       // SUSE
    "/usr/lib64/postgresql-*/bin",                    // Gentoo
    "/usr/pgsql-*/bin",                               // Red Hat, packages of the PostgreSQL project
    "/usr/libexec/postgresql*",                       // Alpine
    "/usr/bin",                                       // Red Hat, Fedora, Arch
    "/opt/homebrew/opt/postgresql*/bin",              // Homebrew, Apple silicon
    "/usr/local/opt/postgresql*/bin",                 // Homebrew, Intel
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin", // Homebrew on Linux
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/Library/PostgreSQL/*/bin",      // EnterpriseDB's installer
    "/opt/local/lib/postgresql*/bin", // MacPorts
    "/usr/local/pgsql/bin",           // from source
    "/usr/local/bin",                 // FreeBSD
];

/// The server's tools, all from one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The folder with `postgres` and `initdb`.
    pub dir: PathBuf,
    /// As PostgreSQL prints it: `15.18`, `18beta1`.
    pub version: String,
    /// The number before the point.
    pub major: u32,
}

impl Binaries {
    /// The path of one tool of this installation.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The client, here or in PATH; it may come in a package of its own that is missing.
    pub fn psql(&self) -> Option<PathBuf> {
        let beside = self.tool("psql");
        if beside.is_file() { Some(beside) } else { path_folders().map(|f| f.join("psql")).find(|p| p.is_file()) }
    }
}

/// There is no usable PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFound {
    /// What `--pg-bin` said, if it said anything.
    pub asked: Option<PathBuf>,
    /// Installations that are there but will not do, with the reason.
    pub unfit: Vec<String>,
    /// How this system installs it, if we know.
    pub install: Option<Install>,
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.asked {
            Some(dir) => write!(f, "no PostgreSQL server in {} (looked for postgres and initdb)", dir.display())?,
            None => write!(f, "no PostgreSQL server found in PATH or where packages put it")?,
        }
        for unfit in &self.unfit {
            write!(f, "\n  {unfit}")?;
        }
        match (&self.asked, &self.install) {
            (Some(_), _) => Ok(()),
            (None, Some(install)) => {
                write!(f, "\nInstall it with:\n    {install}\nor say --install, or --pg-bin FOLDER")
            }
            (None, None) => write!(f, "\nInstall PostgreSQL {MINIMUM_MAJOR} or later, or say --pg-bin FOLDER"),
        }
    }
}

impl std::error::Error for NotFound {}

/// Finds an installation: exactly `pg_bin` if that is given, else the first in PATH, else the newest elsewhere.
pub fn find_postgres(pg_bin: Option<&Path>) -> Result<Binaries, NotFound> {
    let mut unfit = Vec::new();
    if let Some(asked) = pg_bin {
        // People give the installation's root as often as its bin folder.
        let found = [asked.to_path_buf(), asked.join("bin")].iter().find_map(|dir| inspect(dir, &mut unfit));
        return found.ok_or_else(|| NotFound { asked: Some(asked.to_path_buf()), unfit, install: None });
    }
    if let Some(found) = path_folders().find_map(|dir| inspect(&dir, &mut unfit)) {
        return Ok(found);
    }
    let mut elsewhere: Vec<Binaries> = PLACES
        .iter()
        .flat_map(|pattern| expand(Path::new("/"), pattern))
        .filter_map(|dir| inspect(&dir, &mut unfit))
        .collect();
    elsewhere.sort_by_key(|binaries| Reverse(binaries.major)); // stable: the order of PLACES among equals
    unfit.sort();
    unfit.dedup();
    match elsewhere.into_iter().next() {
        Some(found) => Ok(found),
        None => Err(NotFound { asked: None, unfit, install: Install::for_this_system(account::is_root()) }),
    }
}

/// As [`find_postgres`]; where there is none and `install` is set, runs this system's install command and looks again.
///
/// The command's own output goes to the terminal: installing software is nothing to do silently.
pub fn find_or_install(pg_bin: Option<&Path>, install: bool) -> Result<Binaries, LocalError> {
    match find_postgres(pg_bin) {
        Ok(found) => Ok(found),
        Err(NotFound { asked: None, install: Some(command), .. }) if install => {
            command.run()?;
            Ok(find_postgres(None)?)
        }
        Err(not_found) => Err(not_found.into()),
    }
}

/// What tests run against: `$GOLDSEAM_PG_BIN`, so that one suite serves several versions, or what this machine has.
pub fn find_for_tests() -> Result<Binaries, LocalError> {
    let asked = std::env::var_os("GOLDSEAM_PG_BIN").map(PathBuf::from);
    find_or_install(asked.as_deref(), installs_by_default())
}

fn path_folders() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect::<Vec<_>>().into_iter()
}

/// The installation in a folder, if `postgres` and `initdb` are both there and new enough.
fn inspect(dir: &Path, unfit: &mut Vec<String>) -> Option<Binaries> {
    // Through the link (/usr/local/bin/postgres -> /usr/lib/postgresql/15/bin/postgres) to the whole installation.
    let postgres = dir.join("postgres").canonicalize().ok()?;
    let home = postgres.parent()?;
    let dir = if home.join("initdb").is_file() { home.to_path_buf() } else { dir.to_path_buf() };
    if !dir.join("initdb").is_file() {
        unfit.push(format!("{} has postgres but no initdb", dir.display()));
        return None;
    }
    let output = Command::new(&postgres).arg("--version").output().ok()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some((version, major)) = parse_version(&printed) else {
        unfit.push(format!("{} printed {:?} for --version", postgres.display(), printed.trim()));
        return None;
    };
    if major < MINIMUM_MAJOR {
        unfit.push(format!("{} is version {version}; {MINIMUM_MAJOR} or later is needed", postgres.display()));
        return None;
    }
    Some(Binaries { dir, version, major })
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` → `15.18` and 15.
fn parse_version(printed: &str) -> Option<(String, u32)> {
    let version = printed.split("(PostgreSQL)").nth(1)?.split_whitespace().next()?;
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    Some((version.to_string(), version[..digits].parse().ok()?))
}

/// The folders that a pattern names, in the order of the file system's names.
fn expand(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![root.to_path_buf()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        found = match part.split_once('*') {
            None => found.into_iter().map(|dir| dir.join(part)).filter(|dir| dir.is_dir()).collect(),
            Some((before, after)) => found.iter().flat_map(|dir| children(dir, before, after)).collect(),
        };
    }
    found
}

fn children(dir: &Path, before: &str, after: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.retain(|n| n.len() >= before.len() + after.len() && n.starts_with(before) && n.ends_with(after));
    names.sort();
    names.into_iter().map(|name| dir.join(name)).filter(|path| path.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_packages_print_them() {
        for (printed, expected) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(("15.18", 15))),
            ("postgres (PostgreSQL) 18beta1\n", Some(("18beta1", 18))),
            ("postgres (PostgreSQL) 9.6.24\n", Some(("9.6.24", 9))),
            ("something else", None),
            ("postgres (PostgreSQL) ", None),
        ] {
            assert_eq!(parse_version(printed), expected.map(|(v, m)| (v.to_string(), m)), "{printed:?}");
        }
    }

    #[test]
    fn a_star_stands_for_a_part_of_one_folder_name() {
        let root = tempfile::tempdir().unwrap();
        for dir in ["usr/lib/postgresql/15/bin", "usr/lib/postgresql/9.6/bin", "usr/pgsql-17/bin", "usr/lib/other"] {
            std::fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        let expand = |pattern| {
            let strip = |p: PathBuf| p.strip_prefix(root.path()).unwrap().display().to_string();
            super::expand(root.path(), pattern).into_iter().map(strip).collect::<Vec<_>>()
        };
        assert_eq!(expand("/usr/lib/postgresql/*/bin"), ["usr/lib/postgresql/15/bin", "usr/lib/postgresql/9.6/bin"]);
        assert_eq!(expand("/usr/pgsql-*/bin"), ["usr/pgsql-17/bin"]);
        assert!(expand("/opt/*/bin").is_empty());
    }

    #[test]
    fn a_given_folder_is_the_only_place_looked_at() {
        let empty = tempfile::tempdir().unwrap();
        let not_found = find_postgres(Some(empty.path())).unwrap_err();
        assert_eq!(not_found.asked.as_deref(), Some(empty.path()));
        assert!(not_found.to_string().contains("looked for postgres and initdb"), "{not_found}");
    }

    #[test]
    fn an_old_version_is_named_and_passed_over() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        for tool in ["postgres", "initdb"] {
            let path = dir.path().join(tool);
            std::fs::write(&path, "#!/bin/sh\necho 'postgres (PostgreSQL) 9.6.24'\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let not_found = find_postgres(Some(dir.path())).unwrap_err();
        assert!(not_found.to_string().contains("is version 9.6.24; 13 or later is needed"), "{not_found}");
    }
}
