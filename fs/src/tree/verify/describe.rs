//! Owns saying in a few words what rows say, where they differ.

use crate::content::LocalContent;
use crate::meta::rows::{ContentRow, EntryRow, InodeRow, QueuedOp};
use tarn_proto::node::NodeState;

/// Longer texts are cut.
const TEXT_MAX: usize = 160;

type Fields = Vec<(&'static str, String)>;

/// The fields of one side that the other side does not have so.
pub(super) fn differing(own: &Fields, other: Option<&Fields>) -> String {
    let is_other =
        |(name, value): &&(&str, String)| other.is_none_or(|other| !other.iter().any(|(n, v)| n == name && v == value));
    let said: Vec<String> = own.iter().filter(is_other).map(|(name, value)| format!("{name} {value}")).collect();
    if said.is_empty() { "the same, but written differently".to_owned() } else { said.join(", ") }
}

fn text(value: &impl std::fmt::Debug) -> String {
    let mut text = format!("{value:?}");
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// What an inode's row says.
pub(super) fn inode(row: &InodeRow) -> Fields {
    let local = row.local.as_ref();
    vec![
        ("node", row.node.map_or_else(|| "none".into(), |node| node.to_string())),
        ("local content", row.content.map_or_else(|| "none".into(), |no| no.0.to_string())),
        ("pinned", row.pinned.to_string()),
        ("local kind", text(&local.map(|local| &local.kind))),
        ("local attributes", text(&local.map(|local| &local.attrs))),
        ("ticket", text(&local.map(|local| local.ticket.0))),
    ]
}

/// What a node's state says.
pub(super) fn node(state: &NodeState) -> Fields {
    let attrs = &state.attrs;
    let mut fields = vec![
        ("kind", text(&state.kind)),
        ("mode", format!("{:o}", attrs.mode)),
        ("owner", format!("{}:{}", attrs.uid, attrs.gid)),
        ("mtime", format!("{}.{:09}", attrs.mtime.secs, attrs.mtime.nanos)),
        ("ctime", format!("{}.{:09}", attrs.ctime.secs, attrs.ctime.nanos)),
        ("btime", format!("{}.{:09}", attrs.btime.secs, attrs.btime.nanos)),
        ("flags", attrs.flags.to_string()),
        ("xattrs", text(&attrs.xattrs)),
    ];
    if let Some(file) = &state.file {
        fields.push(("size", file.content.size.to_string()));
        fields.push(("version", file.content.version.to_string()));
        fields.push(("content", file.content.content_id.to_string()));
        fields.push(("vector", text(&file.vector)));
        fields.push(("manifest", text(&file.content.manifest)));
    }
    fields
}

/// What a local entry says.
pub(super) fn entry(row: &EntryRow) -> String {
    let what = row.ino.map_or_else(|| "free".to_owned(), |ino| format!("inode {}", ino.0));
    format!("{what}, for operation {}", row.ticket.0)
}

/// What a queued operation says.
pub(super) fn queued(op: &QueuedOp) -> String {
    let kind = text(&op.op);
    let frozen =
        op.frozen.as_ref().map_or_else(|| "not sent".to_owned(), |frozen| format!("sent as {}", frozen.counter));
    format!("{}, {frozen}, {} other names tried, {:?}", kind, op.name_tries, op.verdict)
}

/// What of a content both sides know at any time.
pub(super) fn content(row: &ContentRow) -> Fields {
    vec![
        ("inode", row.ino.0.to_string()),
        ("size", row.size_bytes.to_string()),
        ("version", row.base.as_ref().map_or_else(|| "none".into(), |base| base.content.version.to_string())),
        ("dirty", row.is_dirty.to_string()),
    ]
}

/// Bytes that a row claims and memory does not.
pub(super) fn claimed(row: &ContentRow, content: &LocalContent) -> u64 {
    let local = content.local_ranges();
    row.present.iter().flat_map(|range| local.gaps(range)).map(|gap| gap.end - gap.start).sum()
}
