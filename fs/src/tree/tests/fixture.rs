//! A tree in a temporary folder, and a server that says yes.

use crate::content::Options;
use crate::env::Env;
use crate::journal::{Journal, JournalOptions, StateLock};
use crate::log::{Log, LogOptions, Lsn};
use crate::meta::RemoteWork;
use crate::meta::rows::{Ino, ROOT, Ticket};
use crate::tree::{Identity, NewNode, Readiness, RenameRequest, Stat, Tree, TreeError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::api::{Answer, ChildEntry, ChildrenResponse, Outcome};
use tarn_proto::change::{Change, Cursor, Row};
use tarn_proto::ids::{DeviceId, EpochId, JournalHash, NodeId, SpaceId, VersionId};
use tarn_proto::manifest::Manifest;
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, Content, FileVersion, NodeKind, NodeState};
use tarn_proto::op::{OpKind, Operation, RenameMode};
use tarn_proto::version::VersionVector;

pub const SPACE: SpaceId = SpaceId([7; 16]);
pub const ME: DeviceId = DeviceId([1; 16]);
pub const OTHER: DeviceId = DeviceId([2; 16]);

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn root() -> NodeId {
    NodeId::root_of(SPACE)
}

pub fn cursor(seq: u64) -> Cursor {
    Cursor { epoch: EpochId([9; 16]), seq, hash: JournalHash([0; 32]) }
}

/// A device's tree with its folder.
pub struct Device {
    pub dir: tempfile::TempDir,
    pub tree: Arc<Tree>,
    pub journal: Arc<Journal>,
    _lock: StateLock,
    pub seq: u64,
}

fn assemble(dir: &std::path::Path) -> (Arc<Tree>, Arc<Journal>, StateLock) {
    assemble_with(dir, JournalOptions::default())
}

pub fn identity() -> Identity {
    Identity { device: ME, device_name: "laptop".to_owned(), space: SPACE }
}

fn assemble_with(dir: &std::path::Path, options: JournalOptions) -> (Arc<Tree>, Arc<Journal>, StateLock) {
    let env = Env::real();
    let lock = StateLock::acquire(&env, dir, Duration::from_secs(5)).unwrap();
    let identity = identity();
    let opened = Tree::assemble(&env, dir, options, Options::default(), identity).unwrap();
    opened.tree.take_inventory().unwrap();
    (opened.tree, opened.journal, lock)
}

