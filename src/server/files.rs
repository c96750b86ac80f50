//! The operator's two files, read from disk: the only place where `config` and `vschema`, which do no I/O, meet the file system.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::vschema::{self, Vschema};

/// A configuration and the vschema it names.
#[derive(Debug)]
pub struct Files {
    /// The server.
    pub config: Config,
    /// The layout.
    pub vschema: Vschema,
    /// Every file and folder that was read: a change of one of them is a reason to read all again.
    pub read: Vec<PathBuf>,
}

/// A file that is refused: its name, the line where there is one, and a hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Mistake(pub String);

fn refuse(path: &Path, why: &dyn Display) -> Mistake {
    Mistake(format!("{}: {why}", path.display()))
}

/// Reads both.
pub fn load(path: &Path) -> Result<Files, Mistake> {
    let config = config(path)?;
    let sources = sources(&config.vschema)?;
    let vschema = vschema::load(&sources, &config.shard_names()).map_err(|error| Mistake(error.to_string()))?;
    let mut read = vec![path.to_path_buf(), config.vschema.clone()];
    if let Some(tls) = &config.tls {
        read.extend([tls.cert.clone(), tls.key.clone()]);
    }
    Ok(Files { config, vschema, read })
}

/// Reads the configuration alone. Files with secrets and certificates are found relative to its folder.
pub fn config(path: &Path) -> Result<Config, Mistake> {
    let text = fs::read_to_string(path).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "\n  hint: name it with --config FILE; `goldseam demo` needs none",
            _ => "",
        };
        Mistake(format!("{}: {error}{hint}", path.display()))
    })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let read = |file: &str| fs::read_to_string(folder.join(file));
    Config::parse(&path.display().to_string(), &text, &read, &|name| std::env::var(name).ok())
        .map_err(|error| Mistake(error.to_string()))
}

/// The text of a vschema file, or of all `.toml` files of a folder in the order of their names.
fn sources(path: &Path) -> Result<Vec<(String, String)>, Mistake> {
    let mut paths: Vec<PathBuf> = if path.is_dir() {
        let entries = fs::read_dir(path).map_err(|error| refuse(path, &error))?;
        entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .collect()
    } else {
        vec![path.to_path_buf()]
    };
    if paths.is_empty() {
        return Err(refuse(path, &"no .toml file in this folder"));
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(|error| refuse(&path, &error))?;
        Ok((path.display().to_string(), text))
    };
    paths.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named_with_a_way_out() {
        let mistake = config(Path::new("/nowhere/goldseam.toml")).unwrap_err().to_string();
        assert!(mistake.contains("/nowhere/goldseam.toml") && mistake.contains("--config"), "{mistake}");
    }

    #[test]
    fn a_relative_path_is_relative_to_where_the_operator_stands() {
        let folder = tempfile::tempdir().unwrap();
        // Up to the root, and down again.
        let up = "../".repeat(std::env::current_dir().unwrap().components().count() - 1);
        let conf = Path::new(&up).join(folder.path().strip_prefix("/").unwrap()).join("conf");
        fs::create_dir(&conf).unwrap();
        fs::write(conf.join("layout.toml"), "[keyspace.main]\nshards = [\"s0\"]\n").unwrap();
        let text = "listen = \"127.0.0.1:0\"\nvschema = \"layout.toml\"\n[auth]\nmethod = \"trust\"\n[shard.s0]\nprimary = \"postgres://a@127.0.0.1/b\"\n";
        fs::write(conf.join("goldseam.toml"), text).unwrap();
        assert!(conf.is_relative());
        load(&conf.join("goldseam.toml")).unwrap();
    }

    #[test]
    fn a_folder_gives_its_toml_files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.toml", "a.toml", "notes.txt"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let texts: Vec<String> = sources(folder.path()).unwrap().into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["a.toml", "b.toml"]);
    }
}
