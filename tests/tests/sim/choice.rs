//! Owns what a person says of a conflict: what was looked at, and what was chosen some time later.

use super::device::Life;
use super::dice::Dice;
use super::look::bytes;
use super::oracle::{Oracle, tokens};
use super::server::SimServer;
use std::collections::BTreeSet;
use std::fmt;
use tarn::meta::ConflictRecord;
use tarn::remote::RemoteError;
use tarn::tree::SeenOfConflict;
use tarn_proto::api::Keep;
use tarn_proto::change::Cursor;
use tarn_proto::ids::{ConflictId, DeviceId, NodeId, VersionId};
use tarn_proto::node::Timestamp;

/// No more is made of two files.
const MERGED_MAX: usize = 100_000;

/// What was looked at and chosen.
#[derive(Debug, Clone)]
pub struct Choice {
    conflict: ConflictId,
    node: NodeId,
    keep: Keep,
    seen: SeenOfConflict,
    /// Where the machine stood in the journal.
    cursor: Option<Cursor>,
    file: BTreeSet<u64>,
    sibling: BTreeSet<u64>,
    /// What the sibling held before: it stood in its place.
    earlier: BTreeSet<u64>,
    merged: Option<Vec<u8>>,
    version: VersionId,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keep, node, file, sibling, seen, .. } = self;
        write!(f, "resolve {node}: {keep:?} of {file:?} and {sibling:?}, seen {seen:?}")
    }
}

impl Choice {
    /// Looks at some open conflict as the machine shows it.
    pub fn look(life: &Life, server: &SimServer, dice: &mut Dice) -> Option<Self> {
        life.journal.drain().ok()?;
        let open = life.journal.readers().get().ok()?.conflicts().ok()?;
        let ConflictRecord { conflict, state, .. } = dice.pick(&open)?;
        let (cursor, seen) = (life.tree.cursor(), life.tree.seen_of_conflict(state).ok()?);
        let shown = |node: Option<NodeId>| {
            let ino = life.tree.ino_of(node?).ok()??;
            bytes(life, server, ino).ok()
        };
        let (file, sibling) = (shown(Some(state.node)), shown(state.sibling));
        let theirs = sibling.clone().or_else(|| server.bytes_of(&state.theirs.content)).unwrap_or_default();
        let earlier = state.sibling.iter().flat_map(|sibling| server.versions_of(*sibling));
        let earlier = earlier.filter_map(|content| server.bytes_of(content)).flat_map(|bytes| tokens(&bytes)).collect();
        let mut keep = *dice.pick(&[Keep::Stayed, Keep::Theirs, Keep::Both, Keep::Merged])?;
        let file = file.unwrap_or_default();
        let mut merged = None;
        if keep == Keep::Merged {
            merged = Some([file.clone(), theirs.clone()].concat()).filter(|bytes| bytes.len() <= MERGED_MAX);
            keep = if merged.is_some() { keep } else { Keep::Both };
        }
        let mut version = [0; 16];
        version[..8].copy_from_slice(&dice.roll().to_le_bytes());
        let (file, sibling) = (tokens(&file), tokens(&theirs));
        let (conflict, node, version) = (*conflict, state.node, VersionId(version));
        Some(Self { conflict, node, keep, seen, cursor, file, sibling, earlier, merged, version })
    }

    /// Tells the server; what was seen and not chosen is wanted no longer.
    pub fn tell(
        &self,
        server: &mut SimServer,
        (who, device): (usize, DeviceId),
        oracle: &mut Oracle,
        now: Timestamp,
    ) -> Result<bool, RemoteError> {
        let content = match &self.merged {
            Some(bytes) if !bytes.is_empty() => Some(server.take_bytes(self.version, bytes)?),
            _ => None,
        };
        let asked = (self.conflict, self.keep, self.seen.clone(), self.cursor);
        let is_done = server.resolve((device, self.version), asked, content, now)?;
        if is_done {
            oracle.touch(who, &self.file);
            oracle.touch(who, &self.sibling);
            let chosen = match self.keep {
                Keep::Stayed => self.file.clone(),
                Keep::Theirs => self.sibling.clone(),
                Keep::Both | Keep::Merged => &self.file | &self.sibling,
            };
            let all = &(&self.file | &self.sibling) | &self.earlier;
            oracle.join(&self.file, &self.sibling);
            oracle.replaced(&(&all - &chosen));
        }
        Ok(is_done)
    }
}
