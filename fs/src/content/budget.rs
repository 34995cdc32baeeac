//! Owns the count of clean bytes on the disk, and the order in which they were used.
//!
//! Counts blocks, not bytes. Space is reserved before it is written, so the limit holds at any moment.

use crate::meta::rows::ContentNo;
use lru::LruCache;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is evicted at once: an extent of a backing file (by number), or a small content (extent 0).
pub(super) type Piece = (ContentNo, u64);

/// The budget of clean content.
#[derive(Debug)]
pub(super) struct Budget {
    limit_bytes: AtomicU64,
    extra_bytes: AtomicU64,
    /// Folders: they come and stay.
    fixed_bytes: AtomicU64,
    count: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    used_bytes: u64,
    reserved_bytes: u64,
    /// Whether everything that an earlier run left was counted.
    known: bool,
}

/// Space that was set apart; given back when dropped.
#[derive(Debug)]
#[must_use]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut count = self.budget.count.lock();
        count.reserved_bytes = count.reserved_bytes.saturating_sub(self.bytes);
    }
}

impl Budget {
    pub(super) fn new(limit_bytes: u64, known: bool) -> Self {
        let count = Mutex::new(Count { known, ..Count::default() });
        Self { limit_bytes: limit_bytes.into(), extra_bytes: 0.into(), fixed_bytes: 0.into(), count }
    }

    pub(super) fn set_limit(&self, bytes: u64) {
        self.limit_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn set_extra(&self, bytes: u64) {
        self.extra_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn extra_bytes(&self) -> u64 {
        self.extra_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add_fixed(&self, bytes: u64) {
        self.fixed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What is taken of the limit by others than contents.
    fn others_bytes(&self) -> u64 {
        self.extra_bytes() + self.fixed_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set_known(&self) {
        self.count.lock().known = true;
    }

    pub(super) fn is_known(&self) -> bool {
        self.count.lock().known
    }

    pub(super) fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that count against the limit, without reservations.
    pub(super) fn used_bytes(&self) -> u64 {
        self.count.lock().used_bytes + self.extra_bytes()
    }

    /// By how much the limit is exceeded if `bytes` more are wanted.
    pub(super) fn excess(&self, bytes: u64) -> u64 {
        let count = self.count.lock();
        let wanted = count.used_bytes + count.reserved_bytes + self.others_bytes() + bytes;
        wanted.saturating_sub(self.limit_bytes())
    }

    /// Reserves without making room.
    pub(super) fn try_reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let mut count = self.count.lock();
        let wanted = count.used_bytes + count.reserved_bytes + self.others_bytes() + bytes;
        if !count.known || wanted > self.limit_bytes() {
            return None;
        }
        count.reserved_bytes += bytes;
        Some(Reservation { budget: self.clone(), bytes })
    }

    /// Replaces a content's share of the count.
    pub(super) fn recount(&self, before: u64, after: u64) {
        let mut count = self.count.lock();
        count.used_bytes = (count.used_bytes + after).saturating_sub(before);
    }
}

/// In which order pieces were used. What was fetched on a guess and not used yet is kept apart.
#[derive(Debug)]
pub(super) struct Recency(Mutex<Orders>);

#[derive(Debug)]
struct Orders {
    used: LruCache<Piece, ()>,
    /// With their bytes.
    guessed: LruCache<Piece, u64>,
    guessed_bytes: u64,
}

impl Orders {
    fn take_guess(&mut self, piece: &Piece) {
        self.guessed_bytes -= self.guessed.pop(piece).unwrap_or(0);
    }

    fn pop_guess(&mut self) -> Option<Piece> {
        let (piece, bytes) = self.guessed.pop_lru()?;
        self.guessed_bytes -= bytes;
        Some(piece)
    }
}

impl Recency {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Orders { used: LruCache::unbounded(), guessed: LruCache::unbounded(), guessed_bytes: 0 }))
    }

    /// Says that a piece was used just now.
    pub(super) fn touch(&self, piece: Piece) {
        let mut orders = self.0.lock();
        orders.take_guess(&piece);
        orders.used.put(piece, ());
    }

    /// Says that so many bytes of a piece came on a guess.
    pub(super) fn guess(&self, piece: Piece, bytes: u64) {
        let mut orders = self.0.lock();
        if !orders.used.contains(&piece) {
            let before = orders.guessed.get(&piece).copied().unwrap_or(0);
            orders.guessed.put(piece, before + bytes);
            orders.guessed_bytes += bytes;
        }
    }

    /// Adds a piece as the one that was not used for longest, unless it is known.
    pub(super) fn add_oldest(&self, piece: Piece) {
        let mut orders = self.0.lock();
        if !orders.used.contains(&piece) && !orders.guessed.contains(&piece) {
            orders.used.put(piece, ());
            orders.used.demote(&piece);
        }
    }

    /// Takes a guess that nobody used, if there are more than `guessed_max_bytes` of them; else the piece that was not
    /// used for longest.
    pub(super) fn pop_oldest(&self, guessed_max_bytes: u64) -> Option<Piece> {
        let mut orders = self.0.lock();
        let guess = if orders.guessed_bytes > guessed_max_bytes { orders.pop_guess() } else { None };
        guess.or_else(|| orders.used.pop_lru().map(|(piece, ())| piece)).or_else(|| orders.pop_guess())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(n: u64) -> Piece {
        (ContentNo(n), 0)
    }

    #[test]
    fn guesses_beyond_their_share_go_first_unless_they_were_used() {
        let recency = Recency::new();
        recency.touch(piece(1));
        (2..=5).for_each(|n| recency.guess(piece(n), 10));
        recency.touch(piece(2));
        recency.guess(piece(1), 10);
        let order: Vec<_> = std::iter::from_fn(|| recency.pop_oldest(10)).map(|(no, _)| no.0).collect();
        assert_eq!(order, [3, 4, 1, 2, 5], "3 and 4 are too much; what was used goes by age; at the end the rest");
    }

    #[test]
    fn a_guess_that_comes_in_parts_is_one_piece() {
        let recency = Recency::new();
        recency.guess(piece(1), 10);
        recency.guess(piece(1), 10);
        recency.add_oldest(piece(1));
        assert_eq!(recency.pop_oldest(0), Some(piece(1)));
        assert_eq!(recency.pop_oldest(0), None);
        assert_eq!(recency.0.lock().guessed_bytes, 0);
    }
}
