//! Owns what every implementation of [`Remote`] must do, as one list of checks: run against the server in
//! memory here and against the real one by the end-to-end tests. Ends at the first check that fails.

use super::{NoticeEvent, Remote, RemoteError, UploadItem};
use bytes::Bytes;
use std::time::Duration;
use tarn_proto::api::{Answer, ChunkRange, Notice, Outcome, PushRequest, PushResponse};
use tarn_proto::change::{Change, Cursor, Row};
use tarn_proto::chunk::{ContentKey, Header, chunk_id, decode_frames, encode};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{ChunkId, JournalHash, NodeId, SpaceId, VersionId};
use tarn_proto::manifest::{Manifest, ManifestEntry, content_id};
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, Content, NodeKind, Timestamp};
use tarn_proto::op::{OpKind, Operation, Place};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What is waited for at most.
const PATIENCE: Duration = Duration::from_secs(20);

type Checked<T = ()> = Result<T, String>;

/// Checks two devices of one account on an empty space.
///
/// # Errors
/// Says which check failed.
pub async fn check(ann: &dyn Remote, ben: &dyn Remote) -> Checked {
    let spaces = ann.spaces().await.map_err(|e| said("spaces", &e))?.spaces;
    let home = spaces.iter().find(|space| space.home).ok_or("there is no home space")?;
    let origin = Cursor { epoch: home.cursor.epoch, seq: 0, hash: JournalHash([0; 32]) };
    let suite = Suite { ann, ben, space: home.space, origin, plain: plain() };
    suite.chunks_come_before_operations().await?;
    suite.chunks_are_taken_once().await?;
    let first = suite.a_repeated_push_gets_its_first_answer().await?;
    suite.a_reused_counter_is_noticed(&first).await?;
    suite.what_follows_something_unsettled_is_skipped(&first).await?;
    suite.the_other_device_pulls_and_lists_it(&first).await?;
    suite.frames_come_verified_and_in_order().await?;
    suite.a_notice_follows_a_push(&first).await
}

fn said(what: &str, error: &RemoteError) -> String {
    format!("{what}: {error}")
}

fn ensure(is_so: bool, what: &str) -> Checked {
    if is_so { Ok(()) } else { Err(what.to_owned()) }
}

/// Three frames' worth of bytes that do not shrink.
fn plain() -> Bytes {
    let mut bytes = vec![0; 150_000];
    blake3::Hasher::new().update(b"conformance").finalize_xof().fill(&mut bytes);
    bytes.into()
}

fn named(text: &str) -> Name {
    Name::new(text).expect("these names keep to the rules")
}

struct Suite<'a> {
    ann: &'a dyn Remote,
    ben: &'a dyn Remote,
    space: SpaceId,
    origin: Cursor,
    plain: Bytes,
}

