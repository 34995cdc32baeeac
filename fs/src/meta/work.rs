//! Owns the shape of what comes from the server as one unit of work.

use super::rows::RowChange;
use serde::{Deserialize, Serialize};
use tarn_proto::change::{Change, Cursor};
use tarn_proto::ids::{NodeId, SpaceId};
use tarn_proto::node::ByteString;

/// What to do with the rows that were staged before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Staged {
    /// Nothing.
    #[default]
    Leave,
    /// Lays them over what is known, the higher seq winning, before anything else of this unit.
    Apply,
    /// Puts them in the place of all that was known of the server (a full pull, a new epoch):
    /// nodes, entries, aliases, conflicts and listings that are not among them are forgotten.
    Replace,
    /// The same where the server went on as another history: no row of the former one stays, whatever its seq.
    ReplaceAll,
}

/// What the server said, and what follows from it locally: applied together or not at all. A pull of
/// more than a page or two is staged: many times faster, and seen only as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RemoteWork {
    /// Changes of the local rows that go with it.
    pub rows: Vec<RowChange>,
    /// Rows of the server. A row of a lower seq than the one known is ignored, an entry row also if
    /// its directory was listed as of that seq or later.
    pub changes: Vec<Change>,
    /// Directories fully known as of a seq, once `changes` are applied. Names that a new listing no
    /// longer has must be among `changes` as free.
    pub listed: Vec<(NodeId, u64)>,
    /// Where this device now stands in a space's journal.
    pub cursor: Option<(SpaceId, Cursor)>,
    /// What becomes of the staged rows.
    pub staged: Staged,
    /// Values to keep, or with `None` to forget.
    pub kv: Vec<(String, Option<ByteString>)>,
}
