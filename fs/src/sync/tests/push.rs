//! One push by itself.

use super::pull::puller;
use super::*;
use crate::meta::rows::Ticket;
use crate::sync::apply::Applier;
use crate::sync::pull::Puller;
use crate::sync::push::Pusher;

/// A device without a cursor, and what it pushes with.
fn device_at_the_start(server: &Arc<MemoryServer>) -> (Arc<FakeTree>, Pusher, Puller) {
    let tree = Arc::new(FakeTree::default());
    let remote = Arc::new(server.device(ANN));
    let (applier, _applying) = Applier::start(&Env::real(), tree.clone());
    let pusher = Pusher::new(Env::real(), SPACE, tree.clone(), remote.clone());
    let puller = puller(&tree, remote, applier);
    (tree, pusher, puller)
}

#[tokio::test]
async fn a_push_says_which_operations_are_gone_and_answers_the_others() {
    let server = MemoryServer::new(SPACE);
    let (tree, pusher, puller) = device_at_the_start(&server);
    let (kept, gone) = (tree.create("kept", None, false), Ticket(99));
    let pushed = pusher.push(&puller, vec![(gone, None), (kept, None)]).await.unwrap();
    assert_eq!(pushed.gone, [gone]);
    assert_eq!(pushed.answers.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [kept]);
}

#[tokio::test]
async fn the_beginning_of_a_history_is_asked_for_again_once_it_is_forgotten() {
    let server = MemoryServer::new(SPACE);
    let (tree, pusher, puller) = device_at_the_start(&server);
    let first = tree.create("first", None, false);
    pusher.push(&puller, vec![(first, None)]).await.unwrap();
    server.open_epoch(EpochId([9; 16]));
    let second = tree.create("second", None, false);
    pusher.push(&puller, vec![(second, None)]).await.unwrap_err();
    pusher.forget_origin();
    let pushed = pusher.push(&puller, vec![(second, None)]).await.unwrap();
    assert_eq!(pushed.answers[0].1.outcome, Outcome::Applied);
}
