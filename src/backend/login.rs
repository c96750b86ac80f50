//! As whom a server connection is logged in: what pools are kept apart by.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::config::{Secret, Server};

/// A user, a password and a database on a server. Equal logins share connections.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The role's name on the server.
    pub user: String,
    /// Its password; none where the server trusts.
    pub password: Option<Secret>,
    /// The database; `None`: the one of the server's own URL.
    pub database: Option<String>,
}

impl Login {
    /// A login to the database that each server's URL names.
    pub fn new(user: impl Into<String>, password: Option<Secret>) -> Self {
        Login { user: user.into(), password, database: None }
    }

    /// Goldseam's own login to a server. It names the database, so that it never equals a client's: sessions that hold all their
    /// connections while they wait for a look-up of ours would otherwise wait for themselves.
    pub fn service(server: &Server) -> Self {
        Login { database: Some(server.database.clone()), ..Login::new(server.user.clone(), server.password.clone()) }
    }
}

impl Hash for Login {
    /// Without the password: equal logins have equal hashes all the same.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.user.hash(state);
        self.database.hash(state);
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.database.as_deref().unwrap_or("*"))
    }
}
