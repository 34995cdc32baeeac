//! Conflicts over HTTP: listed, resolved once, by whichever device comes first.

use crate::database::Place;
use crate::files::{FILE, create, cursor, file_at, push_op, send};
use crate::notify;
use crate::server::{Device, Server, code, json};
use tarn_proto::api::*;
use tarn_proto::change::{Cursor, Row};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ChunkId, ConflictId, ContentId, EpochId, JournalHash};
use tarn_proto::manifest::{Manifest, ManifestEntry};
use tarn_proto::name::Name;
use tarn_proto::node::Content;
use tarn_proto::op::OpKind;
use tarn_proto::version::VersionVector;

each_database!(
    a_conflict_is_resolved_from_any_device_once,
    two_devices_that_resolve_at_once_are_told_the_same,
    what_was_made_of_both_is_one_version_that_has_seen_both,
    a_resolution_that_is_sent_again_gets_its_first_answer,
    other_users_conflicts_do_not_exist,
    what_was_written_since_is_not_resolved_away,
);

/// The laptop's second version stayed, the phone's is in a record and a sibling.
async fn contend(laptop: &Device<'_>, phone: &Device<'_>) -> ConflictInfo {
    create(laptop, send(laptop, 1, b"base").await).await;
    let base = VersionVector::default().with(laptop.login.device, 1);
    for (n, device) in [(2, laptop), (3, phone)] {
        let content = send(device, n, format!("by {n}").as_bytes()).await;
        let (base, place) = (base.clone(), file_at(device));
        let write = OpKind::Write { node: FILE, place, base, content, attrs: Default::default() };
        push_op(device, 2, Some(Name::new("file (phone)").unwrap()), write).await;
    }
    let mut open = conflicts(laptop).await;
    assert_eq!((open.len(), open[0].state.device), (1, phone.login.device));
    open.remove(0)
}

async fn conflicts(device: &Device<'_>) -> Vec<ConflictInfo> {
    json::<ConflictsResponse>(device.get("/conflicts").await).await.conflicts
}

/// Everything that the caller can have seen.
async fn seen(device: &Device<'_>, info: &ConflictInfo) -> VersionVector {
    let versions = format!("/files/{FILE}/versions");
    let all = json::<VersionsResponse>(device.get(&versions).await).await.versions;
    all.iter().fold(info.state.theirs.vector.clone(), |seen, version| seen.joined(&version.vector))
}

async fn ask(device: &Device<'_>, conflict: ConflictId, keep: Keep, seen: VersionVector) -> reqwest::Response {
    ask_from(device, None, (conflict, keep), seen).await
}

async fn ask_from(
    device: &Device<'_>,
    cursor: Option<Cursor>,
    (conflict, keep): (ConflictId, Keep),
    seen: VersionVector,
) -> reqwest::Response {
    let request =
        ResolveRequest { keep, seen, seen_file: None, seen_sibling: None, cursor, alt_name: None, content: None };
    device.post(&format!("/conflicts/{conflict}/resolve"), &request).await
}

async fn text(device: &Device<'_>) -> String {
    device.get(&format!("/files/{FILE}/content")).await.text().await.unwrap()
}

async fn a_conflict_is_resolved_from_any_device_once(place: Place) {
    let server = Server::start(place).await;
    let (laptop, phone) = (server.device("anna", "laptop").await, server.device("anna", "phone").await);
    let tablet = server.device("anna", "tablet").await;
    let open = contend(&laptop, &phone).await;
    let mut sockets = [notify::open(&laptop).await, notify::open(&tablet).await];
    for socket in &mut sockets {
        notify::next(socket).await;
    }
    let before = cursor(&tablet).await;
    let all = seen(&tablet, &open).await;
    let elsewhere = Cursor { epoch: EpochId([9; 16]), ..before };
    let lost = ask_from(&tablet, Some(elsewhere), (open.conflict, Keep::Theirs), all.clone()).await;
    assert_eq!(code(lost).await, ErrorCode::EpochChanged, "what it has seen is of a history that the server lost");
    let asked = ask_from(&tablet, Some(before), (open.conflict, Keep::Theirs), all.clone()).await;
    let answer: ResolveResponse = json(asked).await;
    let again = ask_from(&tablet, Some(elsewhere), (open.conflict, Keep::Theirs), all).await;
    assert_eq!(json::<ResolveResponse>(again).await, answer, "asked again, it gets its first answer");
    assert_eq!((answer.resolution.keep, answer.resolution.device_name.as_str()), (Keep::Theirs, "tablet"));
    assert_eq!(text(&laptop).await, "by 3");
    assert!(conflicts(&phone).await.is_empty());
    for socket in &mut sockets {
        let told = Notice::Changed { space: tablet.login.home, seq: answer.seq };
        assert_eq!(notify::next(socket).await, Some(told), "whoever resolved it hears of it, too");
    }
    let pull = |from: Cursor| tablet.space(&format!("/pull?epoch={}&seq={}&hash={}", from.epoch, from.seq, from.hash));
    let pulled: PullResponse = json(tablet.get(&pull(before)).await).await;
    let ended = |row: &Row| matches!(row, Row::Conflict { state: None, conflict } if *conflict == open.conflict);
    let gone = |row: &Row| matches!(row, Row::Node { state: None, node } if Some(*node) == open.state.sibling);
    assert!(pulled.changes.iter().any(|change| ended(&change.row)), "{:?}", pulled.changes);
    assert!(pulled.changes.iter().any(|change| gone(&change.row)));
    let afresh = Cursor { seq: 0, hash: JournalHash([0; 32]), ..before };
    let pulled: PullResponse = json(tablet.get(&pull(afresh)).await).await;
    assert!(!pulled.changes.iter().any(|change| matches!(change.row, Row::Conflict { .. })));
}

