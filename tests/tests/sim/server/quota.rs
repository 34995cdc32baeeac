//! Owns how much room the account has, as `service::push` asks about it.

use super::{SPACE, SimServer};
use tarn_proto::api::{Answer, Outcome, SpaceInfo, Usage};
use tarn_proto::change::Row;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::NodeId;
use tarn_proto::op::{OpKind, Operation};
use tarn_server::rules::Decision;

impl SimServer {
    /// Leaves room for so many bytes; `None`: for all that comes.
    pub fn leave(&mut self, bytes_free: Option<u64>) {
        self.bytes_max = bytes_free.map(|bytes_free| self.bytes_used() + bytes_free);
    }

    fn bytes_used(&self) -> u64 {
        let size = |row: &Row| match row {
            Row::Node { state: Some(state), .. } => state.file.as_ref().map_or(0, |file| file.content.size),
            _ => 0,
        };
        self.rows.values().map(|change| size(&change.row)).sum()
    }

    /// How full the account is; nobody asks while it has no bound.
    pub fn usage(&self) -> Usage {
        let (bytes_used, bytes_max) = (self.bytes_max.map_or(0, |_| self.bytes_used()), self.bytes_max);
        Usage { bytes_used, bytes_max }
    }

    /// The answer to an operation for which there is no room.
    pub(super) fn no_room(&self, op: &Operation, decision: &Decision) -> Option<Answer> {
        let brings = matches!(&op.kind, OpKind::Create { content: Some(_), .. } | OpKind::Write { .. });
        let grows = decision.effects.as_ref().map_or(0, |effects| effects.bytes_grown);
        let bytes_free = self.usage().bytes_free()?;
        let fits = !brings || u64::try_from(grows).is_ok_and(|grows| grows <= bytes_free) || grows <= 0;
        let outcome = Outcome::RetryLater { code: ErrorCode::QuotaExceeded, missing: Vec::new() };
        (!fits).then(|| Answer { counter: op.counter, outcome, changes: Vec::new() })
    }

    /// What there is to know of the space.
    pub fn info(&self) -> SpaceInfo {
        let (root, epochs) = (NodeId::root_of(SPACE), self.epochs.clone());
        let Usage { bytes_used, bytes_max } = self.usage();
        SpaceInfo { space: SPACE, home: true, root, cursor: self.cursor(), epochs, bytes_used, bytes_max }
    }
}
