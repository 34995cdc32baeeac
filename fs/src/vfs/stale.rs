//! Owns the set of inodes of which the kernel holds something old: attributes, pages, a listing. It is told by whoever comes first,
//! the notifier or an open. Counts changes of attributes, so that what was concluded from them can be seen to be old.
//!
//! Who opens a file must find that the kernel has been told before: with the old size it would cut short, or run beyond, what the
//! handle reads. And it must not be told afterwards: an answer with the new size that is on its way then is shown to the program, but
//! not taken in (Linux drops attributes that were asked for before an invalidation), so that a map made by it ends in SIGBUS.

use crate::meta::rows::Ino;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long an open waits until somebody else has told the kernel.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the kernel holds of an inode that is no longer so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Old {
    /// Its attributes.
    Attributes,
    /// Its pages as well, or its listing.
    Content,
}

/// Has the kernel forget what it holds of an inode, before it returns.
pub trait Forget: Send + Sync + Debug {
    /// The attributes only: this waits for nobody who uses the inode. May be called by whoever answers a call.
    fn forget_attributes(&self, ino: Ino);

    /// The pages as well. Waits for those who read them; nobody may who has it open.
    fn forget_content(&self, ino: Ino);
}

/// What is on its way to the kernel about an inode.
#[derive(Debug, Default)]
struct Pending {
    /// Batches with news of its content that are not told to their end.
    batches: u32,
    /// What nobody has begun to tell.
    untold: Option<Old>,
    /// How many are telling.
    tellers: u32,
}

impl Pending {
    fn is_over(&self) -> bool {
        (self.batches, self.untold, self.tellers) == (0, None, 0)
    }
}

/// Inodes with news on their way to the kernel.
#[derive(Debug, Default)]
pub struct Stale {
    kernel: OnceLock<Box<dyn Forget>>,
    pending: Mutex<HashMap<Ino, Pending>>,
    told: Condvar,
    change_count: AtomicU64,
}

impl Stale {
    /// Sets how the kernel is told; only the first counts.
    pub fn attach(&self, kernel: Box<dyn Forget>) {
        // A second mount tells through the first one's.
        let _ = self.kernel.set(kernel);
    }

    /// Whether the kernel may still hold something old of an inode that is being opened. If not, it has been told of all that was
    /// entered before, and will not be told again. It may if the telling lasts: then it has forgotten the attributes.
    pub fn is_stale_to_open(&self, ino: Ino) -> bool {
        let mut pending = self.pending.lock();
        loop {
            let Some(news) = pending.get_mut(&ino) else { return false };
            let Some(kernel) = self.kernel.get() else { return true };
            if let Some(old) = news.take() {
                drop(pending);
                match old {
                    Old::Attributes => kernel.forget_attributes(ino),
                    Old::Content => kernel.forget_content(ino),
                }
                self.told(ino, None);
                pending = self.pending.lock();
            } else if news.tellers == 0 {
                return false;
            } else if self.told.wait_while_for(&mut pending, |all| is_being_told(all, ino), PATIENCE).timed_out() {
                drop(pending);
                kernel.forget_attributes(ino);
                return true;
            }
        }
    }

    /// Has the kernel forget attributes that a call changed without its answer saying so.
    pub fn forget_attributes(&self, ino: Ino) {
        if let Some(kernel) = self.kernel.get() {
            kernel.forget_attributes(ino);
        }
    }

    /// Notes that attributes of some inode changed.
    pub fn note_attributes(&self) {
        self.change_count.fetch_add(1, Ordering::AcqRel);
    }

    /// How often that happened.
    pub fn attribute_changes(&self) -> u64 {
        self.change_count.load(Ordering::Acquire)
    }

    /// Notes that a batch on its way to the kernel has news of an inode's content or listing.
    pub fn enter(&self, ino: Ino) {
        self.pending.lock().entry(ino).or_default().batches += 1;
    }

    /// Notes that such a batch has been told to its end.
    pub fn leave(&self, ino: Ino) {
        self.change(ino, |news| news.batches = news.batches.saturating_sub(1));
    }

