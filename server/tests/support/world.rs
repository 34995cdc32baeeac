//! An account with a home space, devices that push to it, and operations in few words.

use std::sync::atomic::{AtomicU64, Ordering};
use tarn_proto::api::{Answer, PushRequest, PushResponse};
use tarn_proto::change::Cursor;
use tarn_proto::ids::{ContentId, DeviceId, EpochId, NodeId, SpaceId, UserId, VersionId};
use tarn_proto::manifest::Manifest;
use tarn_proto::name::Name;
use tarn_proto::node::{AttrChange, Attrs, Content, NodeKind, Timestamp};
use tarn_proto::op::{OpKind, Operation, Place, RenameMode, Seen};
use tarn_proto::version::VersionVector;
use tarn_server::env::Env;
use tarn_server::service::{Failure, Identity, push};
use tarn_server::store::accounts::Account;
use tarn_server::store::devices::Device;
use tarn_server::store::{Database, accounts, devices, spaces};

/// One account and its home space.
pub struct World {
    pub db: Database,
    pub env: Env,
    pub user: UserId,
    pub space: SpaceId,
    pub root: NodeId,
    next: AtomicU64,
}

/// A device: its identity, its cursor, its next counter.
pub struct Client<'a> {
    pub world: &'a World,
    pub who: Identity,
    pub cursor: Cursor,
    pub counter: u64,
    pub answered: u64,
}

fn id16(n: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(&n.to_be_bytes()).as_bytes()[..16]);
    id
}

impl World {
    pub async fn new(db: Database) -> Self {
        let (user, space) = (UserId(id16(1)), SpaceId(id16(2)));
        let mut tx = db.begin().await.unwrap();
        let account = Account { user, name: "ada".to_owned(), password_hash: "none".to_owned(), home: space };
        accounts::insert(&mut tx, &account, 1).await.unwrap();
        spaces::create(&mut tx, space, user, EpochId(id16(3)), 1).await.unwrap();
        tx.commit().await.unwrap();
        Self { db, env: Env::real(), user, space, root: NodeId::root_of(space), next: AtomicU64::new(1_000) }
    }

    pub async fn client(&self, name: &str) -> Client<'_> {
        let device = DeviceId(self.fresh());
        let row = Device {
            device,
            user: self.user,
            name: name.to_owned(),
            enrolled_ms: 1,
            last_seen_ms: None,
            revoked: false,
        };
        let mut conn = self.db.begin().await.unwrap();
        devices::enrol(&mut conn, &row, blake3::hash(device.as_bytes()).as_bytes()).await.unwrap();
        conn.commit().await.unwrap();
        let who = Identity { user: self.user, device };
        Client { world: self, who, cursor: self.head().await, counter: 0, answered: 0 }
    }

    pub async fn head(&self) -> Cursor {
        let mut conn = self.db.reader().await.unwrap();
        spaces::get(&mut conn, self.space).await.unwrap().unwrap().cursor
    }

    pub fn fresh(&self) -> [u8; 16] {
        id16(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub fn node(&self) -> NodeId {
        NodeId(self.fresh())
    }

    pub fn at(&self, parent: NodeId, name: &str) -> Place {
        Place { parent, name: Name::new(name).unwrap() }
    }

    pub fn top(&self, name: &str) -> Place {
        self.at(self.root, name)
    }

    /// An empty content: it needs no chunk. Different texts are different contents to the server.
    pub fn empty(&self, text: &str) -> Content {
        Content {
            version: VersionId(self.fresh()),
            size: 0,
            content_id: ContentId(*blake3::hash(text.as_bytes()).as_bytes()),
            manifest: Manifest::default(),
        }
    }
}

pub fn create_file(node: NodeId, place: &Place, content: Content) -> OpKind {
    let attrs = Attrs { mode: 0o644, ..Attrs::default() };
    OpKind::Create { node, place: place.clone(), kind: NodeKind::File, attrs, content: Some(content) }
}

pub fn create_dir(node: NodeId, place: &Place) -> OpKind {
    let attrs = Attrs { mode: 0o755, ..Attrs::default() };
    OpKind::Create { node, place: place.clone(), kind: NodeKind::Dir, attrs, content: None }
}

pub fn write(node: NodeId, place: &Place, base: &VersionVector, content: Content) -> OpKind {
    OpKind::Write { node, place: place.clone(), base: base.clone(), content, attrs: AttrChange::default() }
}

pub fn unlink(place: &Place, node: NodeId, vector: &VersionVector) -> OpKind {
    OpKind::Unlink { place: place.clone(), seen: Seen { node, vector: vector.clone(), seq: None, alt_name: None } }
}

pub fn rename(node: NodeId, from: &Place, to: &Place) -> OpKind {
    let seen = Seen { node, vector: VersionVector::default(), seq: None, alt_name: None };
    OpKind::Rename { from: from.clone(), to: to.clone(), seen, displaced: None, mode: RenameMode::NoReplace }
}

impl Client<'_> {
    pub fn op(&mut self, kind: OpKind) -> Operation {
        self.op_alt(kind, None)
    }

    pub fn op_alt(&mut self, kind: OpKind, alt: Option<&str>) -> Operation {
        self.counter += 1;
        let alt_name = alt.map(|alt| Name::new(alt).unwrap());
        Operation { counter: self.counter, time: Timestamp::default(), alt_name, kind }
    }

    pub async fn send(&self, ops: Vec<Operation>) -> Result<PushResponse, Failure> {
        let request = PushRequest { cursor: self.cursor, answered: self.answered, ops };
        push::push(&self.world.db, &self.world.env, self.who, self.world.space, request).await
    }

    /// Pushes one operation without an `alt_name`.
    pub async fn push(&mut self, kind: OpKind) -> Answer {
        let op = self.op(kind);
        self.send(vec![op]).await.unwrap().answers.remove(0)
    }

    pub async fn push_alt(&mut self, kind: OpKind, alt: &str) -> Answer {
        let op = self.op_alt(kind, Some(alt));
        self.send(vec![op]).await.unwrap().answers.remove(0)
    }

    /// Moves to the head of the journal, as after a pull.
    pub async fn catch_up(&mut self) {
        self.cursor = self.world.head().await;
    }

    pub fn vector(&self, counter: u64) -> VersionVector {
        VersionVector::default().with(self.who.device, counter)
    }
}