impl Device {
    /// A device that has pulled nothing yet.
    pub fn unloaded() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (tree, journal, lock) = assemble(dir.path());
        Self { dir, tree, journal, _lock: lock, seq: 0 }
    }

    /// A device that has pulled an empty space.
    pub fn new() -> Self {
        let device = Self::unloaded();
        device.tree.begin_load().unwrap();
        device.tree.finish_load(crate::tree::Loaded::first(cursor(0))).unwrap();
        device
    }

    /// Ends the daemon the polite way and starts it again.
    pub fn restart(self) -> Self {
        let Self { dir, tree, journal, _lock, seq } = self;
        drop((tree, journal, _lock));
        let (tree, journal, lock) = assemble(dir.path());
        Self { dir, tree, journal, _lock: lock, seq }
    }

    /// Ends the daemon and starts the next one under the same mount.
    pub fn taken_over(self) -> Self {
        let Self { dir, tree, journal, _lock, seq } = self;
        drop((tree, journal));
        Self::under(dir, _lock, seq)
    }

    /// The next daemon under the same mount, after one that was killed before its last `count` records were written.
    pub fn taken_over_without(self, count: u64) -> Self {
        let next = Lsn(self.journal.last().0 + 1 - count);
        self.journal.flush(self.journal.last()).unwrap();
        let (dir, seq) = self.remains();
        // Records from the next one on are void.
        drop(Log::scan(&Env::real(), &dir.path().join("log"), LogOptions::default()).unwrap().start(next).unwrap());
        let lock = StateLock::acquire(&Env::real(), dir.path(), Duration::from_secs(5)).unwrap();
        Self::under(dir, lock, seq)
    }

    fn under(dir: tempfile::TempDir, _lock: StateLock, seq: u64) -> Self {
        let options = (JournalOptions::default(), Options::default());
        let opened = Tree::assemble_under(&Env::real(), dir.path(), options.0, options.1, identity(), true).unwrap();
        opened.tree.take_inventory().unwrap();
        Self { dir, tree: opened.tree, journal: opened.journal, _lock, seq }
    }

    /// Ends the daemon, has something done to its folder, and starts it again, as a device that has pulled nothing if
    /// that is what it finds.
    pub fn closed(self, change: impl FnOnce(&std::path::Path)) -> Self {
        let Self { dir, tree, journal, _lock, seq } = self;
        drop((tree, journal));
        change(dir.path());
        drop(_lock);
        let (tree, journal, lock) = assemble(dir.path());
        Self { dir, tree, journal, _lock: lock, seq }
    }

    /// A full pull of what the server has been told.
    pub fn pull_all(&mut self) {
        self.tree.begin_load().unwrap();
        let rows = ENTRIES.with_borrow(|entries| entries.values().cloned().collect::<Vec<_>>());
        let nodes = NODES.with_borrow(|nodes| nodes.clone());
        let nodes = nodes.into_iter().map(|(node, state)| node_row(node, state));
        let changes = nodes.chain(rows).map(|row| Change { seq: self.seq, row }).collect();
        self.tree.load_page(changes).unwrap();
        self.tree.finish_load(crate::tree::Loaded::first(cursor(self.seq))).unwrap();
    }

    /// The same device, whose database lags behind its log as long as nobody waits for it.
    pub fn lagging(self) -> Self {
        let Self { dir, tree, journal, _lock, seq } = self;
        drop((tree, journal, _lock));
        let hour = Duration::from_secs(3600);
        let options = JournalOptions { gather: hour, rush_gather: hour, ..JournalOptions::default() };
        let (tree, journal, lock) = assemble_with(dir.path(), options);
        Self { dir, tree, journal, _lock: lock, seq }
    }

    /// What a daemon finds that is started after this one was killed just now.
    pub fn kill(self) -> Self {
        let (dir, seq) = self.remains();
        let (tree, journal, lock) = assemble(dir.path());
        Self { dir, tree, journal, _lock: lock, seq }
    }

    fn remains(self) -> (tempfile::TempDir, u64) {
        let dir = tempfile::tempdir().unwrap();
        // The database before the log: what it lacks is in there.
        for part in ["state.db", "state.db-wal", "log", "slab", "contents"] {
            copy(&self.dir.path().join(part), &dir.path().join(part));
        }
        (dir, self.seq)
    }

    pub fn file(&self, parent: Ino, text: &str) -> Stat {
        self.tree.create(parent, &name(text), new(NodeKind::File)).unwrap()
    }

    pub fn folder(&self, parent: Ino, text: &str) -> Stat {
        self.tree.create(parent, &name(text), new(NodeKind::Dir)).unwrap()
    }

    /// Writes a whole new file, closed.
    pub fn written(&self, parent: Ino, text: &str, bytes: &[u8]) -> Ino {
        let ino = self.file(parent, text).ino;
        self.write(ino, 0, bytes);
        ino
    }

    pub fn write(&self, ino: Ino, offset: u64, bytes: &[u8]) {
        self.tree.opened(ino, true).unwrap();
        self.tree.write(ino, offset, bytes).unwrap();
        self.tree.closed(ino, true).unwrap();
    }

    /// A file that the server has, written to and removed before that was sent.
    pub fn removed_with_late_bytes(&mut self, text: &str) -> NodeId {
        let ino = self.written(TOP, text, b"sent");
        let OpKind::Create { node, .. } = self.push()[0].kind else { panic!("not created") };
        self.write(ino, 0, b"late");
        self.tree.unlink(TOP, &name(text)).unwrap();
        node
    }

    pub fn rename(&self, from: (Ino, &str), to: (Ino, &str), mode: RenameMode) -> Result<(), TreeError> {
        let ((parent, from), (to_parent, to)) = (from, to);
        self.tree.rename(&RenameRequest { parent, name: name(from), to_parent, to_name: name(to), mode })
    }

    /// Renames over whatever is there.
    pub fn renamed(&self, from: (Ino, &str), to: (Ino, &str)) {
        self.rename(from, to, RenameMode::Replace).unwrap();
    }

    pub fn read(&self, ino: Ino) -> Vec<u8> {
        let content = self.tree.content(ino).unwrap();
        match content.read(0, content.size_bytes() as usize).unwrap() {
            crate::content::Read::Bytes(bytes) => bytes.to_vec(),
            crate::content::Read::Missing(ranges) => panic!("not local: {ranges:?}"),
        }
    }

    pub fn lookup(&self, parent: Ino, text: &str) -> Result<Stat, TreeError> {
        self.tree.lookup(parent, &name(text))
    }

    pub fn at(&self, path: &str) -> Ino {
        self.tree.resolve(path.as_bytes()).unwrap()
    }

    /// The server listed a folder.
    pub fn listed(&self, node: NodeId, mut listing: ChildrenResponse) {
        let begun = self.tree.begin_listing(node, listing.seq).unwrap();
        let all = self.tree.list_children(begun, std::mem::take(&mut listing.children)).unwrap();
        self.tree.end_listing(all, listing).unwrap();
    }

    pub fn list(&self, ino: Ino) -> Vec<String> {
        let entries = self.tree.read_dir_whole(ino).unwrap();
        let mut names: Vec<String> = entries.into_iter().map(|entry| entry.name.to_string()).collect();
        names.sort();
        names
    }

    /// Freezes all that is ready, as the sync engine would while somebody waits for it.
    pub fn freeze(&self) -> Vec<(Ticket, Operation)> {
        let items = self.tree.queue(1_000).unwrap();
        let mut batch = Vec::new();
        for item in items {
            if !matches!(item.readiness, Readiness::Ready | Readiness::Half { .. }) {
                break;
            }
            let content = item.content_of.filter(|_| item.frozen.is_none()).map(|ino| {
                self.tree.prepare(item.ticket).unwrap();
                self.content_of(&self.read(ino))
            });
            batch.push((item.ticket, content));
        }
        self.tree.freeze(batch).unwrap()
    }

    pub fn content_of(&self, bytes: &[u8]) -> Content {
        content(bytes)
    }

    /// Pushes everything to a server that applies it all.
    pub fn push(&mut self) -> Vec<Operation> {
        let mut all = Vec::new();
        loop {
            let frozen = self.freeze();
            if frozen.is_empty() {
                return all;
            }
            let before = self.seq;
            let answers: Vec<(Ticket, Answer)> = frozen.iter().map(|(ticket, op)| (*ticket, self.apply(op))).collect();
            self.tree.settle(&answers, cursor(before), cursor(self.seq)).unwrap();
            all.extend(frozen.into_iter().map(|(_, op)| op));
        }
    }

    /// Sends what is ready, but only the first operation is answered.
    pub fn sent_one(&mut self) {
        let (ticket, op) = self.freeze().remove(0);
        let answer = self.apply(&op);
        self.tree.settle(&[(ticket, answer)], cursor(self.seq - 1), cursor(self.seq)).unwrap();
    }

    /// What the server answers to an operation that it applies.
    pub fn apply(&mut self, op: &Operation) -> Answer {
        self.seq += 1;
        let rows = applied_rows(op);
        keep_entries(&rows);
        let changes = rows.into_iter().map(|row| Change { seq: self.seq, row }).collect();
        Answer { counter: op.counter, outcome: Outcome::Applied, changes }
    }

    /// A cut with these rows, made by others.
    /// The server told of these rows besides, in an answer say.
    pub fn told(&mut self, rows: Vec<Row>) {
        self.seq += 1;
        let changes = rows.into_iter().map(|row| Change { seq: self.seq, row }).collect();
        let work = RemoteWork { changes, ..RemoteWork::default() };
        self.tree.edit(|session| session.absorb(work, Vec::new())).unwrap();
    }

    pub fn pull(&mut self, rows: Vec<Row>) {
        self.seq += 1;
        let changes = rows.into_iter().map(|row| Change { seq: self.seq, row }).collect();
        self.tree.apply_cut(changes, cursor(self.seq)).unwrap();
    }

    /// The same, and the server goes on knowing them: a full pull brings them again.
    pub fn pull_known(&mut self, rows: Vec<Row>) {
        self.changed_elsewhere(&rows);
        self.pull(rows);
    }

    /// What others did, of which this device has not heard.
    pub fn changed_elsewhere(&mut self, rows: &[Row]) {
        self.seq += 1;
        keep_entries(rows);
        NODES.with_borrow_mut(|nodes| {
            for row in rows {
                match row {
                    Row::Node { node, state: Some(state) } => drop(nodes.insert(*node, (**state).clone())),
                    Row::Node { node, state: None } => drop(nodes.remove(node)),
                    _ => {}
                }
            }
        });
    }

    /// How the server would list a folder now.
    pub fn children(&self, folder: NodeId) -> Vec<ChildEntry> {
        let child = |row: &Row| match row {
            Row::Entry { parent, name, node: Some(node) } if *parent == folder => {
                let state = NODES.with_borrow(|nodes| nodes[node].clone());
                Some(ChildEntry { name: name.clone(), entry_seq: self.seq, node: *node, node_seq: self.seq, state })
            }
            _ => None,
        };
        ENTRIES.with_borrow(|entries| entries.values().filter_map(child).collect())
    }
}

