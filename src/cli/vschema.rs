//! `goldseam vschema`.

use clap::{Subcommand, ValueEnum};

use super::{ConfigFile, Failure};

/// Look at the layout of your tables
#[derive(Debug, Subcommand)]
pub enum Arguments {
    /// Print the vschema that the configuration names, all files merged and validated
    Show {
        #[command(flatten)]
        file: ConfigFile,
        /// How to print it
        #[arg(long, value_enum, default_value = "toml")]
        format: Notation,
    },
}

/// A notation for the layout.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Notation {
    /// As operators write it.
    Toml,
    /// For programs.
    Json,
}

pub fn execute(arguments: &Arguments) -> Result<u8, Failure> {
    let Arguments::Show { file, format } = arguments;
    let vschema = super::load_files(file)?.vschema;
    match format {
        Notation::Toml => super::print(&vschema.to_toml()),
        Notation::Json => super::print(&serde_json::to_string_pretty(&vschema.to_json()).map_err(Failure::new)?),
    }
}
