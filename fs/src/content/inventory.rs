//! Owns what a start learns of the run before, in the background: which rows there are, what is pinned, and which
//! backing files nobody speaks of. Nothing clean is kept or dropped before it is done.

use super::slab::Slot;
use super::state::row_charge_bytes;
use super::store::Contents;
use crate::meta::rows::{ContentNo, ContentPlace, ContentRow, Ino};
use std::io;

impl Contents {
    /// Takes rows that an earlier run left, in any order and number; all, then [`Self::inventory_done`].
    pub fn inventory<'a>(&self, rows: impl IntoIterator<Item = (ContentNo, &'a ContentRow)>) {
        for (no, row) in rows {
            let loaded = self.shared.loaded.lock();
            if let ContentPlace::Slab { offset, capacity_bytes } = row.place {
                self.shared.slab.learn(Slot { offset, capacity_bytes });
            }
            if loaded.contains_key(&no) || self.shared.removed.lock().contains(&no) {
                continue;
            }
            self.shared.budget.recount(0, row_charge_bytes(row));
            if let (false, Some(base)) = (row.present.is_empty(), &row.base) {
                self.shared.sources.note_new(no, base);
            }
            match row.place {
                ContentPlace::None => {}
                ContentPlace::Slab { .. } => self.shared.recency.add_oldest((no, 0)),
                ContentPlace::File => self.shared.enlist_extents(no, &row.present),
            }
        }
    }

    /// Removes backing files that an earlier run left and no row speaks of: of contents up to `last` that are not
    /// `named`, in order. To be called before [`Self::inventory_done`]. Returns how many.
    ///
    /// # Errors
    /// The disk's.
    pub fn sweep(&self, last: ContentNo, named: &[ContentNo]) -> io::Result<usize> {
        if self.is_known() {
            return Ok(0); // what is made meanwhile is not noted
        }
        let (disk, layout) = (self.shared.disk.as_ref(), &self.shared.layout);
        let mut count = 0;
        for no in layout.backed(disk)? {
            if no > last || named.binary_search(&no).is_ok() {
                continue;
            }
            // Held until it is gone: whoever makes one of this number makes it anew.
            let made = self.shared.made.lock();
            if !made.contains(&no) {
                layout.remove_backing(disk, no)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Says that all rows of an earlier run were given: from now on clean content is kept again.
    ///
    /// # Errors
    /// The disk's.
    pub fn inventory_done(&self) -> io::Result<()> {
        self.shared.slab.learned()?;
        let _loaded = self.shared.loaded.lock();
        self.shared.removed.lock().clear();
        self.shared.made.lock().clear();
        self.shared.budget.set_known();
        Ok(())
    }

    /// Says that a content of an earlier run is pinned, without loading it.
    pub fn pin_unloaded(&self, no: ContentNo, ino: Ino) {
        self.shared.pinned.lock().insert(no, ino);
    }

    /// What is pinned, and whose contents these are.
    pub fn pinned(&self) -> Vec<(ContentNo, Ino)> {
        self.shared.pinned.lock().iter().map(|(no, ino)| (*no, *ino)).collect()
    }

    /// Whether [`Self::inventory_done`] was called: nothing is dropped or kept before.
    pub fn is_known(&self) -> bool {
        self.shared.budget.is_known()
    }
}
