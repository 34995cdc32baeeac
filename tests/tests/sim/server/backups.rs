//! Owns the server's backups: what one has, going back to one, and taking in what devices have beyond it.

use super::{Backup, SPACE, SimServer, epoch_id, refused};
use crate::plant::Plant;
use std::collections::HashSet;
use tarn::remote::RemoteError;
use tarn_proto::api::Outcome;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{DeviceId, NodeId};
use tarn_proto::lost::{EpochStart, Lost, LostNode, RecoverRequest, RecoverResponse, Recovered};
use tarn_proto::node::Timestamp;
use tarn_server::rules::{self, Author, Decision, Since};

impl SimServer {
    /// What a backup has.
    pub fn backup(&self) -> Backup {
        Backup {
            snapshot: self.snapshot.clone(),
            rows: self.rows.clone(),
            versions: self.versions.clone(),
            chunks: self.chunks.clone(),
            hashes: self.hashes.clone(),
            marks: self.marks.clone(),
        }
    }

    /// The server is its backup again, and knows it. Objects may have been kept where they are.
    pub fn put_back(&mut self, backup: Backup, keeps_chunks: bool) {
        let kept = std::mem::take(&mut self.chunks);
        self.show(backup);
        if keeps_chunks {
            self.chunks = kept;
        }
        self.pages.clear();
        self.recovered.clear();
        self.aliased.clear();
        self.epoch = epoch_id(self.epochs.len() + 1);
        self.epochs.push(EpochStart { epoch: self.epoch, seq: self.seq() });
    }

    pub(super) fn show(&mut self, backup: Backup) {
        let Backup { snapshot, rows, versions, chunks, hashes, marks } = backup;
        (self.snapshot, self.rows, self.versions, self.hashes, self.marks) = (snapshot, rows, versions, hashes, marks);
        self.chunks = chunks;
    }

    /// As `service::recover` does it.
    pub fn recover(&mut self, request: &RecoverRequest, now: Timestamp) -> Result<RecoverResponse, RemoteError> {
        if request.epoch != self.epoch {
            return Err(refused(ErrorCode::EpochChanged, "the server is in another epoch by now"));
        }
        let first = self.seq() + 1;
        let mut since = Since { fork: request.fork, recovered: self.recovered.clone() };
        since.recovered.push((first, u64::MAX));
        let rows: Vec<&Lost> = request.rows.iter().filter(|lost| !self.is_passed_over(lost)).collect();
        let node_of = |lost: &&Lost| if let Lost::Node(lost) = lost { Some(lost.node) } else { None };
        let together: HashSet<NodeId> = rows.iter().filter_map(node_of).collect();
        let (mut todo, mut brought, mut is_last) = (rows, Vec::new(), false);
        while !todo.is_empty() {
            let count = todo.len();
            let mut left = Vec::new();
            for lost in todo {
                if self.is_lacking(lost) || !self.bring(lost, (&since, &together), is_last, now)? {
                    left.push(lost);
                } else {
                    brought.extend(rules::marks_of(lost));
                }
            }
            if left.len() == count && std::mem::replace(&mut is_last, true) {
                break;
            }
            todo = left;
        }
        for node in std::mem::take(&mut self.touched) {
            let decision = rules::make_reachable(&self.snapshot, &self.author_of_recovery(now), node, self.seq() + 1);
            self.take(decision)?;
        }
        if self.plant == Some(Plant::BroughtBackTwice) {
            brought.clear();
        }
        brought.into_iter().for_each(|mark| self.snapshot.set_recovered(mark, request.upto));
        if self.seq() >= first {
            self.recovered.push((first, self.seq()));
        }
        let answer = |lost| if self.is_lacking(lost) { Recovered::MissingChunks } else { Recovered::Done };
        Ok(RecoverResponse { answers: request.rows.iter().map(answer).collect(), seq: self.seq() })
    }

    fn is_passed_over(&self, lost: &Lost) -> bool {
        let is_gone = matches!(lost, Lost::Node(LostNode { state: None, .. }) | Lost::Freed { .. });
        is_gone && self.plant == Some(Plant::RemovalsNotBroughtBack)
    }

    fn is_lacking(&self, lost: &Lost) -> bool {
        let content = match lost {
            Lost::Node(lost) => lost.state.as_ref().and_then(|state| state.file.as_ref()).map(|file| &file.content),
            Lost::Conflict { state, .. } => Some(&state.theirs.content),
            Lost::Freed { .. } | Lost::Alias { .. } => None,
        };
        content.is_some_and(|content| self.bytes_of(content).is_none())
    }

    fn author_of_recovery(&self, now: Timestamp) -> Author {
        let device = DeviceId(self.epoch.0);
        let device_name = "the server".to_owned();
        Author { space: SPACE, device, shown_as: device, device_name, cursor_seq: self.seq(), now }
    }

    fn bring(
        &mut self,
        lost: &Lost,
        (since, together): (&Since, &HashSet<NodeId>),
        is_last: bool,
        now: Timestamp,
    ) -> Result<bool, RemoteError> {
        let seq = self.seq() + 1;
        let asked = rules::Recover { lost, since, together, is_last, counter: seq };
        let decision = rules::recover(&self.snapshot, &self.author_of_recovery(now), &asked, seq);
        self.take(decision)
    }

    /// Whether it was done.
    fn take(&mut self, decision: Result<Decision, rules::Missing>) -> Result<bool, RemoteError> {
        let decision = decision.map_err(|missing| RemoteError::Busy(format!("rows are missing: {missing:?}")))?;
        if let Some(effects) = decision.effects {
            self.touched.extend(effects.touched());
            self.apply(&effects, self.seq() + 1);
        }
        Ok(decision.outcome == Outcome::Applied)
    }
}
