//! Owns what can be read of records that are not applied: the names that they are about, and bytes of small files.

use crate::env::{Env, OpenMode};
use crate::journal::{Lost, Record};
use crate::meta::rows::{ContentNo, Ino, LocalOp, ROOT, RowChange};
use crate::meta::{MetaError, Reader};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tarn_proto::name::Name;

/// Folders lie no deeper; a cycle of damaged rows ends here.
const DEPTH_MAX: usize = 1000;

/// One change of a small content.
enum Piece {
    Bytes(u64, Vec<u8>),
    Size(u64),
}

/// What is left.
#[derive(Default)]
pub(super) struct Remains {
    /// Paths below the mount.
    pub paths: BTreeSet<String>,
    /// Contents in the order of their numbers: the name to keep each under, and what was written.
    files: Vec<(Vec<u8>, Vec<Piece>)>,
}

#[derive(Default)]
struct Found {
    names: HashMap<Ino, (Ino, Name)>,
    about: Vec<(Ino, Name)>,
    owners: HashMap<ContentNo, Ino>,
    pieces: BTreeMap<ContentNo, Vec<Piece>>,
    damaged: Option<ContentNo>,
}

impl Remains {
    pub fn of(lost: &Lost<'_>) -> Result<Self, MetaError> {
        let mut found = Found::default();
        for record in lost.suspect.iter().chain(lost.behind.iter().map(|(_, record)| record)) {
            found.take(record);
        }
        if let Some(Record::Write { content, .. }) = &lost.suspect {
            found.damaged = Some(*content);
        }
        found.sum_up(&lost.readers.get()?)
    }

    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// Writes the bytes of small files into a folder, durably.
    pub fn write(&self, env: &Env, dir: &Path) -> io::Result<()> {
        env.disk.create_dir_all(dir)?;
        let mut taken = BTreeSet::new();
        for (name, pieces) in &self.files {
            let path = free(dir, name, &mut taken);
            let file = env.disk.open(&path, OpenMode::Create)?;
            for piece in pieces {
                match piece {
                    Piece::Bytes(offset, data) => file.write_at(data, *offset)?,
                    Piece::Size(size_bytes) => file.set_len(*size_bytes)?,
                }
            }
            file.sync_data()?;
        }
        env.disk.sync_dir(dir)
    }
}

/// A path that no other file of these has.
fn free(dir: &Path, name: &[u8], taken: &mut BTreeSet<PathBuf>) -> PathBuf {
    let numbered = |number: usize| match number {
        1 => name.to_vec(),
        number => [format!("{number} ").as_bytes(), name].concat(),
    };
    let mut number = 1;
    loop {
        let path = dir.join(OsStr::from_bytes(&numbered(number)));
        if taken.insert(path.clone()) {
            return path;
        }
        number += 1;
    }
}

impl Found {
    fn take(&mut self, record: &Record) {
        match record {
            Record::Work { rows, .. } => rows.iter().for_each(|row| self.take_row(row)),
            // It comes again from the server; only who owns which content is of use.
            Record::Remote(work) => work.rows.iter().for_each(|row| self.take_owner(row)),
            Record::Write { content, offset, data } => self.piece(*content, Piece::Bytes(*offset, data.clone())),
            Record::Resize { content, size_bytes } => self.piece(*content, Piece::Size(*size_bytes)),
        }
    }

    fn piece(&mut self, content: ContentNo, piece: Piece) {
        self.pieces.entry(content).or_default().push(piece);
    }

    fn take_owner(&mut self, row: &RowChange) {
        if let RowChange::Content(no, Some(row)) = row {
            self.owners.insert(*no, row.ino);
        }
    }

    fn take_row(&mut self, row: &RowChange) {
        self.take_owner(row);
        match row {
            RowChange::Entry(parent, name, Some(row)) => {
                if let Some(ino) = row.ino {
                    self.names.insert(ino, (*parent, name.clone()));
                }
                self.about.push((*parent, name.clone()));
            }
            RowChange::Queue(_, Some(queued)) => self.take_op(&queued.op),
            _ => {}
        }
    }

    fn take_op(&mut self, op: &LocalOp) {
        match op {
            LocalOp::Create { ino, parent, name }
            | LocalOp::Write { ino, parent, name, .. }
            | LocalOp::Link { ino, parent, name } => {
                self.names.entry(*ino).or_insert_with(|| (*parent, name.clone()));
                self.about.push((*parent, name.clone()));
            }
            LocalOp::Unlink { parent, name, .. } => self.about.push((*parent, name.clone())),
            LocalOp::Rename { parent, name, to_parent, to_name, .. } => {
                self.about.extend([(*parent, name.clone()), (*to_parent, to_name.clone())]);
            }
            LocalOp::SetAttr { .. } => {}
        }
    }

    fn sum_up(mut self, reader: &Reader) -> Result<Remains, MetaError> {
        let mut remains = Remains::default();
        for (no, pieces) in std::mem::take(&mut self.pieces) {
            let owner = match self.owners.get(&no) {
                Some(ino) => Some(*ino),
                None => reader.content(no)?.map(|row| row.ino),
            };
            let place = owner.map_or(Ok(None), |ino| self.place(reader, ino))?;
            let name = place
                .as_ref()
                .map_or_else(|| format!("file {}", no.0).into_bytes(), |(_, name)| name.as_bytes().to_vec());
            let mark: &[u8] = if self.damaged == Some(no) { b"damaged " } else { b"" };
            remains.files.push(([mark, &name].concat(), pieces));
            self.about.extend(place);
        }
        for (parent, name) in &self.about {
            remains.paths.insert(self.path(reader, *parent, name)?);
        }
        Ok(remains)
    }

    /// Where an inode was last: here, or as the database has it.
    fn place(&self, reader: &Reader, ino: Ino) -> Result<Option<(Ino, Name)>, MetaError> {
        if let Some(place) = self.names.get(&ino) {
            return Ok(Some(place.clone()));
        }
        if let Some((parent, name, _)) = reader.local_entries_of(ino)?.into_iter().next() {
            return Ok(Some((parent, name)));
        }
        let Some(node) = reader.inode(ino)?.and_then(|row| row.node) else { return Ok(None) };
        let Some(entry) = reader.entries_of_node(node)?.into_iter().next() else { return Ok(None) };
        Ok(reader.inode_of(entry.parent)?.map(|(parent, _)| (parent, entry.name)))
    }

    fn path(&self, reader: &Reader, parent: Ino, name: &Name) -> Result<String, MetaError> {
        let (mut path, mut at) = (String::from_utf8_lossy(name.as_bytes()).into_owned(), parent);
        for _ in 0..DEPTH_MAX {
            if at == ROOT {
                return Ok(path);
            }
            let Some((above, name)) = self.place(reader, at)? else { break };
            path = format!("{}/{path}", String::from_utf8_lossy(name.as_bytes()));
            at = above;
        }
        Ok(format!("…/{path}"))
    }
}
