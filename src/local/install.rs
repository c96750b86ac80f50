//! How this system installs PostgreSQL: the exact command, shown always and run only when asked.

use std::fmt;
use std::process::{Command, Stdio};

use super::LocalError;
use super::account::is_root;

/// The commands that install a PostgreSQL server, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// Each with its arguments.
    pub commands: Vec<Vec<String>>,
    /// Debian or Ubuntu, where a server installed from packages is small, free of questions and easily removed.
    pub debian: bool,
}

impl Install {
    /// What fits the system we run on.
    pub fn for_this_system(root: bool) -> Option<Install> {
        let os_release =
            ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|p| std::fs::read_to_string(p).ok());
        Install::choose(std::env::consts::OS, os_release.as_deref().unwrap_or(""), root)
    }

    /// The commands for an operating system (Rust's name) and the text of its `os-release`.
    fn choose(os: &str, os_release: &str, root: bool) -> Option<Install> {
        if os == "macos" {
            return Some(Install::of(&["brew install postgresql@17"], false, false)); // Homebrew refuses root
        }
        if os != "linux" {
            return None;
        }
        // `ID_LIKE` names the family of derivatives (Mint: `ubuntu debian`; Rocky: `rhel centos fedora`).
        let field = |name: &str| {
            let prefix = format!("{name}=");
            let line = os_release.lines().find_map(|line| line.trim().strip_prefix(&prefix).map(str::to_string));
            line.unwrap_or_default().trim_matches(['"', '\'']).to_lowercase()
        };
        let family = format!("{} {}", field("ID"), field("ID_LIKE"));
        let sudo = !root;
        family.split_whitespace().find_map(|id| match id {
            "debian" | "ubuntu" => Some(Install {
                debian: true,
                ..Install::of(&["apt-get update", "apt-get install -y postgresql"], sudo, true)
            }),
            "fedora" | "rhel" | "centos" => Some(Install::of(&["dnf install -y postgresql-server"], sudo, false)),
            "alpine" => Some(Install::of(&["apk add postgresql postgresql-client"], sudo, false)),
            "arch" => Some(Install::of(&["pacman -S --noconfirm postgresql"], sudo, false)),
            "suse" | "opensuse" => {
                Some(Install::of(&["zypper --non-interactive install postgresql-server"], sudo, false))
            }
            _ => None,
        })
    }

    fn of(lines: &[&str], sudo: bool, quiet_debconf: bool) -> Install {
        let words = |line: &&str| {
            let prefix = if sudo { vec!["sudo"] } else { vec![] };
            // Without this, apt asks questions that nobody is there to answer.
            let env = if quiet_debconf { vec!["env", "DEBIAN_FRONTEND=noninteractive"] } else { vec![] };
            prefix.into_iter().chain(env).chain(line.split(' ')).map(str::to_string).collect()
        };
        Install { commands: lines.iter().map(words).collect(), debian: false }
    }

    /// Runs them, with their output on our standard error, so that standard output stays the program's own.
    pub fn run(&self) -> Result<(), LocalError> {
        for words in &self.commands {
            let command = words.join(" ");
            let failed = |outcome: String| LocalError::Install { command: command.clone(), outcome };
            let (program, arguments) = words.split_first().ok_or_else(|| failed("is empty".into()))?;
            eprintln!("+ {command}");
            let mut process = Command::new(program);
            process.args(arguments).stdin(Stdio::inherit()).stdout(std::io::stderr());
            let status = process.status().map_err(|e| failed(format!("could not be started: {e}")))?;
            if !status.success() {
                return Err(failed(format!("ended with {status}")));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Install {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.commands.iter().map(|words| words.join(" ")).collect();
        f.write_str(&lines.join(" && "))
    }
}

/// Whether to install without being asked: as root on Debian or Ubuntu (a container, mostly), and in CI.
pub fn installs_by_default() -> bool {
    let ci = std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    let root = is_root();
    ci || (root && Install::for_this_system(root).is_some_and(|install| install.debian))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_gets_its_own_command() {
        let apt = "env DEBIAN_FRONTEND=noninteractive apt-get update && env DEBIAN_FRONTEND=noninteractive apt-get install -y postgresql";
        for (os, release, root, expected) in [
            ("linux", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n", true, Some(apt)),
            ("linux", "NAME=\"Linux Mint\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", true, Some(apt)),
            ("linux", "ID=fedora\n", false, Some("sudo dnf install -y postgresql-server")),
            ("linux", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"", true, Some("dnf install -y postgresql-server")),
            ("linux", "ID=alpine\n", true, Some("apk add postgresql postgresql-client")),
            ("linux", "ID=arch\n", false, Some("sudo pacman -S --noconfirm postgresql")),
            ("linux", "ID=nixos\n", true, None),
            ("linux", "", true, None),
            ("macos", "", false, Some("brew install postgresql@17")),
            ("freebsd", "", false, None),
        ] {
            let chosen = Install::choose(os, release, root).map(|install| install.to_string());
            assert_eq!(chosen.as_deref(), expected, "{os} {release:?}");
        }
        assert!(Install::choose("linux", "ID=ubuntu", false).unwrap().to_string().starts_with("sudo env "));
    }

    #[test]
    fn a_failing_command_is_named_with_its_status() {
        let install = Install { commands: vec![vec!["sh".into(), "-c".into(), "exit 3".into()]], debian: false };
        let message = install.run().unwrap_err().to_string();
        assert!(message.contains("`sh -c exit 3` ended with exit status: 3"), "{message}");
    }
}
