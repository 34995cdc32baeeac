//! Owns the bodies of the calls under `/api/v1`, and their two encodings.

use crate::change::{Change, Cursor};
use crate::error::ErrorCode;
use crate::ids::{ChunkId, ConflictId, DeviceId, EpochId, NodeId, SpaceId, UserId, VersionId};
use crate::lost::EpochStart;
use crate::name::Name;
use crate::node::{ContentSummary, NodeState, Timestamp};
use crate::op::Operation;
pub use crate::usage::Usage;
use crate::version::VersionVector;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Media type of JSON bodies (the default).
pub const MEDIA_JSON: &str = "application/json";
/// Media type of the compact form: MessagePack with named fields.
pub const MEDIA_BINARY: &str = "application/vnd.tarn.v1+msgpack";
/// Media type of framed chunk bodies (`chunk::wire`).
pub const MEDIA_CHUNKS: &str = "application/vnd.tarn.v1.chunks";
/// Media type of problem details.
pub const MEDIA_PROBLEM: &str = "application/problem+json";

/// Encodes a message in the compact form.
pub fn to_binary<T: Serialize>(message: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(message).expect("wire types serialise: they hold no maps with unserialisable keys")
}

/// Decodes a message from the compact form.
///
/// # Errors
/// Fails on bytes that are not such a message.
pub fn from_binary<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}