/// What the fixture's server knows is the thread's.
pub fn on_a_thread_of_its_own(call: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(call).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    if !from.is_dir() {
        // There may be none of it yet.
        let _ = std::fs::copy(from, to);
        return;
    }
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

pub fn new(kind: NodeKind) -> NewNode {
    NewNode::plain(kind, 0o644)
}

pub fn content(bytes: &[u8]) -> Content {
    let id = tarn_proto::chunk::content_id(&tarn_proto::chunk::ContentKey::Ordinary, bytes);
    let mut version = [0; 16];
    version.copy_from_slice(&id.0[..16]);
    let manifest = Manifest {
        level: 0,
        entries: if bytes.is_empty() {
            Vec::new()
        } else {
            vec![tarn_proto::manifest::ManifestEntry {
                id: tarn_proto::chunk::chunk_id(&tarn_proto::chunk::ContentKey::Ordinary, bytes),
                length: bytes.len() as u64,
                stored: bytes.len() as u64,
            }]
        },
    };
    Content { version: VersionId(version), size: bytes.len() as u64, content_id: id, manifest }
}

pub fn remote_file(bytes: &[u8], vector: VersionVector, author: DeviceId) -> NodeState {
    let file = Some(FileVersion { content: content(bytes), vector, author });
    NodeState { kind: NodeKind::File, attrs: Attrs { mode: 0o644, ..Attrs::default() }, file }
}

pub fn folder() -> NodeState {
    NodeState { kind: NodeKind::Dir, attrs: Attrs { mode: 0o755, ..Attrs::default() }, file: None }
}

pub fn gone(node: NodeId) -> Row {
    Row::Node { node, state: None }
}

/// A file of another device.
pub fn theirs(bytes: &[u8], counter: u64) -> NodeState {
    remote_file(bytes, VersionVector::default().with(OTHER, counter), OTHER)
}

pub fn folder_state() -> NodeState {
    NodeState { kind: NodeKind::Dir, attrs: Attrs { mode: 0o755, ..Attrs::default() }, file: None }
}

pub fn node_row(node: NodeId, state: NodeState) -> Row {
    Row::Node { node, state: Some(Arc::new(state)) }
}

pub fn entry_row(parent: NodeId, text: &str, node: Option<NodeId>) -> Row {
    Row::Entry { parent, name: name(text), node }
}

thread_local! {
    static NODES: std::cell::RefCell<BTreeMap<NodeId, NodeState>> = const { std::cell::RefCell::new(BTreeMap::new()) };
    static ENTRIES: std::cell::RefCell<BTreeMap<(NodeId, Name), Row>> =
        const { std::cell::RefCell::new(BTreeMap::new()) };
}

fn keep_entries(rows: &[Row]) {
    ENTRIES.with_borrow_mut(|entries| {
        for row in rows {
            if let Row::Entry { parent, name, .. } = row {
                entries.insert((*parent, name.clone()), row.clone());
            }
        }
    });
}

/// The rows that an operation changes on a server on which nothing else happens.
pub fn applied_rows(op: &Operation) -> Vec<Row> {
    NODES.with_borrow_mut(|nodes| match &op.kind {
        OpKind::Create { node, place, kind, attrs, content } => {
            let vector = VersionVector::default().with(ME, op.counter);
            let file = content.clone().map(|content| FileVersion { content, vector, author: ME });
            let state = NodeState { kind: kind.clone(), attrs: attrs.clone(), file };
            nodes.insert(*node, state.clone());
            vec![
                node_row(*node, state),
                Row::Entry { parent: place.parent, name: place.name.clone(), node: Some(*node) },
            ]
        }
        OpKind::Write { node, base, content, attrs, .. } => {
            let state = nodes.entry(*node).or_insert_with(|| remote_file(b"", VersionVector::default(), OTHER));
            attrs.apply_to(&mut state.attrs);
            let vector = base.clone().with(ME, op.counter);
            state.file = Some(FileVersion { content: content.clone(), vector, author: ME });
            vec![node_row(*node, state.clone())]
        }
        OpKind::SetAttr { node, attrs } => {
            let Some(state) = nodes.get_mut(node) else { return Vec::new() };
            attrs.apply_to(&mut state.attrs);
            vec![node_row(*node, state.clone())]
        }
        OpKind::Link { node, place } => {
            vec![Row::Entry { parent: place.parent, name: place.name.clone(), node: Some(*node) }]
        }
        OpKind::Unlink { place, seen } => vec![
            Row::Entry { parent: place.parent, name: place.name.clone(), node: None },
            Row::Node { node: seen.node, state: None },
        ],
        OpKind::Rename { from, to, seen, displaced, mode } => {
            let back = displaced.as_ref().filter(|_| *mode == RenameMode::Exchange).map(|other| other.node);
            let mut rows = vec![
                Row::Entry { parent: from.parent, name: from.name.clone(), node: back },
                Row::Entry { parent: to.parent, name: to.name.clone(), node: Some(seen.node) },
            ];
            let gone = displaced.iter().filter(|_| back.is_none());
            rows.extend(gone.map(|gone| Row::Node { node: gone.node, state: None }));
            rows
        }
        OpKind::Attach { .. } => Vec::new(),
    })
}

pub const TOP: Ino = ROOT;
