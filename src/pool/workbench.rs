//! The server that is the workbench and no shard: connections to it, and whether a query's rest means the same there as on a shard.
//!
//! It means the same if version, encoding, collation and PostgreSQL's own types are the same, if a login finds the same settings there, and if
//! the server has no functions, operators and casts but PostgreSQL's own: then what is the users' is unknown there, and a statement that needs it
//! does not parse. This is asked once a minute for each login, at start for Goldseam's own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::shard::ShardPool;
use super::{GREETING_LIFETIME, Lease, Pools};
use crate::backend::{Login, Settings};
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// By login, when it was made; what differs.
pub(super) type Judgements = HashMap<Arc<Login>, (Instant, Result<(), PgError>)>;

/// What has to be the same: names of facts, and facts. Numbers of types below 10,000 are PostgreSQL's, above they are each server's
/// (`FirstGenbkiObjectId`).
const FACTS: &str = "\
SELECT 'version', pg_catalog.current_setting('server_version_num')
UNION ALL SELECT 'encoding', pg_catalog.pg_encoding_to_char(d.encoding) FROM d
UNION ALL SELECT 'collation', d.datcollate FROM d
UNION ALL SELECT 'character classification', d.datctype FROM d
UNION ALL SELECT 'collation provider', COALESCE(pg_catalog.to_jsonb(d)->>'datlocprovider', 'c') FROM d
UNION ALL SELECT 'locale', COALESCE(pg_catalog.to_jsonb(d)->>'daticulocale', pg_catalog.to_jsonb(d)->>'datlocale', '') FROM d
UNION ALL SELECT 'collation version', COALESCE(pg_catalog.to_jsonb(d)->>'datcollversion', '') FROM d
UNION ALL SELECT 'types', pg_catalog.md5(pg_catalog.string_agg(t.oid || ' ' || t.typname, ',' ORDER BY t.oid)) FROM pg_catalog.pg_type t
          WHERE t.oid < 10000
UNION ALL SELECT 'setting ' || s.name, s.setting FROM pg_catalog.pg_settings s WHERE s.name IN ('DateStyle', 'IntervalStyle',
    'TimeZone', 'array_nulls', 'backslash_quote', 'bytea_output', 'client_encoding', 'default_text_search_config', 'extra_float_digits',
    'integer_datetimes', 'lc_messages', 'lc_monetary', 'lc_numeric', 'lc_time', 'quote_all_identifiers', 'standard_conforming_strings',
    'timezone_abbreviations', 'transform_null_equals', 'xmlbinary', 'xmloption')
ORDER BY 1";

/// What nothing but the workbench has to answer for.
const OWN: &str = "\
SELECT 'functions, operators or casts of its own', EXISTS (SELECT FROM pg_catalog.pg_proc WHERE oid >= 16384)
    OR EXISTS (SELECT FROM pg_catalog.pg_operator WHERE oid >= 16384) OR EXISTS (SELECT FROM pg_catalog.pg_cast WHERE oid >= 16384)
UNION ALL SELECT 'no right to make temporary tables (TEMPORARY) for this user',
    NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY')
UNION ALL SELECT 'no way to write: it is a standby', pg_catalog.pg_is_in_recovery()";

impl Pools {
    /// Whether there is such a server at all.
    pub fn has_workbench(&self) -> bool {
        self.current.load().workbench.is_some()
    }

    /// A connection to it at once, beyond the pool's size, as [`Pools::extra`]. Errors: it cannot be reached, does not know the login, or is not
    /// like the shards (`55000`).
    ///
    /// # Cancel safety
    /// As [`Pools::checkout`].
    pub async fn workbench(&self, login: &Arc<Login>) -> Result<Lease, PgError> {
        let pool = self.bench_pool()?;
        self.judge_workbench(login, &pool.info().service).await?;
        self.bench_lease(&pool, login).await
    }

