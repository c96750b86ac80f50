//! Servers that refuse, die, or come back in the middle.
