//! Owns what becomes of an operation: the whole table of the design's section 3. Pure: no SQL, no
//! HTTP, no async, no clock, no randomness; a decision is a function of (state, author, operation).
//!
//! Start at [`decide`]. The state is a [`Snapshot`]: the rows loaded so far and the batch's own
//! changes. When a rule needs a row that is not loaded it stops with [`Missing`]; the caller loads
//! those keys and asks again. A [`Snapshot::complete`] one is the whole state in memory, for tests
//! and simulation. Rules never invent state: what they answer are rows as they stand afterwards.

mod adopt;
mod attrs;
mod conflict;
mod create;
mod draft;
mod link;
mod place;
mod plan;
mod recover;
mod rename;
mod resolve;
mod revive;
mod row;
mod snapshot;
mod undo;
mod unlink;
mod validate;
mod write;

pub use draft::Effects;
pub use plan::wanted;
pub use recover::{Recover, Since, make_reachable, marks_of, recover, wanted as wanted_to_recover};
pub use resolve::{Resolve, resolve};
pub use row::{AliasRow, ConflictRow, EntryRow, GoneNode, Key, NodeRow, NodeSlot, VersionRow};
pub use snapshot::Snapshot;
pub use undo::{Before, Undo, undo};
pub use validate::check_content;

use draft::Draft;
use tarn_proto::api::Outcome;
use tarn_proto::change::Change;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ConflictId, DeviceId, SpaceId};
use tarn_proto::node::Timestamp;
use tarn_proto::op::{OpKind, Operation};

/// Who asks, and what they had seen.
#[derive(Debug, Clone)]
pub struct Author {
    /// The space that is changed.
    pub space: SpaceId,
    /// The device.
    pub device: DeviceId,
    /// Whom the versions name as their author; the device, unless the server acts for it.
    pub shown_as: DeviceId,
    /// What people call it.
    pub device_name: String,
    /// How much of the journal it had applied when it made the batch.
    pub cursor_seq: u64,
    /// The server's time; shown to people, decides nothing.
    pub now: Timestamp,
}

/// What became of one operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The answer.
    pub outcome: Outcome,
    /// The rows that the author applies: what changed, and present rows to adopt.
    pub changes: Vec<Change>,
    /// What to store; `None` if nothing changes, and then no seq is used.
    pub effects: Option<Effects>,
}

/// Rows that must be loaded before the operation can be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub Vec<Key>);

/// Why a rule stopped.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Halt {
    /// A row is not loaded.
    Missing(Key),
    /// The operation will never be done.
    Refused(ErrorCode, &'static str),
    /// Name and `alt_name` are taken.
    NeedsName,
}

/// How a rule ended when it did not stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// As asked.
    Applied,
    /// Joined with what others did.
    Merged,
    /// With a record.
    Conflicted(ConflictId),
}

type Rule<T = Done> = Result<T, Halt>;

fn refuse<T>(code: ErrorCode, detail: &'static str) -> Rule<T> {
    Err(Halt::Refused(code, detail))
}

/// Decides one operation. `seq` is the number that it gets if it changes anything; the snapshot is
/// not changed, see [`Snapshot::apply`].
///
/// # Errors
/// Says which rows must be loaded first; nothing else has happened.
pub fn decide(snapshot: &Snapshot, author: &Author, op: &Operation, seq: u64) -> Result<Decision, Missing> {
    let mut draft = Draft::new(snapshot, author, op, seq);
    let outcome = match run(&mut draft, op) {
        Ok(Done::Applied) => Outcome::Applied,
        Ok(Done::Merged) => Outcome::Merged,
        Ok(Done::Conflicted(conflict)) => Outcome::Conflicted { conflict },
        Err(Halt::Missing(key)) => return Err(Missing(vec![key])),
        Err(halt) => {
            draft = Draft::new(snapshot, author, op, seq);
            stopped(halt)
        }
    };
    let effects = draft.effects();
    let mut changes = effects.as_ref().map(Effects::changes).unwrap_or_default();
    let as_asked = outcome == Outcome::Applied && effects.is_some();
    if outcome.is_settled() && !as_asked {
        adopt::adopt(&draft, op, &mut changes).map_err(|key| Missing(vec![key]))?;
    }
    if outcome.is_settled() {
        adopt::left_places(&draft, op, &mut changes).map_err(|key| Missing(vec![key]))?;
    }
    Ok(Decision { outcome, changes, effects })
}

/// What comes of what is no operation: it happens whole or not at all.
fn decided<'a>(mut draft: Draft<'a>, settle: impl FnOnce(&mut Draft<'a>) -> Rule<()>) -> Result<Decision, Missing> {
    match settle(&mut draft) {
        Ok(()) => {
            let effects = draft.effects();
            let changes = effects.as_ref().map(Effects::changes).unwrap_or_default();
            Ok(Decision { outcome: Outcome::Applied, changes, effects })
        }
        Err(Halt::Missing(key)) => Err(Missing(vec![key])),
        Err(halt) => Ok(Decision { outcome: stopped(halt), changes: Vec::new(), effects: None }),
    }
}

fn stopped(halt: Halt) -> Outcome {
    match halt {
        Halt::Refused(code, detail) => Outcome::Refused { code, detail: detail.to_owned() },
        Halt::NeedsName => Outcome::NeedsName,
        Halt::Missing(_) => Outcome::RetryLater { code: ErrorCode::Unavailable, missing: Vec::new() },
    }
}

fn run(draft: &mut Draft<'_>, op: &Operation) -> Rule {
    match &op.kind {
        OpKind::Create { node, place, kind, attrs, content } => {
            create::create(draft, *node, place, kind, attrs, content.as_ref())
        }
        OpKind::Write { node, place, base, content, attrs } => {
            write::write(draft, &write::Write { node: *node, place, base, content, attrs })
        }
        OpKind::SetAttr { node, attrs } => attrs::set_attr(draft, *node, attrs),
        OpKind::Link { node, place } => link::link(draft, *node, place),
        OpKind::Unlink { place, seen } => unlink::unlink(draft, place, seen),
        OpKind::Rename { from, to, seen, displaced, mode } => {
            let displaced = displaced.as_ref();
            rename::rename(draft, &rename::Rename { from, to, seen, displaced, mode: *mode })
        }
        OpKind::Attach { .. } => refuse(ErrorCode::Forbidden, "spaces cannot be attached yet"),
    }
}

#[cfg(test)]
pub(crate) mod tests;