    /// Notes what somebody has to tell.
    pub fn owe(&self, ino: Ino, old: Old) {
        let mut pending = self.pending.lock();
        let news = pending.entry(ino).or_default();
        news.untold = news.untold.max(Some(old));
    }

    /// Takes over to tell what nobody has begun to tell; [`Self::told`] must follow.
    pub fn claim(&self, ino: Ino) -> Option<Old> {
        self.pending.lock().get_mut(&ino)?.take()
    }

    /// What was claimed has been told; what is to be told `again`, for the kernel did not know the inode, is owed on.
    pub fn told(&self, ino: Ino, again: Option<Old>) {
        self.change(ino, |news| {
            news.tellers = news.tellers.saturating_sub(1);
            news.untold = news.untold.max(again);
        });
        self.told.notify_all();
    }

    fn change(&self, ino: Ino, change: impl FnOnce(&mut Pending)) {
        let mut pending = self.pending.lock();
        let Some(news) = pending.get_mut(&ino) else { return };
        change(news);
        if news.is_over() {
            pending.remove(&ino);
        }
    }

    /// Whether the kernel may hold old pages, or an old listing, of this inode.
    pub fn contains(&self, ino: Ino) -> bool {
        self.pending.lock().get(&ino).is_some_and(|news| news.batches > 0)
    }
}

impl Pending {
    fn take(&mut self) -> Option<Old> {
        let old = self.untold.take()?;
        self.tellers += 1;
        Some(old)
    }
}

fn is_being_told(all: &HashMap<Ino, Pending>, ino: Ino) -> bool {
    all.get(&ino).is_some_and(|news| news.untold.is_none() && news.tellers > 0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    const INO: Ino = Ino(7);

    /// What the kernel was told to forget.
    #[derive(Debug, Default)]
    pub struct Told(pub Mutex<Vec<(Ino, Old)>>);

    impl Forget for Arc<Told> {
        fn forget_attributes(&self, ino: Ino) {
            self.0.lock().push((ino, Old::Attributes));
        }

        fn forget_content(&self, ino: Ino) {
            self.0.lock().push((ino, Old::Content));
        }
    }

    fn attached() -> (Stale, Arc<Told>) {
        let (stale, told) = (Stale::default(), Arc::new(Told::default()));
        stale.attach(Box::new(Arc::clone(&told)));
        (stale, told)
    }

    #[test]
    fn what_an_open_has_told_nobody_tells_again() {
        let (stale, told) = attached();
        stale.enter(INO);
        stale.owe(INO, Old::Content);
        stale.owe(INO, Old::Attributes);
        assert!(stale.contains(INO) && !stale.is_stale_to_open(INO));
        assert_eq!((&told.0.lock()[..], stale.claim(INO)), (&[(INO, Old::Content)][..], None));
        stale.leave(INO);
        assert!(!stale.contains(INO) && stale.pending.lock().is_empty());
    }

    #[test]
    fn an_open_waits_for_whoever_tells() {
        let (stale, told) = attached();
        stale.owe(INO, Old::Content);
        assert_eq!(stale.claim(INO), Some(Old::Content));
        thread::scope(|scope| {
            let open = scope.spawn(|| stale.is_stale_to_open(INO));
            // The kernel knew nothing of the inode: whoever opens it tells again.
            stale.told(INO, Some(Old::Attributes));
            assert!(!open.join().unwrap());
        });
        assert_eq!((&told.0.lock()[..], stale.pending.lock().len()), (&[(INO, Old::Attributes)][..], 0));
    }

    #[test]
    fn an_open_does_not_wait_for_ever() {
        let (stale, told) = attached();
        stale.owe(INO, Old::Content);
        assert!(stale.claim(INO).is_some() && stale.is_stale_to_open(INO));
        assert_eq!(told.0.lock()[..], [(INO, Old::Attributes)], "whose size the kernel must ask for before it reads");
        stale.told(INO, None);
        assert!(!stale.is_stale_to_open(INO));
    }
}
