//! Folders that are listed page by page: the server in memory puts three names on one.

use super::real::{Ground, ground};
use super::*;
use crate::meta::rows::ROOT;
use crate::sync::lister::{following, in_order};
use crate::sync::ports::SyncTree as _;
use crate::sync::recover::Recoverer;
use crate::sync::upload::Uploader;
use crate::tree::{DirHandle, Loaded, TreeError, Unlisted};
use futures_util::FutureExt as _;
use tarn_proto::api::{ChildEntry, ChildrenResponse};
use tarn_proto::change::Cursor;
use tarn_proto::lost::EpochStart;
use tarn_proto::node::{Attrs, NodeKind, NodeState};
use tokio::sync::Semaphore;

const NAMES: usize = 10;
const LONG: Duration = Duration::from_secs(3_600);

/// A device that has heard of nothing and does nothing but list folders, of which all pages but the first are held back.
struct Shelf {
    ground: Ground,
    lister: Lister,
    gate: Arc<Semaphore>,
}

async fn shelf() -> Shelf {
    let server = MemoryServer::new(SPACE);
    let ben = device(&server, BEN);
    for number in 0..NAMES {
        ben.tree.create(&format!("folder {number}"), None, false);
    }
    assert_eq!(within(ben.sync.wait_until_clean()).await, WaitOutcome::Clean);
    let ground = ground(&server, ANN);
    let gate = Arc::new(Semaphore::new(0));
    ground.remote.plan(Call::Children, Fault::None);
    (0..NAMES).for_each(|_| ground.remote.plan(Call::Children, Fault::Held(gate.clone())));
    let lister = Lister::new(Env::real(), SPACE, ground.bridge.clone(), ground.remote.clone());
    Shelf { ground, lister, gate }
}

impl Shelf {
    fn unlisted<T: std::fmt::Debug>(result: Result<T, TreeError>) -> Unlisted {
        match result {
            Err(TreeError::Unlisted(folder)) => folder,
            other => panic!("{other:?}"),
        }
    }

    /// How many names there are by now, and what to wait for where that is not the end.
    fn read(&self, handle: DirHandle) -> (usize, Option<Unlisted>) {
        let (mut count, mut after) = (0, 0);
        loop {
            match self.ground.tree.read_dir(handle, after, 100) {
                Ok(page) if page.is_empty() => return (count, None),
                Ok(page) => (count, after) = (count + page.len(), page[page.len() - 1].cookie),
                rest => return (count, Some(Self::unlisted(rest))),
            }
        }
    }

    /// The first page has come; what is missing then.
    async fn opened(&self) -> (DirHandle, Unlisted) {
        let folder = Self::unlisted(self.ground.tree.open_dir(ROOT));
        let (a, b) =
            within(async { tokio::join!(self.lister.list_further(folder), self.lister.list_further(folder)) }).await;
        assert!(a.is_ok() && b.is_ok());
        let handle = self.ground.tree.open_dir(ROOT).unwrap();
        let (count, rest) = self.read(handle);
        assert_eq!(count, 3);
        (handle, rest.unwrap())
    }

    /// Waits for all of a folder. It is aboard before the flight goes on: a later wish would be a new one.
    async fn list_while_pages_come(&self, folder: Unlisted, pages: usize) {
        let go = async { self.gate.add_permits(pages) };
        within(async { tokio::join!(self.lister.list(folder.node), go) }).await.0.unwrap();
    }

