//! Owns the bugs planted in a device: the production tree behind ports that do one thing wrong.

use super::plant::Plant;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tarn::content::Read;
use tarn::env::Env;
use tarn::meta::rows::{Ino, ROOT, Ticket};
use tarn::sync::ports::{SyncTree, UploadSource};
use tarn::tree::{Listing, Loaded, NewNode, QueueItem, QueueTotals, Tree, TreeError};
use tarn_proto::api::{Answer, ChildEntry, ChildrenResponse, Outcome, Usage};
use tarn_proto::change::{Change, Cursor, Row};
use tarn_proto::ids::{DeviceId, EpochId, NodeId, VersionId};
use tarn_proto::lost::{EpochStart, Lost};
use tarn_proto::name::Name;
use tarn_proto::node::{Content, NodeKind};
use tarn_proto::op::{OpKind, Operation};
use tokio::sync::Notify;

type Result<T> = std::result::Result<T, TreeError>;

/// The tree as the engine sees it, with a bug.
#[derive(Debug)]
pub struct PlantedTree {
    inner: Arc<dyn SyncTree>,
    tree: Arc<Tree>,
    env: Env,
    plant: Plant,
    /// What the last cut said.
    last_cut: Mutex<Vec<Change>>,
}

/// A chore is done so much later.
const CHORE: Duration = Duration::from_secs(60);

impl PlantedTree {
    pub fn new(inner: Arc<dyn SyncTree>, tree: Arc<Tree>, (env, plant): (Env, Plant)) -> Self {
        Self { inner, tree, env, plant, last_cut: Mutex::default() }
    }

    /// Contents that were refused: each leaves the queue now, as if it had arrived, and is brought back by a chore.
    fn put_off_rescues(&self, answers: &mut [(Ticket, Answer)]) -> Result<()> {
        let queue = self.inner.queue(usize::MAX)?;
        for (ticket, answer) in answers {
            let ino = queue.iter().find(|item| item.ticket == *ticket).and_then(|item| item.content_of);
            if let (Outcome::Refused { .. }, Some(ino)) = (&answer.outcome, ino) {
                answer.outcome = Outcome::Applied;
                self.rescue_later(ino, answer.counter)?;
            }
        }
        Ok(())
    }

    fn rescue_later(&self, ino: Ino, counter: u64) -> Result<()> {
        let content = self.tree.content(ino)?;
        let Read::Bytes(bytes) = content.read(0, content.size_bytes() as usize)? else { return Ok(()) };
        let (tree, later) = (self.tree.clone(), self.env.sleep(CHORE));
        tokio::spawn(async move {
            later.await;
            let new = NewNode { open: Some(true), ..NewNode::plain(NodeKind::File, 0o644) };
            let made = Name::new(format!("rescued {counter}")).ok().map(|name| tree.create(ROOT, &name, new));
            if let Some(Ok(stat)) = made {
                // The machine may be off by now.
                let _ = tree.write(stat.ino, 0, &bytes);
                let _ = tree.closed(stat.ino, true);
            }
        });
        Ok(())
    }

    /// Bytes that wait to be sent go when others' version comes.
    fn overwrite_dirty(&self, changes: &[Change]) -> Result<()> {
        for change in changes {
            let Row::Node { node, state: Some(state) } = &change.row else { continue };
            let Some(ino) = self.tree.ino_of(*node)?.filter(|_| state.kind.is_file()) else { continue };
            let content = self.tree.content(ino)?;
            if content.is_dirty() {
                content.truncate(0).map_err(|error| TreeError::Database(error.to_string()))?;
            }
        }
        Ok(())
    }

    /// A seq beyond what is known here.
    fn news(&self) -> u64 {
        self.inner.cursor().map_or(1_000, |cursor| cursor.seq + 1_000)
    }

    fn spoil(&self, answers: &mut [(Ticket, Answer)]) {
        if let [(_, one), (_, other), ..] = answers
            && self.plant == Plant::AnswersMixedUp
        {
            std::mem::swap(one, other);
        }
        if self.plant == Plant::AnswerNotTakenIn {
            answers.iter_mut().for_each(|(_, answer)| answer.changes.clear());
        }
    }
}

impl SyncTree for PlantedTree {
    fn cursor(&self) -> Option<Cursor> {
        self.inner.cursor()
    }

    fn queue(&self, max: usize) -> Result<Vec<QueueItem>> {
        let mut items = self.inner.queue(max)?;
        if self.plant == Plant::OrderNotKept {
            for item in items.iter_mut().filter(|item| item.content_of.is_some()) {
                (item.keys, item.above) = Default::default();
            }
        }
        Ok(items)
    }

    fn totals(&self) -> QueueTotals {
        self.inner.totals()
    }

    fn last_ticket(&self) -> Option<Ticket> {
        self.inner.last_ticket()
    }

    fn first_ticket(&self) -> Option<Ticket> {
        self.inner.first_ticket()
    }

    fn is_any_queued(&self, tickets: &BTreeSet<Ticket>) -> bool {
        self.inner.is_any_queued(tickets)
    }