    /// What is wrong with it, by Goldseam's own login.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn check_workbench(&self) -> Result<(), PgError> {
        let service = self.bench_pool()?.info().service.clone();
        self.judge_workbench(&service, &service).await
    }

    fn bench_pool(&self) -> Result<Arc<ShardPool>, PgError> {
        let pool = self.current.load().workbench.clone();
        pool.ok_or_else(|| PgError::new(SqlState::INTERNAL_ERROR, "there is no workbench of its own"))
    }

    async fn bench_lease(&self, pool: &Arc<ShardPool>, login: &Arc<Login>) -> Result<Lease, PgError> {
        if let Some(lease) = pool.try_checkout(login) {
            return Ok(lease);
        }
        let (user, options) = (self.user(&login.user), self.current.load().topology.options().clone());
        pool.extra(login, user).connect(&options).await
    }

    /// `service`: the workbench's own login; on a shard the shard's takes its place.
    async fn judge_workbench(&self, login: &Arc<Login>, service: &Arc<Login>) -> Result<(), PgError> {
        if let Some((since, judgement)) = self.judgements.lock().get(login)
            && since.elapsed() < GREETING_LIFETIME
        {
            return judgement.clone();
        }
        let pool = self.bench_pool()?;
        let mut lease = self.bench_lease(&pool, login).await?;
        let (theirs, own) = (facts(&mut lease, FACTS).await?, lease.query(OWN).await?);
        lease.release();
        let (name, ours) = self.facts_of_a_shard(login, login == service).await?;
        let judgement = judge(&name, &ours, &theirs, &own);
        if let Err(error) = &judgement {
            tracing::warn!(user = login.user, %error, "the workbench's server is not used");
        }
        let mut judgements = self.judgements.lock();
        judgements.retain(|_, (since, _)| since.elapsed() < GREETING_LIFETIME);
        judgements.insert(login.clone(), (Instant::now(), judgement.clone()));
        judgement
    }

    /// The facts of the first shard that tells them, and its name.
    async fn facts_of_a_shard(&self, login: &Arc<Login>, by_service: bool) -> Result<(String, Facts), PgError> {
        let shards = self.topology().shards.clone();
        let mut first_error = None;
        for shard in shards {
            let login = if by_service { &shard.service } else { login };
            match self.facts_of(shard.id, login).await {
                Ok(facts) => return Ok((shard.name.to_string(), facts)),
                Err(error) => _ = first_error.get_or_insert(error),
            }
        }
        Err(first_error.unwrap_or_else(|| PgError::new(SqlState::CANNOT_CONNECT_NOW, "no shard is configured")))
    }

    async fn facts_of(&self, shard: ShardId, login: &Arc<Login>) -> Result<Facts, PgError> {
        let mut lease = self.extra(shard, login).await?;
        let facts = facts(&mut lease, FACTS).await?;
        lease.release();
        Ok(facts)
    }
}

type Facts = Vec<Vec<Option<String>>>;

/// What a login finds that has set nothing.
async fn facts(lease: &mut Lease, question: &str) -> Result<Facts, PgError> {
    lease.sync_settings(&Settings::none()).await?;
    let database = "WITH d AS (SELECT * FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) ";
    lease.query(&format!("{database}{question}")).await
}

fn judge(shard: &str, ours: &Facts, theirs: &Facts, own: &Facts) -> Result<(), PgError> {
    let refuse = |detail: String| {
        Err(PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "the workbench's server is not like the shards")
            .with_detail(detail)
            .with_hint("What runs there must mean the same on a shard: see server of [workbench]."))
    };
    let text = |row: &[Option<String>], at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    for one in ours {
        let name = text(one, 0);
        let there = theirs.iter().find(|row| text(row, 0) == name).map(|row| text(row, 1)).unwrap_or_default();
        if there != text(one, 1) {
            return refuse(format!("Its {name} is \"{there}\", that of shard \"{shard}\" \"{}\".", text(one, 1)));
        }
    }
    match own.iter().find(|row| text(row, 1) != "f") {
        Some(row) => refuse(format!("It has {}.", text(row, 0))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let row = |name: &str, value: &str| vec![Some(name.to_owned()), Some(value.to_owned())];
        let ours = vec![row("version", "150004"), row("encoding", "UTF8")];
        let own = vec![row("casts", "f")];
        assert_eq!(judge("s0", &ours, &ours, &own), Ok(()));
        let theirs = vec![row("version", "150004"), row("encoding", "LATIN1")];
        let error = judge("s0", &ours, &theirs, &own).unwrap_err();
        assert_eq!(error.detail.as_deref(), Some("Its encoding is \"LATIN1\", that of shard \"s0\" \"UTF8\"."));
        let error = judge("s0", &ours, &ours, &vec![row("casts", "t")]).unwrap_err();
        assert_eq!(error.detail.as_deref(), Some("It has casts."));
    }
}
