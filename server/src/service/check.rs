//! Owns the check of the tree: what is stored agrees with itself. Repairs nothing.
//!
//! Each space is read as of one moment, so it runs beside a live server. Chunks are looked up one
//! level deep: the nodes of deeper manifests, and the bytes, are the check of packs'.

use super::Failure;
use crate::store::chunks::{self, Judgement, ORDINARY};
use crate::store::spaces::{HASH_ZERO, SpaceRow};
use crate::store::tree::{self, Tree};
use crate::store::versions::{self, StoredVersion};
use crate::store::{Conn, Database, conflicts, journal, spaces};
use std::collections::{HashMap, HashSet};
use tarn_proto::ids::{ChunkId, NodeId};

/// Rows read at once.
const PAGE_ROWS: usize = 10_000;

/// Checks all spaces; answers what is wrong, in words.
///
/// # Errors
/// The database fails.
pub async fn check_tree(db: &Database) -> Result<Vec<String>, Failure> {
    let mut findings = Vec::new();
    let all = spaces::all(&mut *db.reader().await?).await?;
    for space in all {
        let mut tx = db.begin_read().await?;
        // Read again: journal and rows are then of one moment.
        let Some(space) = spaces::get(&mut tx, space.space).await? else { continue };
        let mut found = Vec::new();
        let tree = tree::present(&mut tx, space.space).await?;
        check_shape(&space, &tree, &mut found);
        check_journal(&mut tx, &space, &mut found).await?;
        check_contents(&mut tx, &space, &tree, &mut found).await?;
        findings.extend(found.into_iter().map(|finding| format!("space {}: {finding}", space.space)));
    }
    Ok(findings)
}

/// Entries and nodes make one tree below the root.
fn check_shape(space: &SpaceRow, tree: &Tree, found: &mut Vec<String>) {
    let root = NodeId::root_of(space.space);
    let mut children: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    let mut named: HashMap<NodeId, usize> = HashMap::new();
    for (place, node) in &tree.entries {
        children.entry(place.parent).or_default().push(*node);
        *named.entry(*node).or_default() += 1;
        if !tree.nodes.contains_key(node) {
            found.push(format!("entry {:?} of {} names {node}, which is not there", place.name, place.parent));
        }
        if !tree.nodes.get(&place.parent).is_some_and(|node| node.is_dir) {
            found.push(format!("entry {:?} is in {}, which is no folder", place.name, place.parent));
        }
    }
    for (id, node) in &tree.nodes {
        match named.get(id).copied().unwrap_or(0) {
            0 if *id != root => found.push(format!("node {id} has no entry")),
            1.. if *id == root => found.push("the root has an entry".to_owned()),
            2.. if node.is_dir => found.push(format!("folder {id} has several entries")),
            _ => {}
        }
    }
    let reached = reach(root, &children);
    for id in tree.nodes.keys().filter(|id| !reached.contains(id)) {
        found.push(format!("node {id} cannot be reached from the root"));
    }
    let used: u64 = tree.nodes.values().map(|node| node.size_bytes).sum();
    if used != space.bytes_used {
        found.push(format!("contents have {used} bytes, but {} are counted", space.bytes_used));
    }
}

fn reach(root: NodeId, children: &HashMap<NodeId, Vec<NodeId>>) -> HashSet<NodeId> {
    let mut reached = HashSet::from([root]);
    let mut todo = vec![root];
    while let Some(id) = todo.pop() {
        for &child in children.get(&id).into_iter().flatten() {
            if reached.insert(child) {
                todo.push(child);
            }
        }
    }
    reached
}

/// The journal has no gap and its running hash is right to the end.
async fn check_journal(conn: &mut Conn, space: &SpaceRow, found: &mut Vec<String>) -> Result<(), Failure> {
    let (mut seq, mut hash) = (0, HASH_ZERO);
    loop {
        let rows = journal::page(conn, space.space, seq, PAGE_ROWS).await?;
        for row in &rows {
            if row.seq != seq + 1 {
                found.push(format!("the journal goes from seq {seq} to {}", row.seq));
            }
            if row.hash != journal::chain(hash, row.seq, row.device, row.counter, &row.digest) {
                found.push(format!("the journal's running hash is wrong at seq {}", row.seq));
            }
            (seq, hash) = (row.seq, row.hash);
        }
        if rows.len() < PAGE_ROWS {
            break;
        }
    }
    if (seq, hash) != (space.cursor.seq, space.cursor.hash) {
        found.push(format!("the journal ends at seq {seq}, but the space is at {}", space.cursor.seq));
    }
    Ok(())
}

/// Present files and open conflicts have their version, and every version its chunks.
async fn check_contents(
    conn: &mut Conn,
    space: &SpaceRow,
    tree: &Tree,
    found: &mut Vec<String>,
) -> Result<(), Failure> {
    let mut known = HashSet::new();
    let mut after = None;
    loop {
        let page = versions::page(conn, space.space, after, PAGE_ROWS).await?;
        check_chunks(conn, &page, found).await?;
        known.extend(page.iter().map(|version| version.file.content.version));
        after = page.last().map(|version| version.file.content.version);
        if page.len() < PAGE_ROWS {
            break;
        }
    }
    for (id, node) in &tree.nodes {
        match node.version {
            Some(version) if !known.contains(&version) => {
                found.push(format!("file {id} has version {version}, which is not recorded"));
            }
            None if node.is_file => found.push(format!("file {id} has no content")),
            _ => {}
        }
    }
    for open in conflicts::of_space(conn, space.space).await? {
        let version = open.state.theirs.content.version;
        if !known.contains(&version) {
            found.push(format!("conflict {} holds version {version}, which is not recorded", open.id));
        }
    }
    Ok(())
}

async fn check_chunks(conn: &mut Conn, page: &[StoredVersion], found: &mut Vec<String>) -> Result<(), Failure> {
    let manifests = || page.iter().map(|version| &version.file.content.manifest);
    let ids: HashSet<ChunkId> =
        manifests().flat_map(|manifest| manifest.entries.iter().map(|entry| entry.id)).collect();
    let ids: Vec<ChunkId> = ids.into_iter().collect();
    let rows = chunks::find(conn, ORDINARY, &ids).await?;
    for version in page {
        let content = &version.file.content;
        if let Err(error) = content.manifest.check(content.size) {
            found.push(format!("version {}: {error}", content.version));
        }
        match chunks::judge(content.manifest.level, &content.manifest.entries, &rows) {
            Judgement::Good => {}
            Judgement::Missing(missing) => {
                found.push(format!(
                    "version {} misses {} chunks, {} first",
                    content.version,
                    missing.len(),
                    missing[0]
                ));
            }
            Judgement::Bad(detail) => found.push(format!("version {}: {detail}", content.version)),
        }
    }
    Ok(())
}
