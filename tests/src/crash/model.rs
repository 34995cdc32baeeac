//! What a lane's folder holds, and the calls that change it. Does no I/O.

use std::collections::BTreeMap;

/// A file, whatever its names are.
pub type FileId = u64;

/// What a name speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Dir,
    /// A symbolic link and its target.
    Symlink(String),
    /// A file.
    File(FileId),
}

/// A call, and what it was asked. Paths are relative to the lane's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A new, empty file.
    Create(String),
    /// `pwrite` into a file that is there, not beyond its end.
    Write(String, usize, Vec<u8>),
    /// The same through a shared map, and `msync`.
    Map(String, usize, Vec<u8>),
    /// A new size.
    Truncate(String, usize),
    /// Also over what is there.
    Rename(String, String),
    /// A file or link.
    Unlink(String),
    /// A new folder.
    Mkdir(String),
    /// An empty folder.
    Rmdir(String),
    /// A link with this target.
    Symlink(String, String),
    /// All that came before, and this file's bytes, survive a power cut from now on.
    Fsync(String),
    /// A read of the whole file.
    Read(String),
}

/// What a lane's folder holds.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// By path.
    pub names: BTreeMap<String, Node>,
    /// By identity: renames change nothing here.
    pub files: BTreeMap<FileId, Vec<u8>>,
    next: FileId,
}

/// What was found at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A folder.
    Dir,
    /// A symbolic link and its target.
    Symlink(String),
    /// A file and its bytes.
    File(Vec<u8>),
}

/// What was found in a folder, by path.
pub type Tree = BTreeMap<String, Found>;

impl State {
    /// The file of a name.
    pub fn file_id(&self, path: &str) -> Option<FileId> {
        match self.names.get(path) {
            Some(Node::File(id)) => Some(*id),
            _ => None,
        }
    }

    /// The bytes of a file.
    pub fn bytes(&self, path: &str) -> Option<&Vec<u8>> {
        self.files.get(&self.file_id(path)?)
    }

    /// Whether a folder has anything in it.
    pub fn has_below(&self, dir: &str) -> bool {
        self.names.keys().any(|name| is_below(name, dir))
    }

    /// Does what the call does when it succeeds.
    pub fn apply(&mut self, call: &Call) {
        match call {
            Call::Create(path) => {
                self.next += 1;
                self.files.insert(self.next, Vec::new());
                self.set(path, Node::File(self.next));
            }
            Call::Write(path, offset, data) | Call::Map(path, offset, data) => self.change(path, |bytes| {
                bytes.resize(bytes.len().max(offset + data.len()), 0);
                bytes[*offset..offset + data.len()].copy_from_slice(data);
            }),
            Call::Truncate(path, size) => self.change(path, |bytes| bytes.resize(*size, 0)),
            Call::Rename(from, to) => self.rename(from, to),
            Call::Unlink(path) | Call::Rmdir(path) => self.remove(path),
            Call::Mkdir(path) => self.set(path, Node::Dir),
            Call::Symlink(path, target) => self.set(path, Node::Symlink(target.clone())),
            Call::Fsync(_) | Call::Read(_) => {}
        }
    }

    fn change(&mut self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(bytes) = self.file_id(path).and_then(|id| self.files.get_mut(&id)) {
            change(bytes);
        }
    }

    fn set(&mut self, path: &str, node: Node) {
        self.remove(path);
        self.names.insert(path.to_owned(), node);
    }

    fn remove(&mut self, path: &str) {
        if let Some(Node::File(id)) = self.names.remove(path) {
            self.files.remove(&id);
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        let Some(node) = self.names.remove(from) else { return };
        self.set(to, node);
        let below: Vec<String> = self.names.keys().filter(|name| is_below(name, from)).cloned().collect();
        for name in below {
            if let Some(node) = self.names.remove(&name) {
                self.names.insert(format!("{to}{}", &name[from.len()..]), node);
            }
        }
    }

    /// The state that was found: files get new identities.
    pub fn of(found: &Tree) -> Self {
        let mut state = Self::default();
        for (path, found) in found {
            match found {
                Found::Dir => state.set(path, Node::Dir),
                Found::Symlink(target) => state.set(path, Node::Symlink(target.clone())),
                Found::File(bytes) => {
                    state.apply(&Call::Create(path.clone()));
                    state.change(path, |own| own.clone_from(bytes));
                }
            }
        }
        state
    }
}

fn is_below(name: &str, dir: &str) -> bool {
    name.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}
