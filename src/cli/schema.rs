//! `goldseam schema`.

use clap::ValueEnum;

use super::Failure;

/// Print the JSON Schema of a file you write, so that your editor completes and checks it
///
/// It is made from the types that read the file, so it is never out of date. Editors with the Taplo language server take it from a
/// first line such as `#:schema ./goldseam.schema.json`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Which file
    file: File,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum File {
    /// goldseam.toml: the server
    Config,
    /// vschema/*.toml: the layout
    Vschema,
}

pub fn execute(arguments: &Arguments) -> Result<u8, Failure> {
    let schema = match arguments.file {
        File::Config => crate::config::json_schema(),
        File::Vschema => crate::vschema::json_schema(),
    };
    super::print(&serde_json::to_string_pretty(&schema).map_err(Failure::new)?)
}
