//! Owns what the server does wrong on purpose (see `plant`), and what it refuses by chance, as it would for a quota, a role
//! or a space that is gone.

use super::{SimServer, content_of};
use crate::dice::Dice;
use crate::oracle::tokens;
use crate::plant::Plant;
use std::collections::BTreeSet;
use std::sync::Arc;
use tarn_proto::api::Outcome;
use tarn_proto::change::{Change, Row};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ConflictId, ContentId, DeviceId, NodeId};
use tarn_proto::node::FileVersion;
use tarn_proto::op::{OpKind, Operation, RenameMode};
use tarn_proto::version::VersionVector;
use tarn_server::rules::{Author, Effects, NodeSlot};

/// What was refused.
#[derive(Debug, Clone, Default)]
pub struct Refused {
    /// The writes in contents.
    pub writes: BTreeSet<u64>,
    /// Those contents, each with the name of who brought it.
    pub contents: BTreeSet<(String, ContentId)>,
    /// What was to move, and has not been moved since.
    pub moves: BTreeSet<NodeId>,
}

impl SimServer {
    /// The final answer to an operation whose content the server does not want.
    pub(super) fn refusal(&mut self, device: DeviceId, op: &Operation) -> Option<Outcome> {
        content_of(op).filter(|content| content.size > 0)?;
        let mut dice = Dice::of(op.counter, 13 + u64::from(device.0[0]));
        if !dice.chance(self.refusals) {
            return None;
        }
        Some(Outcome::Refused { code: ErrorCode::Forbidden, detail: "not here".into() })
    }

    /// Notes what became of an operation for who looks at the end.
    pub(super) fn note_outcome(&mut self, device: DeviceId, op: &Operation, outcome: &Outcome) {
        self.note_refused(device, op, outcome);
        self.note_again(device, op);
        let OpKind::Write { node, content, .. } = &op.kind else { return };
        let file = match outcome {
            Outcome::Merged => Some(*node),
            // What two devices brought into one conflict has one sibling.
            Outcome::Conflicted { conflict } => self.sibling_of(*conflict),
            _ => None,
        };
        let file = file.and_then(|node| self.node(node)?.file);
        let joined = file.filter(|file| file.author != device && file.content.content_id == content.content_id);
        self.settled.versions.extend(joined.map(|file| file.content.version));
    }

    /// Notes what the machine brought before, as the device that it was then.
    fn note_again(&mut self, device: DeviceId, op: &Operation) {
        let Some(content) = content_of(op) else { return };
        let name = self.names.get(&device);
        let is_past_self = |author: &DeviceId| *author != device && name.is_some() && self.names.get(author) == name;
        let is_again = |file: &FileVersion| file.content.content_id == content.content_id && is_past_self(&file.author);
        if self.versions.values().any(|(_, file)| is_again(file)) {
            self.settled.again.insert(content.version);
        }
    }

    fn sibling_of(&self, conflict: ConflictId) -> Option<NodeId> {
        let open = self.open_conflicts().into_iter().find(|(open, _)| *open == conflict);
        open.and_then(|(_, state)| state.sibling)
    }

    /// What was refused, by chance or by the rules: who brought a content rescues it, and what was to move stays where it is.
    fn note_refused(&mut self, device: DeviceId, op: &Operation, outcome: &Outcome) {
        let is_refused = matches!(outcome, Outcome::Refused { .. });
        if let OpKind::Rename { seen, displaced, mode, .. } = &op.kind {
            let exchanged = displaced.iter().filter(|_| *mode == RenameMode::Exchange);
            for node in exchanged.chain([seen]).map(|seen| seen.node) {
                // One that moved since is where it was to go.
                if is_refused {
                    self.refused.moves.insert(node)
                } else {
                    self.refused.moves.remove(&node)
                };
            }
        }
        let Some(content) = content_of(op).filter(|_| is_refused) else { return };
        let bytes = self.bytes_of(content).unwrap_or_default();
        self.refused.writes.extend(tokens(&bytes));
        let name = self.names.get(&device).cloned().unwrap_or_default();
        self.refused.contents.insert((name, content.content_id));
    }

    /// Whether a content of this machine was refused.
    pub fn is_refused(&self, who: usize, content: ContentId) -> bool {
        self.refused.contents.contains(&(format!("machine {who}"), content))
    }

    /// A folder for which another stands is found by its old id for ever.
    pub(super) fn note_aliases(&mut self, op: &Operation, outcome: &Outcome, changes: &[Change]) {
        self.aliased.extend(changes.iter().filter_map(|change| match &change.row {
            Row::Alias { node, .. } => Some(*node),
            _ => None,
        }));
        let parents = match &op.kind {
            OpKind::Create { place, .. } | OpKind::Link { place, .. } => vec![place.parent],
            OpKind::Rename { from, to, .. } => vec![from.parent, to.parent],
            _ => Vec::new(),
        };
        let is_unknown = matches!(outcome, Outcome::Refused { code: ErrorCode::UnknownParent, .. });
        if is_unknown && parents.iter().any(|parent| self.aliased.contains(parent)) {
            self.faults
                .push(format!("operation {} is about a folder for which another stands: {outcome:?}", op.counter));
        }
    }

    /// An operation as the rules are asked about it.
    pub(super) fn spoilt(&self, op: &Operation) -> Operation {
        let mut op = op.clone();
        if let (Some(Plant::BaseTakenForGranted), OpKind::Write { node, base, .. }) = (self.plant, &mut op.kind)
            && let Some(file) = self.node(*node).and_then(|state| state.file)
        {
            *base = file.vector;
        }
        if self.plant == Some(Plant::AltNameIgnored) {
            op.alt_name = None;
        }
        op
    }
}

/// Somebody of the same name whose conflicts nobody knows.
pub(super) fn unknown(author: &Author, seq: u64) -> Author {
    let mut device = author.device;
    device.0[8..].copy_from_slice(&seq.to_le_bytes());
    Author { device, ..author.clone() }
}

/// Makes versions that an operation brought forget what they were made from.
pub(super) fn overwrite_vectors(device: DeviceId, counter: u64, changes: &mut [Change], effects: Option<&mut Effects>) {
    let forget = |file: &mut FileVersion| {
        if file.vector.get(device) == counter {
            file.vector = VersionVector::default().with(device, counter);
        }
    };
    for change in changes {
        if let Row::Node { state: Some(state), .. } = &mut change.row {
            Arc::make_mut(state).file.iter_mut().for_each(forget);
        }
    }
    let Some(effects) = effects else { return };
    effects.versions.iter_mut().for_each(|version| forget(&mut version.file));
    for change in &mut effects.nodes {
        if let NodeSlot::Present(row) = &mut change.slot {
            row.state.file.iter_mut().for_each(forget);
        }
    }
}
