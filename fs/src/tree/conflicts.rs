//! Owns what this device can say of a conflict: where the contended files are, what it shows of them, and a name for a
//! version that has no file of its own. Changes nothing; the server resolves.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::names::conflict_name;
use crate::meta::rows::Ino;
use std::sync::atomic::Ordering;
use tarn_proto::api::{Keep, ResolveRequest};
use tarn_proto::change::{Change, ConflictState, Row};
use tarn_proto::ids::{NodeId, VersionId};
use tarn_proto::name::Name;
use tarn_proto::version::VersionVector;

type Result<T> = std::result::Result<T, TreeError>;

/// What programs here can have seen of a contended file, and of its sibling or of what the record holds: each for itself,
/// because who has seen a device's later write to the one may not have seen its earlier one to the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenOfConflict {
    /// Of the file.
    pub file: VersionVector,
    /// Of the version that did not stay.
    pub sibling: VersionVector,
}

impl SeenOfConflict {
    /// What a device says that resolves the conflict.
    pub fn request(self, keep: Keep) -> ResolveRequest {
        let Self { file, sibling } = self;
        let seen = file.clone().joined(&sibling);
        let (seen_file, seen_sibling) = (Some(file), Some(sibling));
        ResolveRequest { keep, seen, seen_file, seen_sibling, cursor: None, alt_name: None, content: None }
    }
}

impl Session<'_> {
    /// Counts what is news of conflicts.
    pub(super) fn note_conflicts(&self, changes: &[Change]) {
        let count = changes.iter().filter(|change| matches!(change.row, Row::Conflict { .. })).count();
        self.core.conflict_news.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn seen_of_node(&mut self, node: NodeId) -> Result<VersionVector> {
        match self.present_ino(node)? {
            Some(ino) => self.seen_vector(ino),
            None => Ok(VersionVector::default()),
        }
    }

    /// The inode of a node that is there, whether or not anybody has looked at it.
    fn present_ino(&mut self, node: NodeId) -> Result<Option<Ino>> {
        if let Some(ino) = self.known_ino(node)? {
            return Ok(Some(ino));
        }
        if self.remote_node(node)?.is_none() {
            return Ok(None);
        }
        self.ino_of(node).map(Some)
    }
}

impl Tree {
    /// Grows whenever a conflict is heard of.
    pub fn conflict_news(&self) -> u64 {
        self.core.conflict_news.load(Ordering::Relaxed)
    }

    /// Where a node is, with its inode; `None` if it has no name here.
    ///
    /// # Errors
    /// What the database says.
    pub fn place_of(&self, node: NodeId) -> Result<Option<(Ino, Vec<u8>)>> {
        self.look(|session| {
            let Some(ino) = session.present_ino(node)? else { return Ok(None) };
            match session.path(ino) {
                Ok(path) => Ok(path.map(|path| (ino, path))),
                Err(TreeError::NotFound) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// Where a conflict's file is, and its version on the server as far as is known here; `None` if it has no name here.
    ///
    /// # Errors
    /// What the database says.
    pub fn file_of_conflict(&self, state: &ConflictState) -> Result<Option<(Vec<u8>, Option<VersionId>)>> {
        let Some((_, path)) = self.place_of(state.node)? else { return Ok(None) };
        let known = self.look(|session| session.remote_node(state.node))?;
        let version = known.and_then(|known| Some(known.file.as_ref()?.content.version));
        Ok(Some((path, version)))
    }

    /// What programs here can have seen of a conflict's file and its sibling.
    ///
    /// # Errors
    /// What the database says.
    pub fn seen_of_conflict(&self, state: &ConflictState) -> Result<SeenOfConflict> {
        self.look(|session| {
            let file = session.seen_of_node(state.node)?;
            let sibling =
                state.sibling.map_or_else(|| Ok(VersionVector::default()), |node| session.seen_of_node(node))?;
            Ok(SeenOfConflict { file, sibling: sibling.joined(&state.theirs.vector) })
        })
    }

    /// A name for the version of a conflict that did not stay; the next one with each try.
    ///
    /// # Errors
    /// What the database says.
    pub fn name_beside(&self, state: &ConflictState, tries: u32) -> Result<Option<Name>> {
        self.look(|session| {
            let Some(ino) = session.present_ino(state.node)? else { return Ok(None) };
            let links = session.links(ino)?;
            Ok(links.first().map(|(_, name)| conflict_name(name, &state.device_name, state.time, tries)))
        })
    }
}
