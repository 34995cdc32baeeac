//! Owns bugs that are planted on purpose, one at a time, in the simulated server, on the wire, in the device and under
//! it: the simulation must find each.

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Server: a pull says nothing of what is gone.
    TombstoneSkipped,
    /// Server: some chunks are acknowledged and not kept.
    ChunkNotKept,
    /// Server: the cursor comes with the first page, and the others never do.
    CursorBeforePages,
    /// Server: a write counts as having seen whatever is there.
    BaseTakenForGranted,
    /// Server: a new version has not seen those that it was made from.
    VectorOverwritten,
    /// Server: the other name that an operation brings is never taken.
    AltNameIgnored,
    /// Server: of what a device brings back after a restore, removals are passed over.
    RemovalsNotBroughtBack,
    /// Device: what is moved or removed is not said to stand under another name.
    NameBesideNotTold,
    /// Device: a write does not say what it is based on.
    BaseNotSent,
    /// Device: two answers of one push are applied to each other's operations.
    AnswersMixedUp,
    /// Device: a pull is applied over bytes that wait to be sent.
    PullOverDirty,
    /// Device: the cursor of a cut is saved with the first half of its rows.
    CutAppliedInPart,
    /// Device: the cursor goes on with an answer, and what the answer changed is not taken in.
    AnswerNotTakenIn,
    /// Device: the removal of a folder does not say what had been seen of it.
    FolderSeenAll,
    /// Device: an operation gets the id of the one before it.
    CounterReused,
    /// Device: a cut is taken in and its cursor is not saved.
    CursorNotSaved,
    /// Disk: the log is never synced, whatever fsync says.
    LogNotSynced,
}

/// What a few seeds find.
pub const PLANTS: [Plant; 11] = [
    Plant::CursorBeforePages,
    Plant::TombstoneSkipped,
    Plant::ChunkNotKept,
    Plant::BaseTakenForGranted,
    Plant::VectorOverwritten,
    Plant::BaseNotSent,
    Plant::AnswersMixedUp,
    Plant::PullOverDirty,
    Plant::CutAppliedInPart,
    Plant::AnswerNotTakenIn,
    Plant::CursorNotSaved,
];

/// What takes too many seeds, or too long, for every test run.
pub const RARE: [Plant; 6] = [
    Plant::LogNotSynced,
    Plant::NameBesideNotTold,
    Plant::AltNameIgnored,
    Plant::FolderSeenAll,
    Plant::CounterReused,
    Plant::RemovalsNotBroughtBack,
];
