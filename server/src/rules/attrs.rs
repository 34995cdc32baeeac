//! Owns what becomes of `setattr`: field by field, the last to arrive.

use super::draft::Draft;
use super::row::NodeSlot;
use super::{Done, Rule, refuse, validate};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::NodeId;
use tarn_proto::node::AttrChange;

/// Changes attributes. Those of a removed node no longer matter.
pub(super) fn set_attr(draft: &mut Draft<'_>, node: NodeId, change: &AttrChange) -> Rule {
    validate::attr_change(change)?;
    let node = draft.resolve(node)?;
    let mut state = match draft.node(node)? {
        NodeSlot::Present(row) => row.state.clone(),
        NodeSlot::Gone(_) => return Ok(Done::Merged),
        _ => return refuse(ErrorCode::UnknownNode, "the node is unknown"),
    };
    change.apply_to(&mut state.attrs);
    validate::attrs(&state.attrs)?;
    draft.put_node(node, state, false)?;
    Ok(Done::Applied)
}