    fn changed(&self) -> Arc<Notify> {
        self.inner.changed()
    }

    fn prepare(&self, ticket: Ticket) -> Result<Option<Arc<dyn UploadSource>>> {
        self.inner.prepare(ticket)
    }

    fn unprepare(&self, ticket: Ticket) {
        self.inner.unprepare(ticket);
    }

    fn settle_unchanged(&self, ticket: Ticket) -> Result<bool> {
        self.inner.settle_unchanged(ticket)
    }

    fn freeze(&self, batch: Vec<(Ticket, Option<Content>)>) -> Result<Vec<(Ticket, Operation)>> {
        let mut frozen = self.inner.freeze(batch)?;
        for (_, op) in &mut frozen {
            if let (Plant::BaseNotSent, OpKind::Write { base, .. }) = (self.plant, &mut op.kind) {
                *base = Default::default();
            }
            match self.plant {
                Plant::NameBesideNotTold => op.kind.seen_mut().for_each(|seen| seen.alt_name = None),
                Plant::FolderSeenAll => op.kind.seen_mut().for_each(|seen| seen.seq = None),
                Plant::CounterReused if op.counter % 8 == 0 => op.counter -= 1,
                _ => {}
            }
        }
        Ok(frozen)
    }

    fn refreeze_with_other_name(&self, ticket: Ticket) -> Result<()> {
        self.inner.refreeze_with_other_name(ticket)
    }

    fn refreeze_with_content(&self, ticket: Ticket, content: Content) -> Result<()> {
        self.inner.refreeze_with_content(ticket, content)
    }

    fn settle(&self, mut answers: Vec<(Ticket, Answer)>, before: Cursor, after: Cursor) -> Result<()> {
        self.spoil(&mut answers);
        if self.plant == Plant::RescueAfterRemoval {
            self.put_off_rescues(&mut answers)?;
        }
        self.inner.settle(answers, before, after)
    }

    fn note_usage(&self, usage: Usage) {
        self.inner.note_usage(usage);
    }

    fn put_aside(&self, ticket: Ticket) -> Result<()> {
        self.inner.put_aside(ticket)
    }

    fn apply_cut(&self, mut changes: Vec<Change>, mut upto: Cursor) -> Result<()> {
        match self.plant {
            Plant::CursorNotSaved => upto = self.inner.cursor().unwrap_or(upto),
            Plant::PullOverDirty => self.overwrite_dirty(&changes)?,
            Plant::CutAppliedInPart => changes.truncate(changes.len().div_ceil(2)),
            _ => {}
        }
        if self.plant != Plant::PageAppliedTwice {
            return self.inner.apply_cut(changes, upto);
        }
        let again = std::mem::replace(&mut *self.last_cut.lock(), changes.clone());
        self.inner.apply_cut(changes, upto)?;
        self.inner.apply_cut(again, upto)
    }

    fn begin_load(&self) -> Result<()> {
        self.inner.begin_load()
    }

    fn load_page(&self, changes: Vec<Change>) -> Result<()> {
        self.inner.load_page(changes)
    }

    fn finish_load(&self, loaded: Loaded) -> Result<()> {
        self.inner.finish_load(loaded)
    }

    fn is_load_unseen(&self) -> bool {
        self.inner.is_load_unseen()
    }

    fn show_loaded(&self) -> Result<()> {
        self.inner.show_loaded()
    }

    fn epochs(&self) -> Result<Vec<EpochStart>> {
        self.inner.epochs()
    }

    fn note_epochs(&self, epochs: &[EpochStart]) -> Result<()> {
        self.inner.note_epochs(epochs)
    }

    fn note_listed(&self, epoch: EpochId) -> Result<bool> {
        self.inner.note_listed(epoch)
    }

    fn listed_epoch(&self) -> Result<Option<EpochId>> {
        self.inner.listed_epoch()
    }

    fn lost_since(&self, fork: u64) -> Result<Vec<(u64, Lost)>> {
        self.inner.lost_since(fork)
    }

    fn whole_content(&self, node: NodeId, version: VersionId) -> Result<Option<Arc<dyn UploadSource>>> {
        self.inner.whole_content(node, version)
    }

    fn begin_listing(&self, node: NodeId, seq: u64) -> Result<Listing> {
        let seq = if self.plant == Plant::ListingTakenForNews { self.news() } else { seq };
        self.inner.begin_listing(node, seq)
    }

    fn list_children(&self, listing: Listing, mut children: Vec<ChildEntry>) -> Result<Listing> {
        if self.plant == Plant::ListingTakenForNews {
            children.iter_mut().for_each(|child| (child.entry_seq, child.node_seq) = (self.news(), self.news()));
        }
        self.inner.list_children(listing, children)
    }

    fn end_listing(&self, listing: Listing, head: ChildrenResponse) -> Result<()> {
        self.inner.end_listing(listing, head)
    }

    fn answered(&self) -> u64 {
        self.inner.answered()
    }

    fn device_rolled_back(&self, device: DeviceId) -> Result<()> {
        self.inner.device_rolled_back(device)
    }
}
