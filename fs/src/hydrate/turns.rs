//! Owns in which order files get what is fetched ahead for them: some frames of one, then some of the next (round robin), so that who
//! reads far ahead leaves the wire to others.

use super::flights::FrameKey;
use std::collections::{HashMap, VecDeque};

/// Frames of one file before the next file's turn: enough for a long range of a request.
const TURN_FRAMES: usize = 16;

/// Whose a frame is.
pub(super) type Owner = usize;

/// Frames, in the order of each file, and the files in turns.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Owners of frames; the first one's turn it is.
    order: VecDeque<Owner>,
    frames: HashMap<Owner, VecDeque<FrameKey>>,
    /// Frames that the first one had in this turn.
    taken: usize,
}

impl Turns {
    /// Behind what the file waits for already.
    pub fn push_back(&mut self, owner: Owner, key: FrameKey) {
        self.of(owner).push_back(key);
    }

    /// Before it.
    pub fn push_front(&mut self, owner: Owner, key: FrameKey) {
        self.of(owner).push_front(key);
    }

    fn of(&mut self, owner: Owner) -> &mut VecDeque<FrameKey> {
        self.frames.entry(owner).or_insert_with(|| {
            self.order.push_back(owner);
            VecDeque::new()
        })
    }

    /// The next frame.
    pub fn front(&self) -> Option<FrameKey> {
        self.frames.get(self.order.front()?)?.front().copied()
    }

    /// Takes it out.
    pub fn pop_front(&mut self) -> Option<FrameKey> {
        let owner = *self.order.front()?;
        let frames = self.frames.get_mut(&owner)?;
        let key = frames.pop_front();
        self.taken += 1;
        if frames.is_empty() {
            self.frames.remove(&owner);
            self.order.pop_front();
            self.taken = 0;
        } else if self.taken == TURN_FRAMES {
            self.order.rotate_left(1);
            self.taken = 0;
        }
        key
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;
    use tarn_proto::ids::ChunkId;

    fn key(owner: Owner, frame: usize) -> FrameKey {
        FrameKey { id: ChunkId([owner as u8; 32]), frame: frame as u32 }
    }

    fn all(turns: &mut Turns) -> Vec<FrameKey> {
        let next = || {
            let front = turns.front();
            assert_eq!(turns.pop_front(), front);
            front
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn who_wants_much_waits_for_whoever_wants_little() {
        let mut turns = Turns::default();
        let frames = |owner, range: Range<usize>| range.map(move |frame| key(owner, frame));
        for (owner, count) in [(1, 3 * TURN_FRAMES), (2, 2), (3, TURN_FRAMES + 1)] {
            frames(owner, 0..count).for_each(|key| turns.push_back(owner, key));
        }
        let wanted = frames(1, 0..TURN_FRAMES)
            .chain(frames(2, 0..2))
            .chain(frames(3, 0..TURN_FRAMES))
            .chain(frames(1, TURN_FRAMES..2 * TURN_FRAMES))
            .chain(frames(3, TURN_FRAMES..TURN_FRAMES + 1))
            .chain(frames(1, 2 * TURN_FRAMES..3 * TURN_FRAMES));
        assert_eq!(all(&mut turns), wanted.collect::<Vec<_>>());
        assert!(turns.is_empty());
    }

    #[test]
    fn what_is_put_back_comes_first_in_its_own_turn() {
        let mut turns = Turns::default();
        turns.push_back(1, key(1, 1));
        turns.push_back(2, key(2, 1));
        turns.push_front(2, key(2, 0));
        assert_eq!(all(&mut turns), [key(1, 1), key(2, 0), key(2, 1)]);
        turns.push_back(1, key(1, 0));
        turns.clear();
        assert!(turns.is_empty() && turns.front().is_none());
    }
}
