//! The operator's two files for the subcommands: read by [`crate::server::files`], and a mistake in them is a usage error.

use std::path::Path;

use super::Failure;
use crate::config::Config;
use crate::server::files;
pub use crate::server::files::Files;

/// Reads both; a file that is refused is named with its line and a hint.
pub fn load(path: &Path) -> Result<Files, Failure> {
    files::load(path).map_err(Failure::usage)
}

/// Reads the configuration alone.
pub fn config(path: &Path) -> Result<Config, Failure> {
    files::config(path).map_err(Failure::usage)
}