macro_rules! message {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $name { $($(#[$fdoc])* pub $field: $type,)* }
    )*};
}

message! {
    /// POST /auth/login: signs in and enrols (or re-enrols) this device.
    LoginRequest {
        /// The account's name.
        user: String,
        /// The account's password.
        password: String,
        /// What people call this device; unique among the account's devices.
        device_name: String,
        /// The id this device has already, if it signs in again.
        #[serde(default)]
        device: Option<DeviceId>,
    }
    /// Answer to a login.
    LoginResponse {
        /// The account.
        user: UserId,
        /// The device, as enrolled.
        device: DeviceId,
        /// The bearer token of this device, until it is revoked.
        token: String,
        /// The account's home space.
        home: SpaceId,
    }
    /// POST /devices: a device enrols another one of its account, with no password.
    EnrolRequest {
        /// What people call it; a number is added if another device has the name.
        device_name: String,
    }
    /// Answer to an enrolment. The caller's own token goes on being good.
    EnrolResponse {
        /// The new device.
        device: DeviceId,
        /// Its name.
        device_name: String,
        /// Its bearer token.
        token: String,
    }
    /// One enrolled device.
    DeviceInfo {
        /// Its id.
        device: DeviceId,
        /// Its name.
        name: String,
        /// When it was enrolled.
        enrolled: Timestamp,
        /// When it last made a request.
        last_seen: Option<Timestamp>,
        /// Whether it may no longer sign in.
        revoked: bool,
        /// Whether it is the one that asks.
        current: bool,
    }
    /// GET /devices.
    DevicesResponse {
        /// All devices of the account.
        devices: Vec<DeviceInfo>,
    }
    /// One space of this user.
    SpaceInfo {
        /// Its id.
        space: SpaceId,
        /// Whether it is the home space.
        home: bool,
        /// Its root directory.
        root: NodeId,
        /// Where its journal stands.
        cursor: Cursor,
        /// Where its histories began, oldest first; the last is the cursor's.
        #[serde(default)]
        epochs: Vec<EpochStart>,
        /// Bytes of all present contents.
        bytes_used: u64,
        /// Bytes that may be used; `None` without a quota.
        bytes_max: Option<u64>,
    }
    /// GET /spaces.
    SpacesResponse {
        /// All spaces of the user.
        spaces: Vec<SpaceInfo>,
    }
    /// POST /spaces/{space}/push.
    PushRequest {
        /// Where the device stands; says what a folder's deleter has seen.
        cursor: Cursor,
        /// All answers up to this counter have been applied; the server may forget them.
        answered: u64,
        /// In order.
        ops: Vec<Operation>,
    }
    /// Answer to a push: one answer for each operation, in order.
    PushResponse {
        /// The answers.
        answers: Vec<Answer>,
        /// Where the journal stood before this batch (the space's row was locked).
        before: Cursor,
        /// Where it stands after it. If `before` is the device's cursor, the device may move to
        /// `after` once it has applied the answers; otherwise a pull brings the rest.
        after: Cursor,
        /// How full the space is after it.
        #[serde(default)]
        usage: Option<Usage>,
    }
    /// What became of one operation.
    Answer {
        /// Which.
        counter: u64,
        /// How it ended.
        outcome: Outcome,
        /// Rows that it changed, and present rows that a refused or merged one should adopt.
        #[serde(default)]
        changes: Vec<Change>,
    }
    /// One page of GET /spaces/{space}/pull?epoch=&seq=&hash=&page=.
    PullResponse {
        /// The cut: all pages answer as of this.
        upto: Cursor,
        /// Rows that became so after the cursor and are so at the cut. Pages may bring children
        /// before parents, and names that collide for a moment.
        changes: Vec<Change>,
        /// Opaque; asks for the next page. `None` on the last.
        next: Option<String>,
        /// How full the space is now.
        #[serde(default)]
        usage: Option<Usage>,
    }
    /// One entry of a listed folder.
    ChildEntry {
        /// The entry's name.
        name: Name,
        /// Since when it is so.
        entry_seq: u64,
        /// What it names.
        node: NodeId,
        /// Since when the node is so.
        node_seq: u64,
        /// The node's state.
        state: NodeState,
    }
    /// GET /spaces/{space}/nodes/{node}/children?after=&at=.
    ChildrenResponse {
        /// The listing is as of this seq (fixed by the first page).
        seq: u64,
        /// The folder itself.
        node: NodeState,
        /// Since when the folder is so.
        node_seq: u64,
        /// Its entries, ordered by name.
        children: Vec<ChildEntry>,
        /// Opaque; asks for the next page. `None` on the last.
        next: Option<String>,
        /// The history that `seq` is of; a server before this was said does not say it.
        #[serde(default)]
        epoch: Option<EpochId>,
    }
    /// POST /spaces/{space}/chunks/missing: renews the lease of what is there.
    MissingRequest {
        /// Ids to ask for.
        ids: Vec<ChunkId>,
    }
    /// Answer: what must be sent.
    MissingResponse {
        /// Ids that this user's spaces do not reach yet, in the order asked.
        missing: Vec<ChunkId>,
    }
    /// POST /spaces/{space}/chunks: the answer after the pack is durable.
    UploadResponse {
        /// Chunks taken.
        accepted: u64,
        /// Of those, chunks that the server did not have before.
        stored: u64,
    }
    /// POST /spaces/{space}/chunks/fetch.
    FetchRequest {
        /// What to send, in order.
        ranges: Vec<ChunkRange>,
    }
    /// One version of a file's history.
    VersionInfo {
        /// Its id.
        version: VersionId,
        /// Its size.
        content: ContentSummary,
        /// What it has seen.
        vector: VersionVector,
        /// Which device made it.
        author: DeviceId,
        /// The journal's seq that brought it.
        seq: u64,
        /// When, by the server's clock.
        time: Timestamp,
    }
    /// GET /files/{node}/versions, newest first.
    VersionsResponse {
        /// The history.
        versions: Vec<VersionInfo>,
    }
    /// GET /files/{node}/receipts: who has a file's present version.
    ReceiptsResponse {
        /// The present version.
        version: VersionId,
        /// The journal's seq that brought it.
        seq: u64,
        /// The account's devices, without those that were revoked.
        devices: Vec<DeviceReceipt>,
    }
    /// What a device said last.
    DeviceReceipt {
        /// Which device.
        device: DeviceId,
        /// What people call it.
        name: String,
        /// Whether it wrote the version or has applied it.
        has_version: bool,
        /// Up to which seq it has applied the space; a version of a file with a lower `seq` it has seen, too.
        seq: Option<u64>,
        /// When it said so, by the server's clock.
        time: Option<Timestamp>,
    }
    /// GET /conflicts.
    ConflictsResponse {
        /// Open conflicts, oldest first.
        conflicts: Vec<ConflictInfo>,
    }
    /// One open conflict.
    ConflictInfo {
        /// Its id.
        conflict: ConflictId,
        /// Which space.
        space: SpaceId,
        /// Its state.
        state: crate::change::ConflictState,
    }
    /// POST /conflicts/{conflict}/resolve.
    ResolveRequest {
        /// What becomes the file.
        keep: Keep,
        /// What the caller has seen: the vectors of the file and of its sibling, joined.
        seen: VersionVector,
        /// What of that is of the file; without it `seen` stands for each of the two.
        #[serde(default)]
        seen_file: Option<VersionVector>,
        /// What of it is of the sibling.
        #[serde(default)]
        seen_sibling: Option<VersionVector>,
        /// Where the caller stood in the space's journal then: what is of a lost history it brings back first.
        #[serde(default)]
        cursor: Option<Cursor>,
        /// The name of the file that is made for [`Keep::Both`] if there is no sibling.
        #[serde(default)]
        alt_name: Option<Name>,
        /// For [`Keep::Merged`]: the file's next content, if it does not hold it already. Its chunks are sent before.
        #[serde(default)]
        content: Option<crate::node::Content>,
    }
    /// Answer: how the conflict was resolved, by whoever came first.
    ResolveResponse {
        /// How.
        resolution: Resolution,
        /// The journal's seq that brought it.
        seq: u64,
    }
    /// How a conflict was resolved.
    Resolution {
        /// What was kept.
        keep: Keep,
        /// Which device's person said so.
        device: DeviceId,
        /// That device's name then.
        device_name: String,
        /// When, by the server's clock.
        time: Timestamp,
    }
    /// POST /spaces/{space}/undo: takes back what a device did.
    UndoRequest {
        /// Which device.
        device: DeviceId,
        /// What it did from then on, by the server's clock.
        since: Timestamp,
    }
    /// Answer: what was taken back, in one piece.
    UndoResponse {
        /// Nodes that are as they were.
        undone: u64,
        /// Files that others have written since: what they were before is in an open conflict.
        conflicts: u64,
        /// Nodes that stay as they are.
        left: Vec<UndoLeft>,
        /// Where the journal stands with it.
        seq: u64,
    }
    /// Something that was not taken back.
    UndoLeft {
        /// Which node.
        node: NodeId,
        /// One of its names, the one that it had or has.
        name: Option<Name>,
        /// Why, for people.
        why: String,
    }
    /// A device's word that it has applied a space up to a seq.
    Receipt {
        /// Which space.
        space: SpaceId,
        /// How far.
        cursor: Cursor,
    }
}

/// A chunk, or frames of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChunkRange {
    /// Which chunk.
    pub id: ChunkId,
    /// First frame wanted.
    pub first_frame: u32,
    /// How many frames; clipped to the chunk's end.
    pub frame_count: u32,
}

