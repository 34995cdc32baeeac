//! A tree in memory for tests: keeps the rules that `vfs` leaves to the tree, and can be told that a folder is not
//! listed or that bytes are not here.

mod content;
mod counts;
mod lent;
mod listing;

use super::ports::{BringError, FileContent, LentFile, Lister, Listing, Space, TreePort};
use super::{Lending, OpenTable, Options, Ports, TakenUp, Vfs};
use crate::env::{Clock, FileId, RealClock};
use crate::meta::rows::{Ino, ROOT};
use crate::tree::{NewNode, RenameRequest, Stat, SyncState, TreeError, Unlisted};
use async_trait::async_trait;
use content::Bytes;
use listing::FakeListing;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::{AttrChange, Attrs, NodeKind};
use tarn_proto::op::RenameMode;

pub(crate) use content::{FakeContent, FakeNetwork, Network};
pub(crate) use lent::{FakeKernel, FakeLent};

type Result<T> = std::result::Result<T, TreeError>;

#[derive(Debug)]
struct Node {
    kind: NodeKind,
    attrs: Attrs,
    entries: BTreeMap<Name, (Ino, u64)>,
    last_cookie: u64,
    parent: Ino,
    names: u32,
    content: Arc<FakeContent>,
}

#[derive(Debug, Default)]
struct State {
    nodes: HashMap<Ino, Node>,
    refs: HashMap<Ino, u64>,
    opens: HashMap<Ino, (u32, u32)>,
    /// Folders that are not listed behind this cookie.
    unlisted: HashMap<Ino, u64>,
    lent: HashMap<Ino, FakeLent>,
    syncing: u32,
    synced: u32,
    asked: u32,
    last: u64,
}

/// The tree.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeTree(Arc<Mutex<State>>, pub Arc<FakeNetwork>, Arc<Mutex<()>>, pub Arc<FakeKernel>);

fn node_of(ino: Ino) -> NodeId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&ino.0.to_be_bytes());
    NodeId(id)
}

fn unlisted(ino: Ino) -> TreeError {
    TreeError::Unlisted(Unlisted { node: node_of(ino), progress: 0 })
}

impl FakeTree {
    /// Looking this name up panics.
    pub const PANICS: &str = "panics";

    /// A tree with an empty root.
    pub fn new() -> Self {
        let tree = Self::default();
        tree.0.lock().last = ROOT.0;
        let new = NewNode::plain(NodeKind::Dir, 0o755);
        tree.0.lock().nodes.insert(ROOT, Node::new(new, ROOT, &tree.1));
        tree
    }

    /// A file system over it.
    pub fn mount(&self, options: Options) -> Vfs {
        let (tree, lister) = (Arc::new(self.clone()), Arc::new(self.clone()));
        let ports =
            Ports { tree, lister, clock: Arc::new(RealClock::new()), stale: Arc::default(), replay: Arc::default() };
        Vfs::new(ports, options).lending(self.lending(None), TakenUp::default())
    }

    /// How its files are lent.
    pub fn lending(&self, table: Option<Arc<OpenTable>>) -> Lending {
        Lending { kernel: self.3.clone(), table }
    }

    /// Forgets bytes of a file.
    pub fn lose_bytes(&self, ino: Ino, range: Range<u64>) {
        self.0.lock().nodes[&ino].content.0.lock().missing.insert(range);
    }

    /// Forgets the listing of a folder.
    pub fn lose_listing(&self, ino: Ino) {
        self.0.lock().unlisted.insert(ino, 0);
    }

    /// Lets a file be lent.
    pub fn lend_as(&self, ino: Ino, file: FakeLent) {
        self.0.lock().lent.insert(ino, file);
    }

    /// Lets it be lent no more.
    pub fn lend_none(&self, ino: Ino) {
        self.0.lock().lent.remove(&ino);
    }

    pub fn refs(&self, ino: Ino) -> u64 {
        self.0.lock().refs.get(&ino).copied().unwrap_or(0)
    }

    /// Forgets who has what open, as a crash does.
    pub fn forget_opens(&self) {
        self.0.lock().opens.clear();
    }

