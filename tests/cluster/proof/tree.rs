//! A statement as a tree of words that knows which parts may go: enough to make a failing statement smaller without a grammar. Whether what
//! is left still is a statement, a server says.

/// A part of a statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// As it is.
    Word(String),
    /// One after the other.
    Seq(Vec<Node>),
    /// It may go.
    Maybe(Box<Node>),
    /// Items between which a word stands, and a word before all; each item may go but so many of the last, and at least one stays
    /// unless the list may be empty.
    List { before: &'static str, between: &'static str, items: Vec<Node>, fixed: usize, may_be_empty: bool },
    /// Something, and simpler things that may stand in its place.
    Either(Box<Node>, Vec<Node>),
}

/// A word.
pub fn word(text: impl Into<String>) -> Node {
    Node::Word(text.into())
}

/// A part that may go.
pub fn maybe(node: Node) -> Node {
    Node::Maybe(Box::new(node))
}

/// Terms of AND after WHERE, ON or HAVING, of which all may go.
pub fn terms(before: &'static str, items: Vec<Node>) -> Node {
    Node::List { before, between: " AND ", items, fixed: 0, may_be_empty: true }
}

/// Items with commas; one stays.
pub fn commas(before: &'static str, items: Vec<Node>) -> Node {
    Node::List { before, between: ", ", items, fixed: 0, may_be_empty: false }
}

impl Node {
    /// The text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Node::Word(text) => {
                if !out.is_empty() && !out.ends_with([' ', '(']) && !text.starts_with([')', ',']) {
                    out.push(' ');
                }
                *out += text;
            }
            Node::Seq(parts) => parts.iter().for_each(|part| part.write(out)),
            Node::Maybe(part) | Node::Either(part, _) => part.write(out),
            Node::List { items, .. } if items.is_empty() => {}
            Node::List { before, between, items, .. } => {
                word(*before).write(out);
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        *out += between;
                    }
                    item.write(out);
                }
            }
        }
    }

    /// All trees that are one step smaller.
    pub fn smaller(&self) -> Vec<Node> {
        match self {
            Node::Word(_) => Vec::new(),
            Node::Seq(parts) => Self::one_smaller(parts).into_iter().map(Node::Seq).collect(),
            Node::Maybe(part) => {
                let within = part.smaller().into_iter().map(maybe);
                std::iter::once(Node::Seq(Vec::new())).chain(within).collect()
            }
            Node::Either(part, simpler) => {
                let within = part.smaller().into_iter().map(|part| Node::Either(Box::new(part), simpler.clone()));
                simpler.iter().cloned().chain(within).collect()
            }
            Node::List { before, between, items, fixed, may_be_empty } => {
                let (before, between, fixed, may_be_empty) = (*before, *between, *fixed, *may_be_empty);
                let list = |items: Vec<Node>| Node::List { before, between, items, fixed, may_be_empty };
                let mut found = Vec::new();
                if items.len() > 1 || may_be_empty {
                    for at in 0..items.len().saturating_sub(fixed) {
                        let mut fewer = items.clone();
                        fewer.remove(at);
                        found.push(list(fewer));
                    }
                }
                found.extend(Self::one_smaller(items).into_iter().map(list));
                found
            }
        }
    }

    /// All lists in which one part is one step smaller.
    fn one_smaller(parts: &[Node]) -> Vec<Vec<Node>> {
        let mut found = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            for smaller in part.smaller() {
                let mut copy = parts.to_vec();
                copy[at] = smaller;
                found.push(copy);
            }
        }
        found
    }
}
