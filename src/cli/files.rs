//! The operator's two files, read from disk: the only place where `config` and `vschema`, which do no I/O, meet the file system.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::config::Config;
use crate::vschema::{self, Vschema};

/// A configuration and the vschema it names.
#[derive(Debug)]
pub struct Files {
    /// The server.
    pub config: Config,
    /// The layout.
    pub vschema: Vschema,
}

/// Reads both; a file that is refused is named with its line and a hint.
pub fn load(path: &Path) -> Result<Files, Failure> {
    let config = config(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let sources = sources(&folder.join(&config.vschema))?;
    let vschema = vschema::load(&sources, &config.shard_names()).map_err(Failure::usage)?;
    Ok(Files { config, vschema })
}

/// Reads the configuration alone. Files with secrets are found relative to its folder.
pub fn config(path: &Path) -> Result<Config, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "\n  hint: name it with --config FILE; `goldseam demo` needs none",
            _ => "",
        };
        Failure::usage(format!("{}: {error}{hint}", path.display()))
    })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let read = |file: &str| fs::read_to_string(folder.join(file));
    Config::parse(&path.display().to_string(), &text, &read, &|name| std::env::var(name).ok()).map_err(Failure::usage)
}

/// The text of a vschema file, or of all `.toml` files of a folder in the order of their names.
fn sources(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    let refuse = |path: &Path, why: &dyn std::fmt::Display| Failure::usage(format!("{}: {why}", path.display()));
    let mut paths: Vec<PathBuf> = if path.is_dir() {
        let entries = fs::read_dir(path).map_err(|e| refuse(path, &e))?;
        entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|p| p.extension().is_some_and(|e| e == "toml"))
            .collect()
    } else {
        vec![path.to_path_buf()]
    };
    if paths.is_empty() {
        return Err(refuse(path, &"no .toml file in this folder"));
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(|e| refuse(&path, &e))?;
        Ok((path.display().to_string(), text))
    };
    paths.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named_with_a_way_out() {
        let failure = config(Path::new("/nowhere/goldseam.toml")).unwrap_err();
        assert!(failure.message.contains("/nowhere/goldseam.toml"), "{}", failure.message);
        assert!(failure.message.contains("--config"), "{}", failure.message);
        assert_eq!(failure.code, super::super::USAGE);
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
