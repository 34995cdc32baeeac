//! Owns bugs that are planted on purpose, in the simulated server: the simulation must find each.

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A pull says nothing of what is gone.
    TombstoneSkipped,
    /// Some chunks are acknowledged and not kept.
    ChunkNotKept,
    /// The cursor comes with the first page, and the others never do.
    CursorBeforePages,
}

pub const PLANTS: [Plant; 3] = [Plant::CursorBeforePages, Plant::TombstoneSkipped, Plant::ChunkNotKept];
