//! Quotas: what fits is taken, what does not is told so and nothing of it happens, and room comes back.

use crate::database::Place;
use crate::files::{cursor, send};
use crate::server::{Device, Server, json};
use tarn_proto::api::*;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::{AttrChange, Attrs, Content, NodeKind, Timestamp};
use tarn_proto::op::{OpKind, Operation, Place as TreePlace, Seen};
use tarn_proto::version::VersionVector;
use tarn_server::service::{accounts, check};
use tarn_server::store::Database;

each_database!(
    what_goes_beyond_the_quota_stops_the_batch_and_the_rest_goes_without_it,
    a_file_may_shrink_and_go_when_the_quota_is_used_up,
);

async fn set_quota(server: &Server, bytes_max: Option<u64>) -> u64 {
    let db = Database::open(&server.place.database).await.unwrap();
    let used = accounts::set_quota(&db, "anna", bytes_max).await.unwrap();
    assert_eq!(check::check_tree(&db).await.unwrap(), Vec::<String>::new(), "what is counted is what is there");
    db.close().await;
    used
}

fn place(device: &Device<'_>, name: &str) -> TreePlace {
    TreePlace { parent: NodeId::root_of(device.login.home), name: Name::new(name).unwrap() }
}

fn make(device: &Device<'_>, node: u8, name: &str, content: &Content) -> OpKind {
    let (place, content) = (place(device, name), Some(content.clone()));
    OpKind::Create { node: NodeId([node; 16]), place, kind: NodeKind::File, attrs: Attrs::default(), content }
}

fn folder(device: &Device<'_>, node: u8, name: &str) -> OpKind {
    let (place, attrs) = (place(device, name), Attrs::default());
    OpKind::Create { node: NodeId([node; 16]), place, kind: NodeKind::Dir, attrs, content: None }
}

fn seen(node: u8, device: &Device<'_>, counter: u64) -> Seen {
    let vector = VersionVector::default().with(device.login.device, counter);
    Seen { node: NodeId([node; 16]), vector, alt_name: None, seq: None }
}

/// Pushes operations with counters from `first` on; the outcomes, and how full the space is then.
async fn push(device: &Device<'_>, first: u64, kinds: Vec<OpKind>) -> (Vec<Outcome>, Usage) {
    let op = |(counter, kind)| Operation { counter, time: Timestamp::default(), alt_name: None, kind };
    let ops = (first..).zip(kinds).map(op).collect();
    let request = PushRequest { cursor: cursor(device).await, answered: first - 1, ops };
    let response: PushResponse = json(device.post(&device.space("/push"), &request).await).await;
    (response.answers.into_iter().map(|answer| answer.outcome).collect(), response.usage.unwrap())
}

fn no_room() -> Outcome {
    Outcome::RetryLater { code: ErrorCode::QuotaExceeded, missing: Vec::new() }
}

async fn what_goes_beyond_the_quota_stops_the_batch_and_the_rest_goes_without_it(at: Place) {
    let server = Server::start(at).await;
    let laptop = server.device("anna", "laptop").await;
    let (small, large) = (send(&laptop, 1, &[1; 600]).await, send(&laptop, 2, &[2; 500]).await);
    assert_eq!(set_quota(&server, Some(1_000)).await, 0);
    let batch = vec![make(&laptop, 1, "small", &small), make(&laptop, 2, "large", &large), folder(&laptop, 3, "dir")];
    let (outcomes, usage) = push(&laptop, 1, batch).await;
    assert_eq!(outcomes, [Outcome::Applied, no_room(), Outcome::Skipped]);
    assert_eq!(usage, Usage { bytes_used: 600, bytes_max: Some(1_000) });
    // The same counter is asked again as it was, or goes to another operation.
    let (outcomes, _) = push(&laptop, 2, vec![make(&laptop, 2, "large", &large)]).await;
    assert_eq!(outcomes, [no_room()]);
    let (outcomes, _) = push(&laptop, 4, vec![folder(&laptop, 3, "dir")]).await;
    assert_eq!(outcomes, [Outcome::Applied]);
    assert_eq!(set_quota(&server, Some(1_100)).await, 600);
    let (outcomes, usage) = push(&laptop, 5, vec![make(&laptop, 2, "large", &large)]).await;
    assert_eq!((outcomes.as_slice(), usage.bytes_free()), ([Outcome::Applied].as_slice(), Some(0)));
    assert_eq!(set_quota(&server, None).await, 1_100);
}

async fn a_file_may_shrink_and_go_when_the_quota_is_used_up(at: Place) {
    let server = Server::start(at).await;
    let laptop = server.device("anna", "laptop").await;
    let (whole, part) = (send(&laptop, 1, &[1; 900]).await, send(&laptop, 2, &[2; 300]).await);
    push(&laptop, 1, vec![make(&laptop, 1, "file", &whole), folder(&laptop, 2, "dir")]).await;
    // Less than there is already.
    set_quota(&server, Some(200)).await;
    let base = VersionVector::default().with(laptop.login.device, 1);
    let (node, at, attrs) = (NodeId([1; 16]), place(&laptop, "file"), AttrChange::default());
    let (outcomes, usage) =
        push(&laptop, 3, vec![OpKind::Write { node, place: at.clone(), base, content: part, attrs }]).await;
    assert_eq!((outcomes.as_slice(), usage.bytes_used), ([Outcome::Applied].as_slice(), 300));
    let gone = vec![OpKind::Unlink { place: at, seen: seen(1, &laptop, 3) }];
    let (outcomes, usage) = push(&laptop, 4, gone).await;
    assert_eq!((outcomes.as_slice(), usage.bytes_used), ([Outcome::Applied].as_slice(), 0));
    assert_eq!(set_quota(&server, None).await, 0);
}
