//! Owns the programs of a simulated person: each deed is what a program would call, with what it was told noted down.

use super::device::Life;
use super::dice::Dice;
use super::look::{bytes, list, seen};
use super::net::Centre;
use super::oracle::{Oracle, SLOT, slots, tokens};
use super::script::Deed;
use std::collections::BTreeSet;
use std::sync::Arc;
use tarn::hydrate::Priority;
use tarn::meta::rows::{Ino, ROOT};
use tarn::tree::{DirEntry, NewNode, NodeType, RenameRequest, Stat, TreeError};
use tarn_proto::name::Name;
use tarn_proto::node::NodeKind;
use tarn_proto::op::RenameMode;

/// Few names: they shall collide.
pub const NAMES: [&str; 7] = ["a", "b", "c", "d", "notes.txt", "main.rs", "long name with spaces.tar.gz"];
pub type Done = Result<String, TreeError>;

/// A person at a machine.
pub struct User<'a> {
    pub who: usize,
    pub life: &'a mut Life,
    pub centre: &'a Arc<Centre>,
    pub oracle: &'a mut Oracle,
    pub dice: Dice,
}

/// A name and what it stands for.
pub struct Spot {
    pub dir: Ino,
    pub name: Name,
    pub ino: Ino,
}

pub fn name(text: &str) -> Name {
    Name::new(text).expect("these names keep to the rules")
}

