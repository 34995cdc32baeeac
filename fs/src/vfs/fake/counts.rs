//! What was asked of the tree, and how often.

use super::FakeTree;
use parking_lot::MutexGuard;

impl FakeTree {
    /// How often attributes were asked for.
    pub fn stat_count(&self) -> u32 {
        self.0.lock().asked
    }

    pub fn sync_count(&self) -> u32 {
        self.0.lock().synced
    }

    /// Syncs of files that began.
    pub fn syncing_count(&self) -> u32 {
        self.0.lock().syncing
    }

    /// No sync of a file ends while this is held.
    pub fn hold_syncs(&self) -> MutexGuard<'_, ()> {
        self.2.lock()
    }
}