    /// Open handles and those that write.
    pub fn opens(&self, ino: Ino) -> (u32, u32) {
        self.0.lock().opens.get(&ino).copied().unwrap_or_default()
    }

    fn change<T>(&self, ino: Ino, change: impl FnOnce(&mut Bytes) -> T) -> Result<T> {
        let content = self.0.lock().node(ino)?.content.clone();
        let changed = change(&mut content.0.lock());
        Ok(changed)
    }
}

impl Node {
    fn new(new: NewNode, parent: Ino, network: &Arc<FakeNetwork>) -> Self {
        let attrs = Attrs { mode: new.mode, uid: new.uid, gid: new.gid, xattrs: new.xattrs, ..Attrs::default() };
        let (entries, content) = (BTreeMap::new(), Arc::new(FakeContent(Mutex::default(), network.clone())));
        Self { kind: new.kind, attrs, entries, last_cookie: 2, parent, names: 1, content }
    }
}

impl State {
    fn node(&self, ino: Ino) -> Result<&Node> {
        self.nodes.get(&ino).ok_or(TreeError::NotFound)
    }

    fn dir(&mut self, ino: Ino) -> Result<&mut Node> {
        if self.unlisted.get(&ino) == Some(&0) {
            return Err(unlisted(ino));
        }
        let node = self.nodes.get_mut(&ino).ok_or(TreeError::NotFound)?;
        if node.kind.is_dir() { Ok(node) } else { Err(TreeError::NotADirectory) }
    }

    fn find(&mut self, parent: Ino, name: &Name) -> Result<Option<Ino>> {
        Ok(self.dir(parent)?.entries.get(name).map(|(ino, _)| *ino))
    }

    fn enter(&mut self, parent: Ino, name: &Name, ino: Ino) -> Result<()> {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.attrs.ctime = RealClock::new().wall();
        }
        let dir = self.dir(parent)?;
        dir.last_cookie += 1;
        let cookie = dir.last_cookie;
        dir.entries.entry(name.clone()).and_modify(|entry| entry.0 = ino).or_insert((ino, cookie));
        Ok(())
    }

    fn drop_name(&mut self, ino: Ino) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.names -= 1;
            node.attrs.ctime = RealClock::new().wall();
        }
    }

    fn stat(&self, ino: Ino) -> Result<Stat> {
        let node = self.node(ino)?;
        let size_bytes = match &node.kind {
            NodeKind::Symlink { target } => target.len() as u64,
            _ => node.content.0.lock().bytes.len() as u64,
        };
        let dirs = node.entries.values().filter(|(ino, _)| self.nodes[ino].kind.is_dir()).count() as u32;
        let link_count = if node.kind.is_dir() { 2 + dirs } else { node.names };
        let (kind, attrs) = (node.kind.clone(), node.attrs.clone());
        Ok(Stat { ino, kind, attrs, size_bytes, allocated_bytes: size_bytes, link_count })
    }

    fn check_replace(&mut self, moved: Ino, target: Ino) -> Result<()> {
        let (from, to) = (self.node(moved)?.kind.is_dir(), self.node(target)?.kind.is_dir());
        match (from, to) {
            (true, false) => Err(TreeError::NotADirectory),
            (false, true) => Err(TreeError::IsADirectory),
            (true, true) if !self.dir(target)?.entries.is_empty() => Err(TreeError::NotEmpty),
            _ => Ok(()),
        }
    }
}

impl TreePort for FakeTree {
    fn lookup(&self, parent: Ino, name: &Name) -> Result<Stat> {
        assert_ne!(name.as_bytes(), Self::PANICS.as_bytes(), "a planted defect");
        let mut state = self.0.lock();
        let ino = state.find(parent, name)?.ok_or(TreeError::NotFound)?;
        state.stat(ino)
    }

    fn refer(&self, ino: Ino) {
        *self.0.lock().refs.entry(ino).or_default() += 1;
    }

    fn forget(&self, ino: Ino, count: u64) {
        *self.0.lock().refs.get_mut(&ino).expect("only what was referred is forgotten") -= count;
    }

    fn stat(&self, ino: Ino) -> Result<Stat> {
        let mut state = self.0.lock();
        state.asked += 1;
        state.stat(ino)
    }

