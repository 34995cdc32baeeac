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
    /// Disk: the database is never synced, whatever fsync says.
    DatabaseNotSynced,
    /// Disk: contents are never synced, whatever fsync says: what is recorded to be there need not be.
    PresenceBeforeContent,
    /// Server: who says what becomes of a conflict counts as having seen both files as they are by now.
    MergeOnStaleBase,
    /// Server: an operation whose counter is known gets the answer that was given to that one, whatever it is.
    AnswerOfAnother,
    /// Server: what was brought back after a restore is not noted: the next device that comes brings it again.
    BroughtBackTwice,
    /// Server: each conflict of a device gets a sibling of its own.
    SiblingPerSave,
    /// Server: it forgets that one folder stands for another.
    AliasForgotten,
    /// Device: what a cut says is taken in a second time, with the next one.
    PageAppliedTwice,
    /// Device: what brings a content keeps no order with what touches the same file or name.
    OrderNotKept,
    /// Device: a folder that is listed is taken for newer than all that is known.
    ListingTakenForNews,
    /// Device: what was refused leaves the queue at once, and its bytes are brought to safety by a later chore.
    RescueAfterRemoval,
}

/// What a few seeds find.
pub const PLANTS: [Plant; 18] = [
    Plant::AltNameIgnored,
    Plant::AnswerNotTakenIn,
    Plant::AnswersMixedUp,
    Plant::BaseNotSent,
    Plant::BaseTakenForGranted,
    Plant::ChunkNotKept,
    Plant::CursorBeforePages,
    Plant::CursorNotSaved,
    Plant::CutAppliedInPart,
    Plant::DatabaseNotSynced,
    Plant::FolderSeenAll,
    Plant::LogNotSynced,
    Plant::NameBesideNotTold,
    Plant::OrderNotKept,
    Plant::PageAppliedTwice,
    Plant::PullOverDirty,
    Plant::RescueAfterRemoval,
    Plant::TombstoneSkipped,
];

/// What takes too many seeds for every test run.
pub const RARE: [Plant; 10] = [
    Plant::AliasForgotten,
    Plant::AnswerOfAnother,
    Plant::BroughtBackTwice,
    Plant::CounterReused,
    Plant::ListingTakenForNews,
    Plant::MergeOnStaleBase,
    Plant::PresenceBeforeContent,
    Plant::RemovalsNotBroughtBack,
    Plant::SiblingPerSave,
    Plant::VectorOverwritten,
];
