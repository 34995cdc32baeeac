//! Owns what a device of an example shows.

use super::super::device::Life;
use super::super::look::{bytes, list};
use super::super::server::SimServer;
use super::stage::DEVICES;
use std::collections::BTreeSet;
use tarn::meta::rows::{Ino, ROOT};
use tarn::tree::{DirEntry, NodeType, TreeError};
use tarn_proto::node::NodeKind;
use tarn_tests::page::without_dates;

/// More versions of a file than these are many.
const VERSIONS_MAX: usize = 4;
/// What has more bytes is told by their number.
const TEXT_MAX: usize = 1_000;

/// What bytes are in an example.
pub fn text_of(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=TEXT_MAX => String::from_utf8_lossy(bytes).into_owned(),
        long => format!("{} kB", long / 1_000),
    }
}

/// All that a device shows: `path = text`, with what its file held before (`path = text, before: text`) and permissions that are
/// not the usual ones, `path/` of folders with nothing in them, `path -> target` of links, `path (pipe)`.
pub fn shown(life: &Life, server: &SimServer) -> Result<Vec<String>, TreeError> {
    let (mut found, mut todo) = (Vec::new(), vec![(ROOT, String::new())]);
    while let Some((dir, path)) = todo.pop() {
        let entries = list(&life.tree, dir)?;
        if entries.is_empty() && dir != ROOT {
            found.push(path.clone());
        }
        for entry in entries {
            let here = format!("{path}{}", entry.name);
            if entry.node_type == NodeType::Dir {
                todo.push((entry.ino, format!("{here}/")));
            } else {
                found.push(line(life, server, &here, &entry)?);
            }
        }
    }
    found = found.into_iter().map(|line| without_machines(&without_dates(&line))).collect();
    found.sort();
    Ok(found)
}

fn line(life: &Life, server: &SimServer, path: &str, entry: &DirEntry) -> Result<String, TreeError> {
    let stat = life.tree.stat(entry.ino)?;
    match &stat.kind {
        NodeKind::Symlink { target } => Ok(format!("{path} -> {}", String::from_utf8_lossy(target))),
        NodeKind::File => {
            let text = text_of(&bytes(life, server, entry.ino)?);
            let mut before = history(life, server, entry.ino)?;
            before.remove(&text);
            if before.len() > VERSIONS_MAX {
                before = BTreeSet::from(["many".to_owned()]);
            }
            let before = before.into_iter();
            let mut line =
                before.fold(format!("{path} = {text}"), |line, version| format!("{line}, before: {version}"));
            if stat.attrs.mode & 0o7777 != 0o644 {
                line = format!("{line}, mode {:o}", stat.attrs.mode & 0o7777);
            }
            Ok(line)
        }
        NodeKind::Fifo => Ok(format!("{path} (pipe)")),
        other => Ok(format!("{path} ({other:?})")),
    }
}

/// What the versions of a file hold.
fn history(life: &Life, server: &SimServer, ino: Ino) -> Result<BTreeSet<String>, TreeError> {
    let Some(node) = life.tree.published_file(ino)? else { return Ok(BTreeSet::new()) };
    let versions = server.versions_of(node).filter_map(|content| server.bytes_of(content));
    Ok(versions.map(|bytes| text_of(&bytes)).collect())
}

/// `(conflict from machine 1)` is `(conflict from b)` in the examples.
fn without_machines(line: &str) -> String {
    (0..DEVICES.len()).fold(line.to_owned(), |line, who| {
        line.replace(&format!("(conflict from machine {who}"), &format!("(conflict from {}", DEVICES[who]))
    })
}