    fn flags(&self, ino: Ino) -> Result<u32> {
        Ok(self.0.lock().node(ino)?.attrs.flags)
    }

    fn parent_of(&self, ino: Ino) -> Option<Ino> {
        self.0.lock().nodes.get(&ino).map(|node| node.parent)
    }

    fn path_of(&self, ino: Ino) -> Option<Vec<u8>> {
        let state = self.0.lock();
        let (mut path, mut at) = (Vec::new(), ino);
        while at != ROOT {
            let parent = state.nodes.get(&at)?.parent;
            let (name, _) = state.nodes.get(&parent)?.entries.iter().find(|(_, (child, _))| *child == at)?;
            path = [b"/", name.as_bytes(), &path].concat();
            at = parent;
        }
        Some(path)
    }

    fn is_gone(&self, ino: Ino) -> bool {
        self.0.lock().nodes.get(&ino).is_none_or(|node| node.names == 0)
    }

    fn open_dir(&self, ino: Ino) -> Result<Box<dyn Listing>> {
        self.0.lock().dir(ino)?;
        Ok(Box::new(FakeListing { tree: self.clone(), ino }))
    }

    fn create(&self, parent: Ino, name: &Name, new: NewNode) -> Result<Stat> {
        let mut state = self.0.lock();
        if state.find(parent, name)?.is_some() {
            return Err(TreeError::Exists);
        }
        state.last += 1;
        let ino = Ino(state.last);
        if let Some(writes) = new.open {
            state.opens.insert(ino, (1, u32::from(writes)));
        }
        state.nodes.insert(ino, Node::new(new, parent, &self.1));
        state.enter(parent, name, ino)?;
        state.stat(ino)
    }

    fn unlink(&self, parent: Ino, name: &Name) -> Result<()> {
        let mut state = self.0.lock();
        let ino = state.find(parent, name)?.ok_or(TreeError::NotFound)?;
        if state.node(ino)?.kind.is_dir() {
            return Err(TreeError::IsADirectory);
        }
        state.dir(parent)?.entries.remove(name);
        state.drop_name(ino);
        Ok(())
    }

    fn rmdir(&self, parent: Ino, name: &Name) -> Result<()> {
        let mut state = self.0.lock();
        let ino = state.find(parent, name)?.ok_or(TreeError::NotFound)?;
        if !state.dir(ino)?.entries.is_empty() {
            return Err(TreeError::NotEmpty);
        }
        state.dir(parent)?.entries.remove(name);
        state.drop_name(ino);
        Ok(())
    }

    fn rename(&self, request: &RenameRequest) -> Result<()> {
        let RenameRequest { parent, name, to_parent, to_name, mode } = request.clone();
        let mut state = self.0.lock();
        let moved = state.find(parent, &name)?.ok_or(TreeError::NotFound)?;
        match (state.find(to_parent, &to_name)?, mode) {
            (Some(_), RenameMode::NoReplace) => return Err(TreeError::Exists),
            (None, RenameMode::Exchange) => return Err(TreeError::NotFound),
            (Some(target), RenameMode::Exchange) => state.enter(parent, &name, target)?,
            (Some(target), _) if target == moved => return Ok(()),
            (Some(target), RenameMode::Replace) => {
                state.check_replace(moved, target)?;
                state.drop_name(target);
            }
            (None, _) => {}
        }
        if mode != RenameMode::Exchange {
            state.dir(parent)?.entries.remove(&name);
        }
        state.enter(to_parent, &to_name, moved)
    }

    fn link(&self, ino: Ino, parent: Ino, name: &Name) -> Result<Stat> {
        let mut state = self.0.lock();
        if state.find(parent, name)?.is_some() {
            return Err(TreeError::Exists);
        }
        state.nodes.get_mut(&ino).ok_or(TreeError::NotFound)?.names += 1;
        state.enter(parent, name, ino)?;
        state.stat(ino)
    }

    fn set_attrs(&self, ino: Ino, change: &AttrChange) -> Result<Stat> {
        let mut state = self.0.lock();
        change.apply_to(&mut state.nodes.get_mut(&ino).ok_or(TreeError::NotFound)?.attrs);
        state.stat(ino)
    }