    fn waits(&self, folder: Unlisted) -> tokio::task::JoinHandle<Result<(), RemoteError>> {
        let lister = self.lister.clone();
        tokio::spawn(async move { lister.list_further(folder).await })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_more_of_a_folder_gets_it_page_by_page_from_one_flight() {
    let shelf = shelf().await;
    let (handle, mut rest) = shelf.opened().await;
    for expected in [6, 9] {
        let waiting = [shelf.waits(rest), shelf.waits(rest)];
        assert!(!waiting.iter().any(tokio::task::JoinHandle::is_finished), "there is no more yet");
        shelf.gate.add_permits(1);
        for waiting in waiting {
            within(waiting).await.unwrap().unwrap();
        }
        let (count, next) = shelf.read(handle);
        assert_eq!(count, expected);
        rest = next.unwrap();
    }
    shelf.list_while_pages_come(rest, 1).await;
    assert_eq!(shelf.read(handle), (NAMES, None));
    assert_eq!(shelf.ground.remote.calls().len(), 4, "each page once");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_wait_hear_that_a_flight_broke_off_and_the_next_one_brings_the_rest() {
    let shelf = shelf().await;
    let (handle, rest) = shelf.opened().await;
    let waiting = [shelf.waits(rest), shelf.waits(rest)];
    shelf.gate.close();
    for waiting in waiting {
        assert!(matches!(within(waiting).await.unwrap(), Err(RemoteError::Unreachable(_))));
    }
    assert_eq!(shelf.read(handle).0, 3, "what has come stays");
    // Those that are still held fail as well; then there are none left.
    while within(shelf.lister.list(rest.node)).await.is_err() {}
    assert_eq!(shelf.read(handle), (NAMES, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_page_looks_again_when_the_whole_tree_has_come() {
    let shelf = shelf().await;
    let (handle, rest) = shelf.opened().await;
    let waiting = shelf.waits(rest);
    let tree = &shelf.ground.tree;
    tree.begin_load().unwrap();
    let upto = Cursor { epoch: EpochId([9; 16]), seq: 1_000, hash: tarn_proto::ids::JournalHash([0; 32]) };
    tree.finish_load(crate::tree::Loaded::first(upto)).unwrap();
    assert!(!waiting.is_finished());
    shelf.lister.look_again();
    within(waiting).await.unwrap().unwrap();
    assert_eq!(shelf.read(handle), (0, None), "as of then there is nothing in it");
    shelf.list_while_pages_come(rest, NAMES).await;
    assert_eq!(shelf.ground.remote.calls().len(), 3, "but for the page that was on its way, the rest is not asked for");
}

#[test]
fn a_listing_that_is_not_in_the_order_of_its_names_is_refused() {
    let page = |names: &[&str]| {
        let state = NodeState { kind: NodeKind::Dir, attrs: Attrs::default(), file: None };
        let child = |text: &&str| {
            let (name, state) = (name(text), state.clone());
            ChildEntry { name, entry_seq: 1, node: NodeId([1; 16]), node_seq: 1, state }
        };
        let children = names.iter().map(child).collect();
        ChildrenResponse { seq: 1, node: state.clone(), node_seq: 1, children, next: None, epoch: None }
    };
    let (_, last) = in_order(page(&["a", "b"]), None).unwrap();
    assert_eq!(last, Some(name("b")));
    assert_eq!(in_order(page(&[]), last.clone()).unwrap().1, last);
    assert!(in_order(page(&["c"]), last.clone()).is_ok());
    assert!(in_order(page(&["b"]), last).is_err());
    assert!(in_order(page(&["b", "a"]), None).is_err());
    let with_token = |token: &str| ChildrenResponse { next: Some(token.to_owned()), ..page(&["a"]) };
    assert!(following(page(&["a"]), 1, "token").is_ok() && following(with_token("next"), 1, "token").is_ok());
    assert!(following(page(&["a"]), 2, "token").is_err(), "it is of another moment");
    assert!(following(with_token("token"), 1, "token").is_err(), "it leads to itself");
}

/// A device that has only listed a folder knows what that told by the seqs of the history that it is of.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_listed_in_a_history_is_lost_if_the_server_is_put_back_before_anything_else_is_known() {
    let server = MemoryServer::new(SPACE);
    let Ground { bridge, remote, .. } = &ground(&server, ANN);
    let uploader = Arc::new(Uploader::new(Env::real(), SPACE, bridge.clone(), remote.clone()));
    let (env, space) = (Env::real(), SPACE);
    let recoverer = Recoverer { env, space, tree: bridge.clone(), remote: remote.clone(), uploader };
    let lister = Lister::new(Env::real(), SPACE, bridge.clone(), remote.clone());
    within(lister.list(NodeId::root_of(SPACE))).await.unwrap();
    server.open_epoch(EpochId([9; 16]));
    let info = remote.spaces().await.unwrap().spaces.remove(0);
    assert_eq!(recoverer.fork_of_answers(&info).await.unwrap(), Some(server.cursor().seq));
    bridge.finish_load(Loaded { upto: server.cursor(), epochs: info.epochs.clone(), fork: Some(0) }).unwrap();
    assert_eq!(bridge.listed_epoch().unwrap(), None, "all is of the new history then");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_a_history_that_is_known_to_be_lost_is_not_taken_in() {
    let server = MemoryServer::new(SPACE);
    let Ground { bridge, remote, .. } = &ground(&server, ANN);
    let lister = Lister::new(Env::real(), SPACE, bridge.clone(), remote.clone());
    let lost = EpochStart { epoch: server.cursor().epoch, seq: 0 };
    bridge.note_epochs(&[lost, EpochStart { epoch: EpochId([9; 16]), seq: 0 }]).unwrap();
    let listed = within(lister.list(NodeId::root_of(SPACE))).await;
    assert!(matches!(listed, Err(RemoteError::Unreachable(_))), "{listed:?}");
    server.open_epoch(EpochId([9; 16]));
    within(lister.list(NodeId::root_of(SPACE))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_by_itself_makes_way_for_a_folder_of_many_pages_but_not_for_ever() {
    let shelf = shelf().await;
    assert!(shelf.lister.make_way(LONG).now_or_never().is_some(), "nobody lists anything");
    let (_, rest) = shelf.opened().await;
    let waiting = {
        let lister = shelf.lister.clone();
        tokio::spawn(async move { lister.make_way(LONG).await })
    };
    assert!(shelf.lister.make_way(LONG).now_or_never().is_none(), "the second page is not here");
    within(shelf.lister.make_way(Duration::from_millis(1))).await;
    shelf.list_while_pages_come(rest, NAMES).await;
    within(waiting).await.unwrap();
}
