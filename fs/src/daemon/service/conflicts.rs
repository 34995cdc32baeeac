//! Owns conflicts as people see them: the open ones with their paths, and what becomes of one that they decide on.

use super::MountService;
use crate::control::messages::{Choice, ConflictRow, Resolved};
use crate::control::{Failure, MountPath, rfc3339};
use crate::daemon::parts::Parts;
use crate::journal::JournalError;
use crate::meta::ConflictRecord;
use crate::meta::rows::Ino;
use crate::remote::RemoteError;
use crate::tree::{SeenOfConflict, Tree};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::api::{Keep, ResolveRequest, ResolveResponse};
use tarn_proto::change::{ConflictState, Cursor};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::ConflictId;
use tarn_proto::name::Name;
use tokio::task::spawn_blocking;

/// Names that are tried for a version that gets a file of its own.
const NAMES_MAX: u32 = 20;
/// How long the news of a resolution may take to come here.
const NEWS_WAIT: Duration = Duration::from_secs(10);
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// An open conflict and where its files are.
#[derive(Debug, Clone)]
struct Found {
    record: ConflictRecord,
    file: Option<(Ino, String)>,
    sibling: Option<(Ino, String)>,
}

impl Found {
    fn row(&self) -> ConflictRow {
        let path = |place: &Option<(Ino, String)>| place.as_ref().map(|(_, path)| path.clone());
        ConflictRow {
            id: self.record.conflict.to_string(),
            path: path(&self.file).unwrap_or_default(),
            sibling: path(&self.sibling),
            device: self.record.state.device_name.clone(),
            time: rfc3339(self.record.state.time),
        }
    }

    fn is_at(&self, ino: Ino) -> bool {
        [&self.file, &self.sibling].into_iter().flatten().any(|(at, _)| *at == ino)
    }

    /// What to call it.
    fn name(&self) -> String {
        let place = self.file.as_ref().or(self.sibling.as_ref());
        place.map_or_else(|| self.record.conflict.to_string(), |(_, path)| path.clone())
    }
}

/// All open conflicts, oldest first. Looks at the disk.
fn open(parts: &Parts) -> Result<Vec<Found>, JournalError> {
    // An answer that was applied a moment ago may still be on its way into the database.
    parts.journal.drain()?;
    let mut records = parts.journal.readers().get()?.conflicts()?;
    records.sort_by_key(|record| (record.state.time, record.seq));
    let place = |node| {
        let (ino, path) = parts.tree.place_of(node).ok().flatten()?;
        Some((ino, String::from_utf8_lossy(path.strip_prefix(b"/").unwrap_or(&path)).into_owned()))
    };
    let found = records.into_iter().map(|record| {
        let (file, sibling) = (place(record.state.node), record.state.sibling.and_then(place));
        Found { record, file, sibling }
    });
    Ok(found.collect())
}

impl MountService {
    async fn found_conflicts(&self) -> Result<Vec<Found>, Failure> {
        let parts = Arc::clone(&self.parts);
        let found = spawn_blocking(move || open(&parts)).await;
        found.map_err(Failure::failed)?.map_err(Failure::failed)
    }

    pub(super) async fn open_conflicts(&self, path: &MountPath) -> Result<Vec<ConflictRow>, Failure> {
        let below = path.to_path();
        let is_below = |path: &str| Path::new(path).starts_with(&below);
        let rows = self.found_conflicts().await?.into_iter().map(|found| found.row());
        Ok(rows.filter(|row| is_below(&row.path) || row.sibling.as_deref().is_some_and(is_below)).collect())
    }