impl User<'_> {
    /// Does something; what it says goes into the trace.
    pub fn act(&mut self, deed: Deed) -> Done {
        match deed {
            Deed::MakeDir => self.make_dir(),
            Deed::Create => self.create(),
            Deed::Replace => self.replace(),
            Deed::Append => self.append(),
            Deed::Overwrite => self.overwrite(),
            Deed::Truncate => self.truncate(),
            Deed::Unlink => self.unlink(),
            Deed::RemoveTree => self.remove_tree(),
            Deed::Rename => self.rename(RenameMode::Replace),
            Deed::Exchange => self.rename(RenameMode::Exchange),
            Deed::Link => self.link(),
            Deed::Symlink => self.symlink(),
            Deed::Chmod => self.chmod(),
            Deed::Xattr => self.xattr(),
            Deed::SafeSave => self.safe_save(),
            Deed::BackupSave => self.backup_save(),
            Deed::Open => self.open(),
            Deed::Close => self.close(),
            Deed::Fsync => self.fsync(),
            Deed::Read => self.read(),
            Deed::SyncedSave => self.synced_save(),
            Deed::Autosave => self.autosave(),
            Deed::Quarrel(turn) => self.quarrel(turn),
            Deed::Evict => Ok(format!("evict {:?}", self.life.contents.evict_all()?)),
        }
    }

    fn any_name(&mut self) -> Name {
        name(self.dice.pick(&NAMES).copied().unwrap_or("a"))
    }

    /// Some folder: the root, or further down.
    fn any_dir(&mut self) -> Result<Ino, TreeError> {
        let mut dir = ROOT;
        for _ in 0..6 {
            if self.dice.chance(350) {
                break;
            }
            let dirs: Vec<DirEntry> =
                list(&self.life.tree, dir)?.into_iter().filter(|entry| entry.node_type == NodeType::Dir).collect();
            match self.dice.pick(&dirs) {
                Some(entry) => dir = entry.ino,
                None => break,
            }
        }
        Ok(dir)
    }

    /// Something that is there.
    pub fn any_spot(&mut self, fits: impl Fn(NodeType) -> bool) -> Result<Spot, TreeError> {
        for _ in 0..4 {
            let dir = self.any_dir()?;
            let entries: Vec<DirEntry> =
                list(&self.life.tree, dir)?.into_iter().filter(|entry| fits(entry.node_type)).collect();
            if let Some(entry) = self.dice.pick(&entries) {
                return Ok(Spot { dir, name: entry.name.clone(), ino: entry.ino });
            }
        }
        Err(TreeError::NotFound)
    }

    pub fn any_file(&mut self) -> Result<Spot, TreeError> {
        self.any_spot(|node_type| node_type == NodeType::File)
    }

    /// The writes that can be seen in a file, with the file itself: others may know it by that alone, if it is empty.
    pub fn seen(&mut self, ino: Ino) -> Result<BTreeSet<u64>, TreeError> {
        let mut seen = seen(self.life, &self.centre.server.lock(), ino)?;
        if let Some(node) = self.life.tree.published_file(ino)? {
            self.oracle.join_node(node, &mut seen);
        }
        Ok(seen)
    }

    pub fn bytes(&self, ino: Ino) -> Result<Vec<u8>, TreeError> {
        bytes(self.life, &self.centre.server.lock(), ino)
    }

    fn node(&self, kind: NodeKind, open: Option<bool>) -> NewNode {
        NewNode { open, ..NewNode::plain(kind, 0o644) }
    }

    fn make_dir(&mut self) -> Done {
        let (dir, name) = (self.any_dir()?, self.any_name());
        let made = self.life.tree.create(dir, &name, self.node(NodeKind::Dir, None))?;
        Ok(format!("mkdir {dir:?}/{name} is {:?}", made.ino))
    }

    fn count(&mut self) -> usize {
        match self.dice.below(100) {
            0 => self.dice.between(5_000, 12_000) as usize,
            1..4 => self.dice.between(1_000, 2_000) as usize,
            _ => self.dice.between(1, 8) as usize,
        }
    }

    /// Writes a new token; it counts once the call has returned.
    fn write(&mut self, ino: Ino, offset: u64) -> Result<u64, TreeError> {
        let (token, count) = (self.oracle.token(), self.count());
        self.life.tree.write(ino, offset, &slots(token, count))?;
        self.oracle.told(self.who, token);
        Ok(token)
    }

    pub fn create_at(&mut self, dir: Ino, name: &Name) -> Result<(Ino, u64), TreeError> {
        let ino = self.life.tree.create(dir, name, self.node(NodeKind::File, Some(true)))?.ino;
        let token = self.write(ino, 0);
        self.life.tree.closed(ino, true)?;
        if token.is_err() {
            // It is there all the same, empty: perhaps the next version of what had this name.
            let seen = self.seen(ino)?;
            self.oracle.called(self.who, &seen, name);
        }
        let token = token?;
        self.oracle.took(self.who, format!("{dir:?}/{name}"), token);
        self.oracle.called(self.who, &BTreeSet::from([token]), name);
        Ok((ino, token))
    }

    fn create(&mut self) -> Done {
        let (dir, name) = (self.any_dir()?, self.any_name());
        let (ino, token) = self.create_at(dir, &name)?;
        Ok(format!("create {dir:?}/{name} is {ino:?} with {token}"))
    }

    /// Changes a file as a program does that has it open meanwhile.
    fn edit(&mut self, what: &str, change: impl FnOnce(&mut Self, Ino) -> Result<u64, TreeError>) -> Done {
        let spot = self.any_file()?;
        self.edit_at(what, &spot, change)
    }

    fn edit_at(
        &mut self,
        what: &str,
        spot: &Spot,
        change: impl FnOnce(&mut Self, Ino) -> Result<u64, TreeError>,
    ) -> Done {
        let (before, seen) = (self.bytes(spot.ino)?, self.seen(spot.ino)?);
        self.life.tree.opened(spot.ino, true)?;
        self.oracle.touch(self.who, &seen);
        let changed = change(self, spot.ino);
        let closed = self.life.tree.closed(spot.ino, true);
        let changed = self.oracle.attempted(self.who, changed.and_then(|token| closed.map(|_| token)), &seen);
        // What it could see and did not leave there is replaced, also where it could not write after it had made it short.
        let after = self.bytes(spot.ino)?;
        let left = tokens(&after);
        // Bytes that were cut short may have been there before.
        if what != "truncate" {
            self.oracle.made_of(&before, &after);
        }
        self.oracle.join(&seen, &left);
        self.oracle.replaced(&seen.difference(&left).copied().collect());
        let token = changed?;
        Ok(format!("{what} {:?}/{} ({:?}) with {token}", spot.dir, spot.name, spot.ino))
    }

    fn replace(&mut self) -> Done {
        self.edit("replace", |user, ino| {
            user.life.tree.truncate(ino, 0)?;
            user.write(ino, 0)
        })
    }

    fn append(&mut self) -> Done {
        self.edit("append", Self::write_at_end)
    }

    pub fn write_at_end(&mut self, ino: Ino) -> Result<u64, TreeError> {
        let end = self.life.tree.stat(ino)?.size_bytes.next_multiple_of(SLOT as u64);
        self.write(ino, end)
    }

    fn autosave(&mut self) -> Done {
        let entries = list(&self.life.tree, ROOT)?.into_iter();
        let first =
            entries.filter(|entry| entry.node_type == NodeType::File).map(|DirEntry { name, ino, .. }| (name, ino));
        let (name, ino) = first.min().ok_or(TreeError::NotFound)?;
        self.edit_at("autosave", &Spot { dir: ROOT, name, ino }, Self::write_at_end)
    }

    fn overwrite(&mut self) -> Done {
        self.edit("overwrite", |user, ino| {
            let slots = user.life.tree.stat(ino)?.size_bytes / SLOT as u64;
            let at = user.dice.below(slots + 1) * SLOT as u64;
            user.write(ino, at)
        })
    }

    fn truncate(&mut self) -> Done {
        self.edit("truncate", |user, ino| {
            let slots = user.life.tree.stat(ino)?.size_bytes / SLOT as u64;
            let kept = user.dice.below(slots + 1);
            user.life.tree.truncate(ino, kept * SLOT as u64)?;
            user.oracle.cut_short(&user.bytes(ino)?);
            Ok(kept)
        })
    }

    pub fn unlink_at(&mut self, spot: &Spot) -> Result<(), TreeError> {
        let seen = self.seen(spot.ino)?;
        let is_last = self.is_last_name(&self.life.tree.stat(spot.ino)?, &seen)?;
        self.oracle.attempted(self.who, self.life.tree.unlink(spot.dir, &spot.name), &seen)?;
        self.oracle.freed(self.who, format!("{:?}/{}", spot.dir, spot.name), &seen);
        if is_last {
            self.oracle.removed(self.who, &seen);
            self.lost_its_name(spot.ino);
        } else {
            self.oracle.unnamed(&seen);
        }
        Ok(())
    }

    /// Whether the file goes with the name that can be seen. This machine may know of another where something else stands here, and
    /// that nobody has removed: that stays. So does one in a folder that a machine which has not pulled everything never looked into.
    fn is_last_name(&self, file: &Stat, seen: &BTreeSet<u64>) -> Result<bool, TreeError> {
        let node = self.life.tree.published_file(file.ino)?;
        let known = self.life.tree.cursor().map_or(u64::MAX, |cursor| cursor.seq);
        let names = node.map_or(0, |node| self.centre.server.lock().names_of(node, known));
        Ok(file.link_count == 1 && (names <= 1 || self.oracle.is_unnamed(seen)))
    }

    fn unlink(&mut self) -> Done {
        let spot = self.any_spot(|node_type| node_type != NodeType::Dir)?;
        self.unlink_at(&spot)?;
        Ok(format!("unlink {:?}/{} ({:?})", spot.dir, spot.name, spot.ino))
    }

    fn remove_tree(&mut self) -> Done {
        let spot = self.any_spot(|node_type| node_type == NodeType::Dir)?;
        let count = self.remove_below(spot.ino, 0)?;
        self.life.tree.rmdir(spot.dir, &spot.name)?;
        Ok(format!("rm -r {:?}/{} ({:?}), {count} entries", spot.dir, spot.name, spot.ino))
    }

    fn remove_below(&mut self, dir: Ino, depth: u32) -> Result<u64, TreeError> {
        let mut count = 0;
        for DirEntry { name, ino, node_type, .. } in list(&self.life.tree, dir)? {
            if node_type != NodeType::Dir {
                self.unlink_at(&Spot { dir, name, ino })?;
            } else if depth < 40 {
                count += self.remove_below(ino, depth + 1)?;
                self.life.tree.rmdir(dir, &name)?;
            }
            count += 1;
        }
        Ok(count)
    }

    fn rename(&mut self, mode: RenameMode) -> Done {
        let from = self.any_spot(|_| true)?;
        let to = if mode == RenameMode::Exchange { Some(self.any_spot(|_| true)?) } else { None };
        let (to_parent, to_name) = match to {
            Some(to) => (to.dir, to.name),
            None => (self.any_dir()?, self.any_name()),
        };
        self.rename_spot(&from, (to_parent, &to_name), mode)?;
        Ok(format!("{mode:?} {:?}/{} ({:?}) to {to_parent:?}/{to_name}", from.dir, from.name, from.ino))
    }

    pub fn rename_spot(&mut self, from: &Spot, to: (Ino, &Name), mode: RenameMode) -> Result<(), TreeError> {
        let (to_parent, to_name) = to;
        let (moved, is_new) = (self.seen(from.ino)?, self.life.tree.published_file(from.ino)?.is_none());
        let displaced = match self.life.tree.lookup(to_parent, to_name) {
            Ok(stat) if stat.ino != from.ino => Some(stat),
            _ => None,
        };
        let over = displaced.as_ref().map_or_else(|| Ok(Default::default()), |stat| self.seen(stat.ino))?;
        let was_last = displaced.as_ref().map_or(Ok(false), |stat| self.is_last_name(stat, &over))?;
        let (parent, name, to_name) = (from.dir, from.name.clone(), to_name.clone());
        let request = RenameRequest { parent, name: name.clone(), to_parent, to_name: to_name.clone(), mode };
        self.oracle.attempted(self.who, self.life.tree.rename(&request), &over)?;
        self.oracle.touch(self.who, &moved);
        if mode == RenameMode::Replace {
            self.oracle.join(&moved, &over);
        }
        self.oracle.called(self.who, &moved, &to_name);
        self.oracle.moved(self.who, format!("{parent:?}/{name}"), format!("{to_parent:?}/{to_name}"), &moved);
        match (mode, displaced) {
            (RenameMode::Exchange, _) => {
                self.oracle.touch(self.who, &over);
                self.oracle.called(self.who, &over, &name);
            }
            (_, Some(stat)) if was_last && stat.kind.is_file() => {
                self.oracle.removed(self.who, &over);
                self.lost_its_name(stat.ino);
            }
            (_, Some(stat)) if is_new && stat.link_count == 1 => {
                // A save: the next version of a file that shows one name, also if something here hides another.
                self.oracle.replaced(&over);
            }
            _ => self.oracle.unnamed(&over),
        }
        Ok(())
    }

    fn link(&mut self) -> Done {
        let spot = self.any_file()?;
        let (dir, name) = (self.any_dir()?, self.any_name());
        let seen = self.seen(spot.ino)?;
        self.life.tree.link(spot.ino, dir, &name)?;
        self.oracle.touch(self.who, &seen);
        self.oracle.linked(&seen);
        Ok(format!("link {:?} as {dir:?}/{name}", spot.ino))
    }

    fn symlink(&mut self) -> Done {
        let (dir, name) = (self.any_dir()?, self.any_name());
        let kind = match self.dice.below(3) {
            0 => NodeKind::Fifo,
            _ => NodeKind::Symlink { target: format!("target {}", self.dice.below(100)).into_bytes() },
        };
        self.life.tree.create(dir, &name, self.node(kind, None))?;
        Ok(format!("symlink {dir:?}/{name}"))
    }

    /// A temporary file renamed over the real one.
    fn safe_save(&mut self) -> Done {
        let spot = self.any_file()?;
        let temporary = name(&format!(".{}.tmp", spot.name));
        let links = self.life.tree.stat(spot.ino)?.link_count;
        let before = self.bytes(spot.ino)?;
        let (ino, token) = self.create_at(spot.dir, &temporary)?;
        if self.dice.chance(500) {
            self.life.tree.fsync(ino)?;
            self.oracle.synced(self.who, &BTreeSet::from([token]));
        }
        let from = Spot { dir: spot.dir, name: temporary, ino };
        let after = self.bytes(ino)?;
        self.rename_spot(&from, (spot.dir, &spot.name), RenameMode::Replace)?;
        if links == 1 {
            self.oracle.made_of(&before, &after);
        }
        let Spot { dir, name, ino: old } = spot;
        Ok(format!("save {dir:?}/{name} ({old:?}, {links} links) by renaming {ino:?} over it, {token}"))
    }

    /// The old file renamed away, a new one created under its name, the old one removed.
    fn backup_save(&mut self) -> Done {
        let spot = self.any_file()?;
        let seen = self.seen(spot.ino)?;
        let (saved, backup) = (spot.name.clone(), name(&format!("{}~", spot.name)));
        self.rename_spot(&spot, (spot.dir, &backup), RenameMode::Replace)?;
        let made = self.create_at(spot.dir, &spot.name);
        if made.is_err() {
            // There may have been no room for its bytes: it is there, empty, beside the backup.
            self.oracle.linked(&seen);
        }
        let (ino, token) = made?;
        self.oracle.join(&seen, &BTreeSet::from([token]));
        if self.dice.chance(700) {
            let old = Spot { name: backup, ..spot };
            self.unlink_at(&old)?;
            self.oracle.called(self.who, &seen, &saved);
            return Ok(format!("save with backup, {ino:?} with {token}"));
        }
        // Two files with one history.
        self.oracle.linked(&seen);
        Ok(format!("save and keep the backup, {ino:?} with {token}"))
    }

    fn fsync(&mut self) -> Done {
        let spot = self.any_file()?;
        let seen = self.seen(spot.ino)?;
        self.life.tree.fsync(spot.ino)?;
        self.oracle.synced(self.who, &seen);
        Ok(format!("fsync {:?}", spot.ino))
    }

    /// A file, new or not, is written to and synced.
    fn synced_save(&mut self) -> Done {
        let (dir, name) = (self.any_dir()?, self.any_name());
        let ino = match self.life.tree.lookup(dir, &name) {
            Ok(stat) if stat.kind.is_file() => {
                let spot = Spot { dir, name: name.clone(), ino: stat.ino };
                self.edit_at("append", &spot, Self::write_at_end)?;
                stat.ino
            }
            _ => self.create_at(dir, &name)?.0,
        };
        let seen = self.seen(ino)?;
        self.life.tree.fsync(ino)?;
        self.oracle.synced(self.who, &seen);
        Ok(format!("save and sync {dir:?}/{name} ({ino:?}) with {seen:?}"))
    }

    /// Brings a file here, in the background.
    fn read(&mut self) -> Done {
        let spot = self.any_file()?;
        let content = self.life.tree.content(spot.ino)?;
        let hydrator = self.life.hydrator.clone();
        tokio::spawn(async move {
            let all = 0..content.size_bytes();
            // Without a network it fails; the next reader tries again.
            let _ = hydrator.need(&content, std::slice::from_ref(&all), Priority::Demand).await;
        });
        Ok(format!("read {:?}", spot.ino))
    }
}
