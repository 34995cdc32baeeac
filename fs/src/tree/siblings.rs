//! Owns finding the small files that a program which reads folder after folder will want next. Decides neither
//! when nor how many; fetches nothing.

use super::Tree;
use super::error::TreeError;
use super::load::Session;
use super::types::NodeType;
use super::work::Work;
use crate::content::LocalContent;
use crate::meta::rows::{Ino, InodeRow, RowChange};
use std::collections::HashSet;
use std::sync::Arc;

type Result<T> = std::result::Result<T, TreeError>;

/// A folder and a place in it, as listings go.
type Place = (Ino, u64);

/// Folders looked into on the way.
const FOLDERS_MAX: usize = 64;

/// How much to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// Most files.
    pub files_max: usize,
    /// Most bytes of all of them.
    pub bytes_max: u64,
    /// Larger files are left out.
    pub file_bytes_max: u64,
    /// Go on in the folders that come next, once this one is done.
    pub beyond: bool,
}

impl Session<'_> {
    /// Where a name stands in its folder's listing.
    fn place_of(&mut self, ino: Ino) -> Result<Option<Place>> {
        let Some((parent, name)) = self.links(ino)?.into_iter().next() else { return Ok(None) };
        Ok(self.as_far_as_known(parent)?.get(&name).map(|child| (parent, child.cookie)))
    }

    /// What follows a place in its folder.
    fn following(&mut self, (dir, cookie): Place, node_type: NodeType, max: usize) -> Result<Vec<Ino>> {
        let rest = self.as_far_as_known(dir)?.after(cookie).filter(|(_, child)| child.node_type == node_type);
        Ok(rest.map(|(_, child)| child.ino).take(max).collect())
    }

    /// Files behind `ino`, in the order of listings.
    fn files_behind(&mut self, ino: Ino, ahead: Ahead) -> Result<Vec<Ino>> {
        let Some(place) = self.place_of(ino)? else { return Ok(Vec::new()) };
        let mut files = self.following(place, NodeType::File, ahead.files_max)?;
        let Some(place) = (if ahead.beyond { self.place_of(place.0)? } else { None }) else { return Ok(files) };
        for dir in self.following(place, NodeType::Dir, FOLDERS_MAX)? {
            let room = ahead.files_max.saturating_sub(files.len());
            if room == 0 || !self.is_listed(dir)? {
                break;
            }
            files.extend(self.following((dir, 0), NodeType::File, room)?);
        }
        Ok(files)
    }

    /// The contents of those files that are small and not here; what has no local content yet gets one, all in one
    /// unit of work.
    fn absent_contents(&mut self, files: Vec<Ino>, ahead: Ahead) -> Result<Vec<Arc<LocalContent>>> {
        let (mut contents, mut adopted, mut work, mut bytes) = (Vec::new(), Vec::new(), Work::default(), 0);
        // A file with several names here is one file.
        let mut seen = HashSet::new();
        for ino in files.into_iter().filter(|ino| seen.insert(*ino)) {
            let remote = self.remote_of(ino)?;
            let Some(file) = remote.as_ref().and_then(|remote| remote.file.as_ref()) else { continue };
            if file.content.size == 0 || file.content.size > ahead.file_bytes_max || bytes > ahead.bytes_max {
                continue;
            }
            let content = match self.local_content(ino)? {
                Some(content) if content.is_complete() => continue,
                Some(content) => content,
                None => {
                    let (no, content) = self.adopt(ino, file);
                    work.rows.push(RowChange::Content(no, Some(Box::new(content.row()))));
                    let row = InodeRow { content: Some(no), ..self.inode(ino)?.row() };
                    work.inode(ino, row);
                    adopted.push((ino, content.clone()));
                    content
                }
            };
            bytes += file.content.size;
            contents.push(content);
        }
        if !adopted.is_empty() {
            self.commit(work)?;
        }
        for (ino, content) in adopted {
            self.inode(ino)?.content = Some(content);
        }
        Ok(contents)
    }
}

impl Tree {
    /// Whether a file is one of the next few behind another in their folder's listing.
    ///
    /// # Errors
    /// `NotFound`; `Unlisted` if the folder is not known; what the disk says.
    pub fn is_next_behind(&self, before: Ino, ino: Ino, few: usize) -> Result<bool> {
        self.look(|session| {
            let Some(place) = session.place_of(before)? else { return Ok(false) };
            Ok(session.following(place, NodeType::File, few)?.contains(&ino))
        })
    }

    /// Small files that follow `ino` in the order of listings and are not here.
    ///
    /// # Errors
    /// `NotFound`; `Unlisted` if the folder is not known; what the disk says.
    pub fn absent_behind(&self, ino: Ino, ahead: Ahead) -> Result<Vec<Arc<LocalContent>>> {
        self.edit(|session| {
            let files = session.files_behind(ino, ahead)?;
            session.absent_contents(files, ahead)
        })
    }
}
