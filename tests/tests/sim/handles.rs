//! Owns what people do with files that they hold open for long: others change, move and remove them meanwhile.

use super::oracle::tokens;
use super::user::{Done, User};
use std::collections::BTreeSet;
use tarn::meta::rows::Ino;
use tarn::tree::TreeError;
use tarn_proto::ids::NodeId;

/// A file that a program has open.
#[derive(Debug)]
pub struct Handle {
    pub ino: Ino,
    pub writes: bool,
    /// The file that it was.
    pub node: Option<NodeId>,
    /// A person of this device took its last name away: what is written to it goes with it.
    pub is_removed: bool,
}

impl User<'_> {
    pub fn open(&mut self) -> Done {
        let spot = self.any_file()?;
        let writes = self.dice.chance(500);
        self.life.tree.opened(spot.ino, writes)?;
        let node = self.life.tree.published_file(spot.ino)?;
        self.life.handles.push(Handle { ino: spot.ino, writes, node, is_removed: false });
        Ok(format!("open {:?}, to write: {writes}", spot.ino))
    }

    /// Closes a file, after a last write perhaps.
    pub fn close(&mut self) -> Done {
        if self.life.handles.is_empty() {
            return Ok("nothing to close".to_owned());
        }
        let at = self.dice.below(self.life.handles.len() as u64) as usize;
        let handle = self.life.handles.remove(at);
        let written = if handle.writes && self.dice.chance(500) { Some(self.write_late(&handle)) } else { None };
        self.life.tree.closed(handle.ino, handle.writes)?;
        let written = written.transpose()?;
        Ok(format!("close {:?}, removed: {}, written: {written:?}", handle.ino, handle.is_removed))
    }

    /// Writes at the end of what was opened earlier.
    fn write_late(&mut self, handle: &Handle) -> Result<u64, TreeError> {
        let (before, seen) = (self.bytes(handle.ino)?, self.seen(handle.ino)?);
        let token = self.write_at_end(handle.ino)?;
        if handle.is_removed {
            self.oracle.replaced(&BTreeSet::from([token]));
            return Ok(token);
        }
        if handle.node.is_some() && self.life.tree.published_file(handle.ino)? != handle.node {
            // Others replaced it meanwhile: what was seen in it stands there, and in the file that this makes of it.
            self.oracle.in_two(&seen);
        }
        let after = self.bytes(handle.ino)?;
        self.oracle.touch(self.who, &seen);
        self.oracle.made_of(&before, &after);
        self.oracle.join(&seen, &tokens(&after));
        Ok(token)
    }

    /// A person took the last name of a file away.
    pub fn lost_its_name(&mut self, ino: Ino) {
        self.life.handles.iter_mut().filter(|handle| handle.ino == ino).for_each(|handle| handle.is_removed = true);
    }
}