impl Suite<'_> {
    fn chunk(&self) -> ChunkId {
        chunk_id(&ContentKey::Ordinary, &self.plain)
    }

    fn item(&self) -> Checked<UploadItem> {
        let stored = encode(&ContentKey::Ordinary, &self.plain, 1).map_err(|e| e.to_string())?;
        Ok(UploadItem { id: self.chunk(), manifest_node: false, stored: stored.into() })
    }

    fn file(&self, counter: u64, text: &str) -> Operation {
        let length = self.plain.len() as u64;
        let entries = vec![ManifestEntry { id: self.chunk(), length, stored: length }];
        let content = Content {
            version: VersionId([counter as u8; 16]),
            size: length,
            content_id: content_id(&ContentKey::Ordinary, &entries),
            manifest: Manifest { level: 0, entries },
        };
        create(self.space, counter, text, NodeKind::File, Some(content))
    }

    fn folder(&self, counter: u64, text: &str) -> Operation {
        create(self.space, counter, text, NodeKind::Dir, None)
    }

    async fn push(&self, cursor: Cursor, ops: Vec<Operation>) -> Result<PushResponse, RemoteError> {
        self.ann.push(self.space, &PushRequest { cursor, answered: 0, ops }).await
    }

    async fn chunks_come_before_operations(&self) -> Checked {
        let what = "a push whose chunks are missing";
        let response = self.push(self.origin, vec![self.file(1, "file")]).await.map_err(|e| said(what, &e))?;
        let answer = response.answers.first().ok_or("no answer")?;
        let expected = Outcome::RetryLater { code: ErrorCode::MissingChunks, missing: vec![self.chunk()] };
        ensure(answer.outcome == expected, what)?;
        ensure(response.before == response.after, "an unsettled operation changes nothing")
    }

    async fn chunks_are_taken_once(&self) -> Checked {
        let ids = [self.chunk()];
        let missing = async || self.ann.missing(self.space, &ids).await.map(|m| m.missing).map_err(|e| e.to_string());
        ensure(missing().await? == ids, "an unknown chunk is missing")?;
        for _ in 0..2 {
            let taken = self.ann.upload(self.space, vec![self.item()?]).await.map_err(|e| said("upload", &e))?;
            ensure(taken.accepted == 1, "an upload says what it took")?;
        }
        let damaged = UploadItem { id: ChunkId([9; 32]), ..self.item()? };
        let refused = self.ann.upload(self.space, vec![damaged]).await;
        ensure(is_refused(&refused, ErrorCode::BadChunk), "a chunk under another's id is refused")
    }

    async fn a_repeated_push_gets_its_first_answer(&self) -> Checked<PushResponse> {
        let push = async || self.push(self.origin, vec![self.file(1, "file")]).await.map_err(|e| said("push", &e));
        let (first, again) = (push().await?, push().await?);
        ensure(first.answers.iter().all(|answer| answer.outcome == Outcome::Applied), "applied")?;
        ensure(first.after.seq > first.before.seq, "the journal went on")?;
        ensure(first.answers == again.answers, "the same answers")?;
        ensure(again.after == first.after, "nothing happens twice")?;
        Ok(first)
    }

    async fn a_reused_counter_is_noticed(&self, first: &PushResponse) -> Checked {
        // Once it knows that the answer arrived, the server forgets it.
        let request = |ops| PushRequest { cursor: first.after, answered: 1, ops };
        let other = self.ann.push(self.space, &request(vec![self.folder(2, "second")])).await;
        other.map_err(|e| said("push", &e))?;
        let reused = self.ann.push(self.space, &request(vec![self.folder(1, "reused")])).await;
        ensure(is_refused(&reused, ErrorCode::DeviceRolledBack), "a reused counter")
    }

    async fn what_follows_something_unsettled_is_skipped(&self, first: &PushResponse) -> Checked {
        let taken = Operation { alt_name: None, ..self.folder(3, "file") };
        let ops = vec![taken, self.folder(4, "fourth")];
        let response = self.push(first.after, ops).await.map_err(|e| said("push", &e))?;
        let outcomes: Vec<_> = response.answers.into_iter().map(|answer| answer.outcome).collect();
        ensure(outcomes == [Outcome::NeedsName, Outcome::Skipped], &format!("a taken name: {outcomes:?}"))?;
        let renamed = Operation { alt_name: Some(named("file (1)")), ..self.folder(3, "file") };
        let ops = vec![renamed, self.folder(4, "fourth")];
        let response = self.push(first.after, ops).await.map_err(|e| said("push", &e))?;
        let is_done = |answer: &Answer| answer.outcome.is_settled();
        ensure(response.answers.iter().all(is_done), "with another name both are settled")
    }

    async fn the_other_device_pulls_and_lists_it(&self, first: &PushResponse) -> Checked {
        let (changes, upto) = self.pull_all(self.origin).await?;
        ensure(upto.seq > first.after.seq, "the cut is where the journal stands")?;
        let file = node_id(1);
        let is_file = |change: &Change| matches!(&change.row, Row::Node { node, state: Some(_) } if *node == file);
        let is_entry = |change: &Change| matches!(&change.row, Row::Entry { node: Some(node), .. } if *node == file);
        ensure(changes.iter().any(is_file) && changes.iter().any(is_entry), "a pull brings node and entry")?;
        let (nothing, same) = self.pull_all(upto).await?;
        ensure(nothing.is_empty() && same == upto, "nothing comes after the end")?;
        let wrong = Cursor { hash: JournalHash([3; 32]), ..upto };
        let refused = self.ben.pull(self.space, &wrong, None).await;
        ensure(is_refused(&refused, ErrorCode::EpochChanged), "a cursor with another hash")?;
        let mut names = Vec::new();
        let mut page = None;
        loop {
            let root = NodeId::root_of(self.space);
            let listing = self.ben.children(self.space, root, page.as_deref()).await.map_err(|e| said("list", &e))?;
            names.extend(listing.children.into_iter().map(|child| child.name));
            page = listing.next;
            if page.is_none() {
                break;
            }
        }
        let expected = ["file", "file (1)", "fourth", "second"].map(named);
        ensure(names == expected, &format!("a listing in order: {names:?}"))
    }

    async fn pull_all(&self, cursor: Cursor) -> Checked<(Vec<Change>, Cursor)> {
        let (mut changes, mut page) = (Vec::new(), None);
        loop {
            let part = self.ben.pull(self.space, &cursor, page.as_deref()).await.map_err(|e| said("pull", &e))?;
            changes.extend(part.changes);
            page = part.next;
            if page.is_none() {
                return Ok((changes, part.upto));
            }
        }
    }

    async fn frames_come_verified_and_in_order(&self) -> Checked {
        let range = |first_frame, frame_count| ChunkRange { id: self.chunk(), first_frame, frame_count };
        let (sink, mut items) = mpsc::channel(8);
        let ranges = [range(1, 1), range(0, 10)];
        self.ben.fetch(self.space, &ranges, sink).await.map_err(|e| said("fetch", &e))?;
        for expected in [&self.plain[65_536..131_072], &self.plain[..]] {
            let item = items.recv().await.ok_or("an item is missing")?;
            let header = Header::parse(&item.header).map_err(|e| e.to_string())?;
            let key = ContentKey::Ordinary;
            let plain = decode_frames(&key, item.id, &header, item.first_frame, item.frame_count, &item.frames);
            ensure(plain.is_ok_and(|plain| plain == expected), "the frames' bytes")?;
        }
        let (sink, _items) = mpsc::channel(8);
        let unknown = ChunkRange { id: ChunkId([8; 32]), first_frame: 0, frame_count: 1 };
        let refused = self.ben.fetch(self.space, &[unknown], sink).await;
        ensure(is_refused(&refused, ErrorCode::NotFound), "an unknown chunk")
    }

    async fn a_notice_follows_a_push(&self, first: &PushResponse) -> Checked {
        let (sender, mut events) = mpsc::channel(64);
        let receipts = self.ben.notify(sender).await.map_err(|e| said("notify", &e))?;
        let connected = timeout(PATIENCE, events.recv()).await;
        ensure(matches!(connected, Ok(Some(NoticeEvent::Connected))), "the socket opens")?;
        let pushed = self.push(first.after, vec![self.folder(5, "fifth")]).await.map_err(|e| said("push", &e))?;
        loop {
            let event = timeout(PATIENCE, events.recv()).await.map_err(|_| "no notice came")?;
            match event.ok_or("the socket closed")? {
                NoticeEvent::Notice(Notice::Changed { space, seq }) if space == self.space => {
                    if seq >= pushed.after.seq {
                        break;
                    }
                }
                NoticeEvent::Disconnected(reason) => return Err(reason),
                NoticeEvent::Notice(_) | NoticeEvent::Connected => {}
            }
        }
        drop(receipts);
        let end = timeout(PATIENCE, async { while events.recv().await.is_some() {} }).await;
        ensure(end.is_ok(), "dropping the sender closes the socket")
    }
}

fn node_id(counter: u64) -> NodeId {
    let mut id = [0xc0; 16];
    id[..8].copy_from_slice(&counter.to_le_bytes());
    NodeId(id)
}

fn create(space: SpaceId, counter: u64, text: &str, kind: NodeKind, content: Option<Content>) -> Operation {
    let place = Place { parent: NodeId::root_of(space), name: named(text) };
    let attrs = Attrs { mode: 0o755, ..Attrs::default() };
    let kind = OpKind::Create { node: node_id(counter), place, kind, attrs, content };
    Operation { counter, time: Timestamp::default(), alt_name: None, kind }
}

fn is_refused<T>(result: &Result<T, RemoteError>, expected: ErrorCode) -> bool {
    matches!(result, Err(RemoteError::Refused { code, .. }) if *code == expected)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::remote::faulty::FaultyRemote;
    use crate::remote::memory::MemoryServer;
    use tarn_proto::ids::DeviceId;

    #[tokio::test]
    async fn the_server_in_memory_conforms() {
        let server = MemoryServer::new(SpaceId([4; 16]));
        let (ann, ben) = (server.device(DeviceId([1; 16])), server.device(DeviceId([2; 16])));
        check(&ann, &FaultyRemote::new(ben)).await.unwrap();
    }
}
