//! Logs on standard error: lines for people or one JSON object per line for machines.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use super::{Failure, Shared, style::Paint};
use crate::config::{Log, LogFormat};

/// Starts logging as the file says, and as the command line says where it says something.
pub fn start(file: &Log, shared: &Shared) -> Result<(), Failure> {
    let level = shared.log_level.as_deref().unwrap_or(&file.level);
    let format = shared.log_format.map_or(file.format, LogFormat::from);
    let filter = EnvFilter::try_new(level).map_err(|error| Failure::usage(format!("log level {level:?}: {error}")))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Plain => lines.with_ansi(Paint::stderr().is_on()).with_target(false).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(Failure::new)
}
