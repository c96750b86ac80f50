//! What a server last reported of its settings (`GUC_REPORT`: time zone, encoding, application name ...).

/// Reported settings by name, as they are spelled in ParameterStatus (`TimeZone`, `client_encoding`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters {
    /// A dozen or so: sorted, and searched by halving.
    entries: Vec<(Box<str>, Box<str>)>,
}

impl Parameters {
    /// A setting's reported value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).ok().map(|index| &*self.entries[index].1)
    }

    /// Takes a report; says whether it changed anything.
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        match self.find(name) {
            Ok(index) if &*self.entries[index].1 == value => return false,
            Ok(index) => self.entries[index].1 = value.into(),
            Err(index) => self.entries.insert(index, (name.into(), value.into())),
        }
        true
    }

    /// All of them, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (&**name, &**value))
    }

    /// What somebody who believes `known` has to be told so as to believe this.
    pub fn news_for<'a>(&'a self, known: &'a Parameters) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter().filter(|&(name, value)| known.get(name) != Some(value))
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|(found, _)| (**found).cmp(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_news_are_told() {
        let (mut server, mut client) = (Parameters::default(), Parameters::default());
        assert!(server.set("TimeZone", "UTC"));
        assert!(server.set("DateStyle", "ISO, MDY"));
        assert!(!server.set("TimeZone", "UTC"));
        client.set("TimeZone", "Asia/Tokyo");
        client.set("DateStyle", "ISO, MDY");
        assert_eq!(server.news_for(&client).collect::<Vec<_>>(), [("TimeZone", "UTC")]);
        assert_eq!(server.get("DateStyle"), Some("ISO, MDY"));
    }
}
