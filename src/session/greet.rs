//! The first words to a client that has logged in.

use super::{Over, Session, Trouble, settings};
use crate::backend;
use crate::protocol::encode;

impl Session {
    /// Settings, key and the first ReadyForQuery. Settings that the client asked for at startup and that servers report are applied on a
    /// backend first, because only a server knows how it prints them.
    pub(super) async fn greet(&mut self) -> Result<(), Over> {
        // The login's last word (the server's SCRAM signature) waits to be sent with the rest; what attaching reports is said below.
        let login = self.client.outgoing.len();
        let trusted = |name: &str| matches!(name, "application_name" | "extra_float_digits");
        if self.base.server.iter().any(|(name, _)| !trusted(name)) {
            let shard = self.any_shard(None);
            match self.attach(shard).await {
                Ok(()) => {
                    if let Some(index) = self.attached {
                        self.reported = self.held[index].lease.parameters.clone();
                    }
                }
                Err(Trouble::Refused(mut error)) => {
                    error.severity = crate::error::Severity::Fatal;
                    return Err(Over::Fatal(error));
                }
                Err(Trouble::Skipped | Trouble::Failed(_)) => {}
                Err(Trouble::Over(over)) => return Err(over),
            }
            self.detach();
            self.decode = settings::decode_context(&self.reported);
        } else if let Some(backend::Value::Plain(name) | backend::Value::Sql(name)) =
            self.base.server.get("application_name")
        {
            self.reported.set("application_name", name);
        }
        self.client.outgoing.truncate(login);
        encode::authentication_ok(&mut self.client.outgoing);
        for (name, value) in self.reported.iter() {
            encode::parameter_status(&mut self.client.outgoing, name, value);
        }
        encode::backend_key_data(&mut self.client.outgoing, self.handle.pid, &self.handle.secret());
        encode::ready_for_query(&mut self.client.outgoing, b'I');
        Ok(())
    }
}
