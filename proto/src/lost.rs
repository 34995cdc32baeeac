//! Owns what devices and server say to each other after the server was put back to an older copy of itself: its journal goes
//! on as another history, an *epoch*, and the devices bring back what the lost one had beyond the copy.
//!
//! A device sends whole states, as its rows have them; the server decides for each whether it is still news. Sending any of
//! it again, or by several devices, gives the same.

use crate::change::ConflictState;
use crate::ids::{ConflictId, EpochId, NodeId};
use crate::name::Name;
use crate::node::NodeState;
use crate::op::Place;
use serde::{Deserialize, Serialize};

/// Where a history began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EpochStart {
    /// Which.
    pub epoch: EpochId,
    /// Up to this seq it is the same as the one before it; 0 for the first.
    pub seq: u64,
}

/// The seq up to which two histories are the same, each told by its epochs, oldest first: the least at which either left
/// what they have in common. `None` if they are one history, as far as epochs tell; 0 if they have nothing in common.
pub fn fork_of(ours: &[EpochStart], theirs: &[EpochStart]) -> Option<u64> {
    let common = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    if common == 0 {
        return Some(0);
    }
    ours[common..].iter().chain(&theirs[common..]).map(|start| start.seq).min()
}

/// Something that a lost history had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// A node, or that it was gone.
    Node(LostNode),
    /// A name that was free, though the node that it names now was still there.
    Freed {
        /// Where.
        place: Place,
        /// Since which seq of the lost history.
        seq: u64,
    },
    /// A folder that another one stood for.
    Alias {
        /// The id that was never made.
        node: NodeId,
        /// The folder that stands for it.
        target: NodeId,
    },
    /// A conflict that was open.
    Conflict {
        /// Its id.
        conflict: ConflictId,
        /// Since which seq of the lost history it was so.
        seq: u64,
        /// Its state.
        state: Box<ConflictState>,
    },
}

/// A node as a lost history had it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LostNode {
    /// Which.
    pub node: NodeId,
    /// Since which seq of the lost history it and its names were so.
    pub seq: u64,
    /// Its state; `None`: it was gone. A file without content: its bytes are neither here nor there.
    pub state: Option<Box<NodeState>>,
    /// All its names.
    pub places: Vec<Place>,
    /// The name to take where another node has its own by now.
    #[serde(default)]
    pub alt_name: Option<Name>,
}

/// POST /spaces/{space}/recover: what a device has of a lost history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecoverRequest {
    /// The epoch that the server is in now; another one by the time it arrives is refused.
    pub epoch: EpochId,
    /// Up to which seq the two are the same, see [`fork_of`].
    pub fork: u64,
    /// Up to which seq of the lost history the device knew of all that is sent here.
    pub upto: u64,
    /// What it had beyond `fork`, at most [`crate::limits::RECOVER_ROWS_MAX`].
    pub rows: Vec<Lost>,
}

/// Answer: what became of each, in the order of the request; all of it in one transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecoverResponse {
    /// One for each row.
    pub answers: Vec<Recovered>,
    /// Where the journal stands with it.
    pub seq: u64,
}

/// What became of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Recovered {
    /// The server has it, or something newer.
    Done,
    /// Chunks of the content are missing: send them first, or the row without its content.
    MissingChunks,
    /// It cannot be had back, for the reason given.
    Refused(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(epoch: u8, seq: u64) -> EpochStart {
        EpochStart { epoch: EpochId([epoch; 16]), seq }
    }

    #[test]
    fn one_history_has_no_fork() {
        assert_eq!(fork_of(&[start(1, 0)], &[start(1, 0)]), None);
        assert_eq!(fork_of(&[start(1, 0), start(2, 50)], &[start(1, 0), start(2, 50)]), None);
    }

    #[test]
    fn the_server_went_on_from_a_copy() {
        assert_eq!(fork_of(&[start(1, 0)], &[start(1, 0), start(2, 50)]), Some(50));
        // Twice, the second time from an older copy of the second history, or of the first.
        assert_eq!(fork_of(&[start(1, 0)], &[start(1, 0), start(2, 50), start(3, 40)]), Some(40));
        assert_eq!(fork_of(&[start(1, 0), start(2, 50)], &[start(1, 0), start(2, 50), start(3, 60)]), Some(60));
    }

    #[test]
    fn the_copy_knew_nothing_of_the_devices_history() {
        // Put back to 50, then to a copy of the first history as it was at 100: what came after 50 differs.
        assert_eq!(fork_of(&[start(1, 0), start(2, 50)], &[start(1, 0), start(3, 100)]), Some(50));
        assert_eq!(fork_of(&[start(1, 0), start(2, 50)], &[start(1, 0)]), Some(50));
        assert_eq!(fork_of(&[start(1, 0)], &[start(2, 0)]), Some(0));
        assert_eq!(fork_of(&[], &[start(2, 0)]), Some(0));
    }
}