    fn opened(&self, ino: Ino, write: bool) -> Result<()> {
        let mut state = self.0.lock();
        if state.node(ino)?.kind.is_dir() {
            return Err(TreeError::IsADirectory);
        }
        let opens = state.opens.entry(ino).or_default();
        *opens = (opens.0 + 1, opens.1 + u32::from(write));
        Ok(())
    }

    fn closed(&self, ino: Ino, write: bool) {
        let mut state = self.0.lock();
        let opens = state.opens.get_mut(&ino).expect("only what was opened is closed");
        *opens = (opens.0 - 1, opens.1 - u32::from(write));
    }

    fn content(&self, ino: Ino) -> Result<Arc<dyn FileContent>> {
        Ok(self.0.lock().node(ino)?.content.clone())
    }

    fn lend(&self, ino: Ino) -> Option<Box<dyn LentFile>> {
        self.0.lock().lent.get(&ino).map(|file| Box::new(file.clone()) as Box<dyn LentFile>)
    }

    fn lend_again(&self, ino: Ino, _: FileId, _: bool) -> Option<Box<dyn LentFile>> {
        self.lend(ino)
    }

    fn write(&self, ino: Ino, offset: u64, data: &[u8]) -> Result<()> {
        self.change(ino, |content| {
            let (start, end) = (offset as usize, offset as usize + data.len());
            content.bytes.resize(content.bytes.len().max(end), 0);
            content.bytes[start..end].copy_from_slice(data);
            content.missing.remove(offset..end as u64);
        })
    }

    fn append(&self, ino: Ino, data: &[u8]) -> Result<()> {
        self.change(ino, |content| content.bytes.extend_from_slice(data))
    }

    fn truncate(&self, ino: Ino, size_bytes: u64) -> Result<()> {
        self.change(ino, |content| {
            content.bytes.resize(size_bytes as usize, 0);
            content.missing.remove(size_bytes..u64::MAX);
        })
    }

    fn punch(&self, ino: Ino, range: Range<u64>) -> Result<()> {
        self.change(ino, |content| {
            let end = (range.end as usize).min(content.bytes.len());
            let start = (range.start as usize).min(end);
            content.bytes[start..end].fill(0);
            content.missing.remove(range);
        })
    }

    fn zero(&self, ino: Ino, range: Range<u64>, keep_size: bool) -> Result<()> {
        self.allocate(ino, range.clone(), keep_size)?;
        self.punch(ino, range)
    }

    fn allocate(&self, ino: Ino, range: Range<u64>, keep_size: bool) -> Result<()> {
        self.change(ino, |content| {
            let grown = if keep_size { 0 } else { range.end as usize };
            content.bytes.resize(content.bytes.len().max(grown), 0);
        })
    }

    fn share(&self, from: Ino, to: Ino, _: Range<u64>) -> Result<Option<u64>> {
        let state = self.0.lock();
        state.node(from)?;
        state.node(to)?;
        Ok(None)
    }

    fn fsync(&self, _: Ino) -> Result<()> {
        self.0.lock().syncing += 1;
        drop(self.2.lock());
        self.0.lock().synced += 1;
        Ok(())
    }

    fn fdatasync(&self, ino: Ino) -> Result<()> {
        self.fsync(ino)
    }

    fn fsync_dir(&self, _: Ino) -> Result<()> {
        self.0.lock().synced += 1;
        Ok(())
    }

    fn sync_state(&self, _: Ino) -> Result<SyncState> {
        Ok(SyncState::InSync)
    }

    fn space(&self) -> Result<Space> {
        let node_count = self.0.lock().nodes.len() as u64;
        Ok(Space { total_bytes: 1 << 40, free_bytes: 1 << 39, node_count })
    }
}

#[async_trait]
impl Lister for FakeTree {
    async fn list(&self, folder: Unlisted) -> std::result::Result<(), BringError> {
        self.1.reach().await?;
        self.0.lock().unlisted.retain(|ino, _| node_of(*ino) != folder.node);
        Ok(())
    }
}
