//! The vschema changed from within: the operator's files and what is in force, together.
//!
//! The files are the truth, and they are edited, not replaced: comments and order stay. A change is made to the texts, the result is read and
//! validated as any vschema is, the files are replaced one by one by renaming, and then the new vschema is put in force for all sessions, whose
//! plans are of the old one from then on and are not found any more.
//!
//! A file that does not say what is in force (somebody is editing it, or has broken it) is not touched: that is the operator's to put right first.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::shared::{Shared, State};
use crate::error::PgError;
use crate::pool::Directories;
use crate::sqlstate::SqlState;
use crate::vschema::alter::{self, Change};
use crate::vschema::{self, LayoutError, Vschema};

/// The files as they were before a change.
#[derive(Debug)]
pub(super) struct Before {
    files: Vec<(String, String)>,
}

/// Makes changes, for good and for all.
///
/// # Errors
/// The files cannot be read or written, or say something else than what is in force (55000); the result is no vschema (22023).
///
/// # Cancel safety
/// Dropped half-way some files may be new: each of them is whole, and the files are read again when they change.
pub(super) async fn change(shared: &Arc<Shared>, changes: &[Change]) -> Result<Before, PgError> {
    let _alone = shared.layout.lock().await;
    let state = shared.state.load_full();
    let files = read(&state.config.vschema).await?;
    let current = vschema::load(&files, &state.config.shard_names()).map_err(|error| conflict(&error.to_string()))?;
    if current.source != state.vschema.source {
        return Err(conflict("Its file has been changed, and that has not come into force yet."));
    }
    let new = alter::apply(&files, changes)?;
    let vschema = vschema::load(&new, &state.config.shard_names()).map_err(|error| invalid(&error))?;
    write(&files, &new).await?;
    put_in_force(shared, &state, vschema).await;
    Ok(Before { files })
}

/// Takes a change back, because what it was about has not come to be.
pub(super) async fn restore(shared: &Arc<Shared>, before: Before) {
    let _alone = shared.layout.lock().await;
    let state = shared.state.load_full();
    let result = async {
        let files = read(&state.config.vschema).await?;
        let vschema = vschema::load(&before.files, &state.config.shard_names()).map_err(|error| invalid(&error))?;
        write(&files, &before.files).await?;
        put_in_force(shared, &state, vschema).await;
        Ok::<(), PgError>(())
    };
    if let Err(error) = result.await {
        tracing::warn!(%error, "the vschema names a table whose transaction was rolled back");
    }
}

async fn put_in_force(shared: &Arc<Shared>, state: &Arc<State>, mut vschema: Vschema) {
    vschema.version = state.vschema.version + 1;
    let names = |vschema: &Vschema| vschema.vindexes.iter().map(|vindex| vindex.name.clone()).collect::<Vec<_>>();
    let directories = if names(&vschema) == names(&state.vschema) {
        state.directories.clone()
    } else {
        let directories = Directories::new(&vschema, shared.pools.clone());
        for error in directories.prepare().await {
            tracing::warn!(%error, "a directory is not ready; it is tried again when it is used");
        }
        directories
    };
    let vschema = Arc::new(vschema);
    shared.state.store(Arc::new(State { vschema, directories, ..State::clone(state) }));
}

/// The files of a vschema: one, or all of a folder in the order of their names.
async fn read(path: &Path) -> Result<Vec<(String, String)>, PgError> {
    let failed = |path: &Path, error: &std::io::Error| {
        PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "the vschema file cannot be read")
            .with_detail(format!("{}: {error}", path.display()))
    };
    let mut paths = vec![path.to_path_buf()];
    if path.is_dir() {
        paths.clear();
        let mut entries = tokio::fs::read_dir(path).await.map_err(|error| failed(path, &error))?;
        while let Some(entry) = entries.next_entry().await.map_err(|error| failed(path, &error))? {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
    }
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let text = tokio::fs::read_to_string(&path).await.map_err(|error| failed(&path, &error))?;
        files.push((path.display().to_string(), text));
    }
    Ok(files)
}

/// Replaces the files that differ; each is as it was or as it will be, at any time.
async fn write(old: &[(String, String)], new: &[(String, String)]) -> Result<(), PgError> {
    for ((name, before), (_, after)) in old.iter().zip(new) {
        if before == after {
            continue;
        }
        let path = PathBuf::from(name);
        let failed = |error: std::io::Error| {
            PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "the vschema file cannot be written")
                .with_detail(format!("{}: {error}", path.display()))
                .with_hint("Goldseam needs the right to write the file and its folder.")
        };
        let text = tokio::fs::read_to_string(&path).await.map_err(failed)?;
        if text != *before {
            return Err(conflict("Its file was changed at the same time."));
        }
        let mut temporary = path.clone().into_os_string();
        // Not `.toml`: a folder's reader must not take it for a file of its own.
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        let rights = tokio::fs::metadata(&path).await.map_err(failed)?.permissions();
        let outcome = async {
            tokio::fs::write(&temporary, after).await?;
            tokio::fs::set_permissions(&temporary, rights).await?;
            tokio::fs::File::open(&temporary).await?.sync_all().await?;
            tokio::fs::rename(&temporary, &path).await
        };
        outcome.await.map_err(failed)?;
    }
    Ok(())
}

fn conflict(detail: &str) -> PgError {
    PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "the vschema cannot be changed now")
        .with_detail(detail.to_owned())
        .with_hint("Put the file right and RELOAD, then try again.")
}

/// A change whose result is no vschema.
pub(super) fn invalid(error: &LayoutError) -> PgError {
    let mut refused = PgError::new(SqlState::INVALID_PARAMETER_VALUE, error.message.clone());
    refused.detail = Some("The vschema would not be valid with it, and stays as it is.".into());
    refused.hint = error.hint.clone();
    refused
}