async fn what_was_made_of_both_is_one_version_that_has_seen_both(place: Place) {
    let server = Server::start(place).await;
    let (laptop, phone) = (server.device("anna", "laptop").await, server.device("anna", "phone").await);
    let open = contend(&laptop, &phone).await;
    let all = seen(&phone, &open).await;
    let path = format!("/conflicts/{}/resolve", open.conflict);
    let unsent = Content { size: 4, content_id: ContentId([5; 32]), ..send(&phone, 9, b"four").await };
    let entry = ManifestEntry { id: ChunkId([8; 32]), length: 4, stored: 4 };
    let unsent = Content { manifest: Manifest { level: 0, entries: vec![entry] }, ..unsent };
    let (file, sibling) = (Some(all.clone()), Some(open.state.theirs.vector.clone()));
    let request = |content| ResolveRequest {
        keep: Keep::Merged,
        seen: all.clone(),
        seen_file: file.clone(),
        seen_sibling: sibling.clone(),
        cursor: None,
        alt_name: None,
        content,
    };
    assert_eq!(code(phone.post(&path, &request(Some(unsent))).await).await, ErrorCode::MissingChunks);
    let merged = send(&phone, 10, b"by 2 and 3").await;
    json::<ResolveResponse>(phone.post(&path, &request(Some(merged))).await).await;
    assert_eq!((text(&laptop).await.as_str(), conflicts(&laptop).await.len()), ("by 2 and 3", 0));
    let history = format!("/files/{FILE}/versions");
    let newest = json::<VersionsResponse>(phone.get(&history).await).await.versions.remove(0);
    assert!(newest.vector.has_seen(&all) && newest.author == phone.login.device);
}

async fn two_devices_that_resolve_at_once_are_told_the_same(place: Place) {
    let server = Server::start(place).await;
    let second = server.second().await;
    let (laptop, phone) = (server.device("anna", "laptop").await, server.device("anna", "phone").await);
    let other = second.as_ref().unwrap_or(&server).device("anna", "tablet").await;
    let open = contend(&laptop, &phone).await;
    let all = seen(&laptop, &open).await;
    let asked = [(&laptop, Keep::Stayed), (&phone, Keep::Theirs), (&other, Keep::Both)];
    let answers = asked.map(|(device, keep)| ask(device, open.conflict, keep, all.clone()));
    let [one, two, three] = answers;
    let (one, two, three) = tokio::join!(one, two, three);
    let one: ResolveResponse = json(one).await;
    assert_eq!(json::<ResolveResponse>(two).await, one);
    assert_eq!(json::<ResolveResponse>(three).await, one);
    assert_eq!(cursor(&laptop).await.seq, one.seq, "only one of them changed anything");
    let expected = if one.resolution.keep == Keep::Theirs { "by 3" } else { "by 2" };
    assert_eq!(text(&laptop).await, expected);
    assert!(conflicts(&laptop).await.is_empty());
}

async fn a_resolution_that_is_sent_again_gets_its_first_answer(place: Place) {
    let server = Server::start(place).await;
    let (laptop, phone) = (server.device("anna", "laptop").await, server.device("anna", "phone").await);
    let open = contend(&laptop, &phone).await;
    let all = seen(&laptop, &open).await;
    let first: ResolveResponse = json(ask(&laptop, open.conflict, Keep::Stayed, all.clone()).await).await;
    let after = cursor(&laptop).await;
    for keep in [Keep::Stayed, Keep::Theirs] {
        let again: ResolveResponse = json(ask(&laptop, open.conflict, keep, all.clone()).await).await;
        assert_eq!(again, first);
    }
    assert_eq!((cursor(&laptop).await, text(&laptop).await.as_str()), (after, "by 2"));
}

async fn other_users_conflicts_do_not_exist(place: Place) {
    let server = Server::start(place).await;
    let (laptop, phone) = (server.device("anna", "laptop").await, server.device("anna", "phone").await);
    let open = contend(&laptop, &phone).await;
    let stranger = server.device("bert", "pc").await;
    let all = seen(&laptop, &open).await;
    assert_eq!(code(ask(&stranger, open.conflict, Keep::Both, all).await).await, ErrorCode::NotFound);
    assert_eq!(conflicts(&laptop).await.len(), 1);
    let nothing = VersionVector::default();
    assert_eq!(code(ask(&laptop, ConflictId([7; 16]), Keep::Both, nothing).await).await, ErrorCode::NotFound);
}

async fn what_was_written_since_is_not_resolved_away(place: Place) {
    let server = Server::start(place).await;
    let (laptop, phone) = (server.device("anna", "laptop").await, server.device("anna", "phone").await);
    let open = contend(&laptop, &phone).await;
    let all = seen(&phone, &open).await;
    let (base, place) = (all.clone(), file_at(&laptop));
    let content = send(&laptop, 4, b"newer").await;
    let write = OpKind::Write { node: FILE, place, base, content, attrs: Default::default() };
    push_op(&laptop, 3, None, write).await;
    assert_eq!(code(ask(&phone, open.conflict, Keep::Theirs, all).await).await, ErrorCode::Stale);
    assert_eq!((text(&phone).await.as_str(), conflicts(&phone).await.len()), ("newer", 1));
}
