//! Owns the error codes of the wire: stable, one meaning each. Status numbers are the server's table.

use serde::{Deserialize, Serialize};

/// What went wrong, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request cannot be read.
    BadRequest,
    /// No token, or one that is unknown, expired or revoked.
    Unauthenticated,
    /// Wrong name or password.
    BadCredentials,
    /// This user or device may not do that.
    Forbidden,
    /// There is no such thing, or it is another user's.
    NotFound,
    /// The thing exists already.
    AlreadyExists,
    /// The body exceeds its limit.
    TooLarge,
    /// Too many requests.
    TooManyRequests,
    /// Passwords are not taken over plain HTTP from another machine.
    InsecureTransport,
    /// A name breaks the rules of names.
    BadName,
    /// A manifest whose lengths do not add up, or with a malformed node.
    BadManifest,
    /// A chunk whose bytes do not match its id, or with a malformed header.
    BadChunk,
    /// Chunks that must be sent first.
    MissingChunks,
    /// A counter or vector component was reused or fell behind: take a new device id.
    DeviceRolledBack,
    /// Counters in a push do not increase.
    BadCounter,
    /// The server has not caught up with this cursor.
    LaggingReplica,
    /// The cursor is of another epoch, or its hash differs: pull again from the start.
    EpochChanged,
    /// The cursor is older than the tombstones: pull again from the start.
    CursorExpired,
    /// The named parent never existed.
    UnknownParent,
    /// The parent is gone and its tombstone too: make the path again.
    ParentGone,
    /// The parent is no directory.
    NotADirectory,
    /// The operation fits no node of this kind.
    WrongKind,
    /// The move would close a cycle.
    Cycle,
    /// The node is unknown.
    UnknownNode,
    /// The node id is taken.
    NodeExists,
    /// It has changed since the caller looked at it: look again.
    Stale,
    /// The place is deeper than the limit.
    TooDeep,
    /// Attributes exceed their limits.
    BadAttributes,
    /// The account's quota is used up.
    QuotaExceeded,
    /// The server cannot answer now.
    Unavailable,
    /// A fault of the server; its log says more.
    Internal,
}

impl ErrorCode {
    /// Whether the same request may succeed later without anything else being done.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::TooManyRequests | Self::LaggingReplica | Self::Unavailable | Self::Internal)
    }
}

/// Problem details as in RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{title}{}", detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default())]
pub struct Problem {
    /// `about:blank`: the code says it all.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// One sentence for people, the same for each code.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable code.
    pub code: ErrorCode,
    /// Whether to try the same again.
    pub retryable: bool,
    /// What is special about this case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
