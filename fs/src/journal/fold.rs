//! Owns folding many changes into few: every row change sets a whole row, so only the last one of each
//! row counts, and sorted by key they fill the tables in order. Pure.

use crate::meta::rows::{ContentNo, Ino, RowChange, Ticket};
use std::collections::{BTreeMap, BTreeSet};
use tarn_proto::ids::VersionId;
use tarn_proto::name::Name;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Inode(Ino),
    Entry(Ino, &'a Name),
    Content(ContentNo),
    Queue(Ticket),
    /// Never folded: the marks rise to the highest.
    Counter(u64),
    Rescue(VersionId),
}

fn key_of(change: &RowChange) -> Key<'_> {
    match change {
        RowChange::Inode(ino, _) => Key::Inode(*ino),
        RowChange::Entry(parent, name, _) => Key::Entry(*parent, name),
        RowChange::Content(no, _) => Key::Content(*no),
        RowChange::Queue(ticket, _) => Key::Queue(*ticket),
        RowChange::Counter(counter) => Key::Counter(*counter),
        RowChange::Rescue(version, _) => Key::Rescue(*version),
    }
}

/// The changes of a batch, folded.
#[derive(Debug, Default)]
pub(super) struct Folded<'a> {
    rows: BTreeMap<Key<'a>, &'a RowChange>,
    touched: BTreeSet<ContentNo>,
}

impl<'a> Folded<'a> {
    /// Takes the next changes.
    pub(super) fn add(&mut self, rows: &'a [RowChange]) {
        for change in rows {
            if let RowChange::Content(no, _) = change {
                self.touched.insert(*no);
            }
            self.rows.insert(key_of(change), change);
        }
    }

    /// Notes that a content was written or resized.
    pub(super) fn touch(&mut self, no: ContentNo) {
        self.touched.insert(no);
    }

    /// What is left, sorted.
    pub(super) fn rows(&self) -> impl Iterator<Item = &'a RowChange> {
        self.rows.values().copied()
    }

    /// Contents that were touched: those that remain, and those that are gone.
    pub(super) fn contents(&self) -> (Vec<ContentNo>, Vec<ContentNo>) {
        self.touched
            .iter()
            .partition(|no| !matches!(self.rows.get(&Key::Content(**no)), Some(RowChange::Content(_, None))))
    }
}