/// What a resolved conflict leaves. No content is lost: what is not kept stays in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The file as it is; the sibling goes.
    Stayed,
    /// The content that did not stay becomes the file's; the sibling goes.
    Theirs,
    /// Both files.
    Both,
    /// What was made of both: the content that comes with the request, or what the file holds by now; the sibling goes.
    Merged,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done as asked.
    Applied,
    /// What was wanted is so already, or was joined with what others did; the changes say how.
    Merged,
    /// Two versions neither of which had seen the other: the record holds the one that did not stay.
    Conflicted {
        /// The record.
        conflict: ConflictId,
    },
    /// Will never be done. The operation is settled; its author adopts the changes.
    Refused {
        /// Why.
        code: ErrorCode,
        /// For people.
        detail: String,
    },
    /// Not now; this and all that follow are not settled.
    RetryLater {
        /// Why.
        code: ErrorCode,
        /// For `MissingChunks`: which.
        #[serde(default)]
        missing: Vec<ChunkId>,
    },
    /// The name and the `alt_name` are taken: ask again with another `alt_name`. Not settled.
    NeedsName,
    /// An earlier operation of the batch is not settled, so this one was not looked at.
    Skipped,
}

impl Outcome {
    /// Whether the operation has had its final answer.
    pub fn is_settled(&self) -> bool {
        !matches!(self, Self::RetryLater { .. } | Self::NeedsName | Self::Skipped)
    }
}

/// A message from the server over `/notify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// A space's journal has come to `cursor`. Losing, repeating or forging one costs latency only.
    Changed {
        /// Which space.
        space: SpaceId,
        /// How far.
        seq: u64,
    },
    /// This device was revoked.
    Revoked,
}

/// A message to the server over `/notify`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NotifyMessage {
    /// What has been applied.
    Receipt(Receipt),
}

#[cfg(test)]
mod tests;