    /// The one conflict that is meant.
    async fn chosen(&self, path: &MountPath, conflict: Option<&str>) -> Result<Found, Failure> {
        let mut found = self.found_conflicts().await?;
        if let Some(id) = conflict {
            found.retain(|found| found.record.conflict.to_string() == id);
            return found.pop().ok_or_else(|| Failure::failed(format_args!("there is no open conflict {id}")));
        }
        let ino = self.find(path).await?;
        found.retain(|found| found.is_at(ino));
        let others: Vec<String> = found.iter().filter_map(|found| Some(found.sibling.as_ref()?.1.clone())).collect();
        let (one, more) = (found.pop(), !found.is_empty());
        let shown = self.shown(path);
        match one {
            None => Err(Failure::failed(format_args!("{shown} is in no open conflict: see `tarn conflicts`"))),
            Some(_) if more => {
                let others = others.join(", ");
                Err(Failure::failed(format_args!("{shown} is in several conflicts: name one of {others}, or use --id")))
            }
            Some(one) => Ok(one),
        }
    }

    /// Resolves a conflict once what was done to its files is on the server.
    pub(super) async fn resolve_conflict(
        &self,
        path: &MountPath,
        conflict: Option<&str>,
        choice: Choice,
    ) -> Result<Resolved, Failure> {
        // Of which history what is found is: the server may be put back meanwhile.
        let cursor = self.parts.tree.cursor();
        let found = self.chosen(path, conflict).await?;
        for (ino, _) in [&found.file, &found.sibling].into_iter().flatten() {
            self.sent(*ino).await?;
        }
        let own = self.identity.credentials().device;
        let keep = match choice {
            Choice::Both => Keep::Both,
            Choice::Merged => Keep::Merged,
            Choice::Mine if found.record.state.device == own => Keep::Theirs,
            Choice::Theirs if found.record.state.device != own => Keep::Theirs,
            Choice::Mine | Choice::Theirs => Keep::Stayed,
        };
        let response = self.ask_to_resolve(&found, keep, cursor).await?;
        self.news_of(found.record.conflict).await?;
        let resolution = response.resolution;
        Ok(Resolved {
            path: found.name(),
            keep: resolution.keep,
            device: found.record.state.device_name.clone(),
            before_by: (resolution.device != own).then_some(resolution.device_name),
            is_as_wanted: resolution.keep == keep,
        })
    }

    async fn ask_to_resolve(
        &self,
        found: &Found,
        keep: Keep,
        cursor: Option<Cursor>,
    ) -> Result<ResolveResponse, Failure> {
        let name = found.name();
        for tries in 0..NAMES_MAX {
            let (seen, alt_name) = self.seen_of(&found.record.state, tries).await?;
            let request = ResolveRequest { cursor, alt_name, ..seen.request(keep) };
            match self.identity.remote.resolve(found.record.conflict, &request).await {
                Ok(response) => return Ok(response),
                Err(RemoteError::Refused { code: ErrorCode::AlreadyExists, .. }) => {}
                Err(RemoteError::Refused { code: ErrorCode::Stale, .. }) => {
                    let say = "one of the two versions has changed meanwhile: look at both, and resolve it again";
                    return Err(Failure::failed(format_args!("{name}: {say}")));
                }
                Err(RemoteError::Refused { code: ErrorCode::EpochChanged, .. }) => {
                    let say = "the server was put back to a backup, and what it lacks is being brought back: look at both \
                               versions in a moment, and resolve it again";
                    return Err(Failure::failed(format_args!("{name}: {say}")));
                }
                Err(error) => return Err(Failure::failed(format_args!("{name}: {error}"))),
            }
        }
        Err(Failure::failed(format_args!("{name}: there is no free name beside it for the other version")))
    }

    /// What a person sees of both versions, and a name for the one that gets a file of its own.
    async fn seen_of(&self, state: &ConflictState, tries: u32) -> Result<(SeenOfConflict, Option<Name>), Failure> {
        let state = state.clone();
        let look = move |tree: &Tree| Ok((tree.seen_of_conflict(&state)?, tree.name_beside(&state, tries)?));
        self.parts.on_tree("conflicts", look).await
    }

    /// Returns once this device knows that a conflict is resolved. What it does not hear in time it hears later.
    async fn news_of(&self, conflict: ConflictId) -> Result<(), Failure> {
        let heard = async {
            while self.found_conflicts().await?.iter().any(|found| found.record.conflict == conflict) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
        };
        tokio::time::timeout(NEWS_WAIT, heard).await.unwrap_or(Ok(()))
    }
}
