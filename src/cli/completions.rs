//! `goldseam completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::Failure;

/// Print a completion script for your shell
///
/// For bash: goldseam completions bash > ~/.local/share/bash-completion/completions/goldseam.
/// For zsh: into a folder of $fpath as _goldseam. For fish: into ~/.config/fish/completions/goldseam.fish.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Which shell
    shell: Shell,
}

pub fn execute(arguments: &Arguments) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::Arguments::command(), "goldseam", &mut script);
    super::print(&String::from_utf8_lossy(&script))
}
