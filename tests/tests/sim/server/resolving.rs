//! Owns what the server does when a person says what becomes of a conflict, as `service::conflicts` does it.

use super::{SPACE, SimServer, refused};
use crate::plant::Plant;
use std::collections::{BTreeMap, BTreeSet};
use tarn::remote::{RemoteError, UploadItem};
use tarn::tree::SeenOfConflict;
use tarn_proto::api::{Keep, Outcome};
use tarn_proto::change::{ConflictState, Cursor, Row};
use tarn_proto::chunk::{ContentKey, chunk_id, content_id, encode};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ConflictId, DeviceId, NodeId, VersionId};
use tarn_proto::manifest::{Manifest, ManifestEntry};
use tarn_proto::node::{Content, Timestamp};
use tarn_server::rules::{self, Author, Resolve};

/// What came of two versions of a file.
#[derive(Debug, Clone, Default)]
pub struct Settled {
    /// Siblings of conflicts that somebody resolved: whoever did something to one meanwhile has it back. And files that somebody
    /// wanted beside the one that was contended: once more, if a server that was put back knows nothing of the first time.
    pub siblings: BTreeSet<NodeId>,
    /// What was chosen of two, or brought by two with the same bytes. It is a version that nobody has seen yet, though its bytes
    /// may be older.
    pub versions: BTreeSet<VersionId>,
    /// What a machine brought that another device of its name, of which it is an older copy, had brought with the same bytes. It
    /// is a version of its own: who has seen the earlier one has not seen it.
    pub again: BTreeSet<VersionId>,
    /// All versions that there ever were of each file, whatever a server that was put back knows of them.
    pub ever: BTreeMap<NodeId, BTreeSet<VersionId>>,
}

impl SimServer {
    /// The open conflicts, as a person is shown them.
    pub fn open_conflicts(&self) -> Vec<(ConflictId, ConflictState)> {
        let open = self.rows.values().filter_map(|change| match &change.row {
            Row::Conflict { conflict, state: Some(state) } => Some((*conflict, (**state).clone())),
            _ => None,
        });
        open.collect()
    }

    /// Resolves a conflict; whether that was done: one that is resolved already stays so.
    pub fn resolve(
        &mut self,
        (device, version): (DeviceId, VersionId),
        asked: (ConflictId, Keep, SeenOfConflict, Option<Cursor>),
        content: Option<Content>,
        now: Timestamp,
    ) -> Result<bool, RemoteError> {
        let (conflict, keep, seen, cursor) = asked;
        if cursor.is_some_and(|cursor| cursor.epoch != self.epoch) {
            return Err(refused(ErrorCode::EpochChanged, "the cursor is of another epoch"));
        }
        let Some((_, state)) = self.open_conflicts().into_iter().find(|(open, _)| *open == conflict) else {
            return Ok(false);
        };
        let (node, seq) = (state.node, self.seq() + 1);
        let author = Author {
            space: SPACE,
            device: DeviceId(self.epoch.0),
            shown_as: device,
            device_name: self.names.get(&device).cloned().unwrap_or_default(),
            cursor_seq: self.seq(),
            now,
        };
        let seen = if self.plant == Some(Plant::MergeOnStaleBase) { self.all_of(node, &state) } else { seen };
        let alt_name = tarn_proto::name::Name::new(format!("chosen (conflict from {seq})")).ok();
        let asked = Resolve {
            conflict,
            node,
            keep,
            alt_name,
            content,
            version,
            counter: seq,
            seen_file: seen.file,
            seen_sibling: seen.sibling,
        };
        let decision = rules::resolve(&self.snapshot, &author, &asked, seq)
            .map_err(|missing| RemoteError::Busy(format!("rows are missing: {missing:?}")))?;
        if let Some(effects) = &decision.effects {
            let made = effects.nodes.iter().filter(|change| !change.was_present);
            self.settled.siblings.extend(made.map(|change| change.id));
            self.apply(effects, seq);
        }
        match decision.outcome {
            Outcome::Applied | Outcome::Merged => {
                self.settled.siblings.extend(state.sibling);
                self.settled.versions.insert(version);
                Ok(true)
            }
            Outcome::Refused { code, detail } => Err(refused(code, &detail)),
            other => Err(refused(ErrorCode::Stale, &format!("{other:?}"))),
        }
    }

    /// All that there is to be seen of a file and its sibling.
    fn all_of(&self, node: NodeId, state: &ConflictState) -> SeenOfConflict {
        let nodes = [Some(node), state.sibling].into_iter().flatten();
        let files = nodes.filter_map(|node| self.node(node)?.file);
        let all = files.fold(state.theirs.vector.clone(), |seen, file| seen.joined(&file.vector));
        SeenOfConflict { file: all.clone(), sibling: all }
    }

    /// Takes bytes that a person made as one chunk.
    pub fn take_bytes(&mut self, version: VersionId, bytes: &[u8]) -> Result<Content, RemoteError> {
        let key = ContentKey::Ordinary;
        let (id, length) = (chunk_id(&key, bytes), bytes.len() as u64);
        let stored = encode(&key, bytes, 1).map_err(|error| RemoteError::Malformed(error.to_string()))?;
        let entry = ManifestEntry { id, length, stored: stored.len() as u64 };
        self.upload(vec![UploadItem { id, manifest_node: false, stored: stored.into() }])?;
        let manifest = Manifest { level: 0, entries: vec![entry] };
        Ok(Content { version, size: length, content_id: content_id(&key, bytes), manifest })
    }

    /// All contents that a file ever had.
    pub fn versions_of(&self, node: NodeId) -> impl Iterator<Item = &Content> {
        self.versions.values().filter(move |(of, _)| *of == node).map(|(_, file)| &file.content)
    }
}
