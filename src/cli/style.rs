//! Colour, only where a person reads: on a terminal that wants it.

use std::fmt::Display;
use std::io::IsTerminal;

/// Wraps text in colours, or leaves it as it is.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// For standard output.
    pub fn stdout() -> Paint {
        Paint { on: wanted(std::io::stdout().is_terminal()) }
    }

    /// For standard error.
    pub fn stderr() -> Paint {
        Paint { on: wanted(std::io::stderr().is_terminal()) }
    }

    /// Whether there is colour at all.
    pub fn is_on(self) -> bool {
        self.on
    }

    /// Errors.
    pub fn red(self, text: impl Display) -> String {
        self.wrap("31;1", text)
    }

    /// What is well.
    pub fn green(self, text: impl Display) -> String {
        self.wrap("32", text)
    }

    /// Warnings.
    pub fn yellow(self, text: impl Display) -> String {
        self.wrap("33;1", text)
    }

    /// What to look at first.
    pub fn bold(self, text: impl Display) -> String {
        self.wrap("1", text)
    }

    /// What may be skipped.
    pub fn dim(self, text: impl Display) -> String {
        self.wrap("2", text)
    }

    fn wrap(self, code: &str, text: impl Display) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// <https://no-color.org>: any non-empty value turns colour off.
fn wanted(terminal: bool) -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    terminal && !forbidden && !dumb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_only_where_colour_is_on() {
        assert_eq!(Paint { on: true }.green("ok"), "\x1b[32mok\x1b[0m");
        assert_eq!(Paint { on: false }.green("ok"), "ok");
        assert!(!wanted(false));
    }
}
