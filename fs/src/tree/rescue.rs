//! Owns queueing contents again as new files, for what the server refused: bytes are never dropped.

use super::error::TreeError;
use super::load::Session;
use super::names::conflict_name;
use super::work::Work;
use crate::meta::rows::{Ino, InodeRow, LocalNode, LocalOp, ROOT, RowChange};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, NodeKind};

/// Names tried before one that is taken is taken all the same (the server then asks for another).
const NAME_TRIES: u32 = 1_000;

type Result<T> = std::result::Result<T, TreeError>;

impl Session<'_> {
    /// A folder of this name, made if there is none.
    pub(super) fn ensure_dir(&mut self, parent: Ino, name: &Name) -> Result<Ino> {
        if let Some(existing) = self.effective(parent, name)? {
            return Ok(existing);
        }
        let (ino, ticket) = (self.state.next_ino(), self.state.next_ticket());
        let now = self.core.env.clock.wall();
        let attrs =
            Attrs { mode: 0o755, mtime: now, ctime: now, btime: now, ..self.inode(ROOT)?.attrs().unwrap_or_default() };
        let mut work = Work::default();
        self.enqueue(&mut work, ticket, LocalOp::Create { ino, parent, name: name.clone() });
        let node = NodeId(self.core.env.rng.id());
        let local = Some(LocalNode { kind: NodeKind::Dir, attrs, ticket });
        work.inode(ino, InodeRow { node: Some(node), local, content: None, pinned: false });
        work.entry(parent, name, Some(ino), ticket);
        self.commit(work)?;
        self.invalidate_name(parent, name);
        Ok(ino)
    }

    /// Makes an inode with all its bytes a new file at a place, under a node of its own. Returns the name it got.
    pub(super) fn requeue_as_new(
        &mut self,
        ino: Ino,
        parent: Ino,
        name: &Name,
        rows: &mut Vec<RowChange>,
    ) -> Result<Name> {
        let mut free = name.clone();
        for tries in 0..NAME_TRIES {
            if self.effective(parent, &free)?.is_none() {
                break;
            }
            free = conflict_name(name, "here", self.core.env.clock.wall(), tries);
        }
        let ticket = self.state.next_ticket();
        let local = self.local_node(ino, ticket)?;
        let mut work = Work::default();
        let node = NodeId(self.core.env.rng.id());
        let row = InodeRow { node: Some(node), local: Some(local), ..self.inode(ino)?.row() };
        work.inode(ino, row);
        work.entry(parent, &free, Some(ino), ticket);
        self.enqueue(&mut work, ticket, LocalOp::Create { ino, parent, name: free.clone() });
        rows.append(&mut work.rows);
        Ok(free)
    }

    fn invalidate_name(&mut self, parent: Ino, name: &Name) {
        self.invalidations.push(super::notify::Invalidation::Entry { parent, name: name.clone() });
        self.invalidations.push(super::notify::Invalidation::Content(parent));
    }
}
