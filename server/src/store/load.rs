//! Owns how rows come in a rules snapshot: many keys at a time, in few statements.

use super::{Conn, StoreError, conflicts, devices, entries, epochs, nodes, versions};
use crate::rules::{ConflictRow, EntryRow, GoneNode, Key, NodeSlot, Snapshot};
use entries::EntryInterval;
use nodes::NodeInterval;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tarn_proto::ids::{DeviceId, NodeId, VersionId};
use tarn_proto::name::Name;
use tarn_proto::op::Place;

/// Keys sorted by how they are loaded.
#[derive(Debug, Default)]
struct Sorted {
    nodes: BTreeSet<NodeId>,
    chains: BTreeSet<NodeId>,
    places: BTreeSet<Place>,
    trees: BTreeSet<NodeId>,
    gone_trees: BTreeSet<NodeId>,
    versions: BTreeSet<VersionId>,
    conflicts: BTreeSet<NodeId>,
    recovered: BTreeSet<NodeId>,
    devices: BTreeSet<DeviceId>,
}

fn sort(keys: impl IntoIterator<Item = Key>) -> Sorted {
    let mut sorted = Sorted::default();
    for key in keys {
        match key {
            Key::Node(id) => sorted.nodes.insert(id),
            Key::Chain(id) => sorted.chains.insert(id),
            Key::Place(place) => sorted.places.insert(place),
            Key::Tree(id) => sorted.trees.insert(id),
            Key::GoneTree(id) => sorted.gone_trees.insert(id),
            Key::Version(id) => sorted.versions.insert(id),
            Key::Conflicts(id) => sorted.conflicts.insert(id),
            Key::Recovered(id) => sorted.recovered.insert(id),
            Key::Devices(ids) => {
                sorted.devices.extend(ids);
                true
            }
        };
    }
    sorted
}

/// Loads rows into a snapshot. What it has already stays as it is.
///
/// # Errors
/// The database fails.
pub async fn load(
    conn: &mut Conn,
    snapshot: &mut Snapshot,
    keys: impl IntoIterator<Item = Key>,
) -> Result<(), StoreError> {
    let sorted = sort(keys);
    let mut ids = sorted.nodes;
    ids.extend(load_places(conn, snapshot, &sorted.places).await?);
    load_nodes(conn, snapshot, ids, sorted.chains).await?;
    load_trees(conn, snapshot, sorted.trees).await?;
    for dir in sorted.gone_trees {
        load_gone_tree(conn, snapshot, dir).await?;
    }
    load_versions(conn, snapshot, sorted.versions).await?;
    load_conflicts(conn, snapshot, sorted.conflicts).await?;
    load_recovered(conn, snapshot, sorted.recovered).await?;
    load_devices(conn, snapshot, sorted.devices).await
}

/// Answers the nodes that stand at the places.
async fn load_places(
    conn: &mut Conn,
    snapshot: &mut Snapshot,
    places: &BTreeSet<Place>,
) -> Result<Vec<NodeId>, StoreError> {
    let wanted: Vec<Place> = places.iter().cloned().collect();
    let found = entries::at(conn, snapshot.space(), &wanted).await?;
    let standing = found.iter().map(|entry| entry.row.node).collect();
    for entry in found {
        snapshot.load_place(entry.place, Some(entry.row));
    }
    for place in wanted {
        snapshot.load_place(place, None);
    }
    Ok(standing)
}

async fn load_nodes(
    conn: &mut Conn,
    snapshot: &mut Snapshot,
    mut ids: BTreeSet<NodeId>,
    chains: BTreeSet<NodeId>,
) -> Result<(), StoreError> {
    ids.extend(&chains);
    let list = |ids: &BTreeSet<NodeId>, snapshot: &Snapshot| -> Vec<NodeId> {
        ids.iter().copied().filter(|&id| !snapshot.has(&Key::Node(id))).collect()
    };
    let aliases = nodes::aliases(conn, snapshot.space(), &list(&ids, snapshot)).await?;
    for (&id, &alias) in &aliases {
        snapshot.load_node(id, NodeSlot::Alias(alias), []);
        ids.insert(alias.target);
    }
    let starts: Vec<NodeId> = chains.iter().map(|id| aliases.get(id).map_or(*id, |alias| alias.target)).collect();
    ids.extend(entries::above(conn, &starts).await?);
    load_slots(conn, snapshot, list(&ids, snapshot)).await
}

async fn load_slots(conn: &mut Conn, snapshot: &mut Snapshot, ids: Vec<NodeId>) -> Result<(), StoreError> {
    let present = nodes::present(conn, &ids).await?;
    let found: BTreeSet<NodeId> = present.iter().map(|row| row.node).collect();
    let here: Vec<NodeId> = present.iter().filter(|row| row.space == snapshot.space()).map(|row| row.node).collect();
    let mut links: HashMap<NodeId, Vec<(Place, EntryRow)>> = HashMap::new();
    for entry in entries::naming(conn, &here).await? {
        links.entry(entry.row.node).or_default().push((entry.place, entry.row));
    }
    for NodeInterval { node, space, row, .. } in present {
        let slot = if space == snapshot.space() { NodeSlot::Present(row) } else { NodeSlot::Foreign };
        snapshot.load_node(node, slot, links.remove(&node).unwrap_or_default());
    }
    load_gone(conn, snapshot, ids.into_iter().filter(|id| !found.contains(id)).collect()).await
}

async fn load_gone(conn: &mut Conn, snapshot: &mut Snapshot, ids: Vec<NodeId>) -> Result<(), StoreError> {
    let gone = nodes::gone(conn, &ids).await?;
    let gone_ids: Vec<NodeId> = gone.iter().map(|row| row.node).collect();
    let named = entries::that_named(conn, &gone_ids).await?;
    for NodeInterval { node, space, seq_to, row } in gone {
        if space != snapshot.space() {
            snapshot.load_node(node, NodeSlot::Foreign, []);
            continue;
        }
        let last = |entry: &&EntryInterval| entry.row.node == node && entry.seq_to == seq_to;
        let place = named.iter().find(last).map(|entry| entry.place.clone());
        let slot = NodeSlot::Gone(Box::new(GoneNode { row, seq: seq_to.unwrap_or_default(), place }));
        snapshot.load_node(node, slot, []);
    }
    for id in ids {
        snapshot.load_node(id, NodeSlot::Unknown, []);
    }
    Ok(())
}

/// Loads folders level by level, with what stands in them.
async fn load_trees(conn: &mut Conn, snapshot: &mut Snapshot, dirs: BTreeSet<NodeId>) -> Result<(), StoreError> {
    let mut dirs: Vec<NodeId> = dirs.into_iter().collect();
    while !dirs.is_empty() {
        let mut listings: BTreeMap<NodeId, Vec<(Name, EntryRow)>> = dirs.iter().map(|&dir| (dir, Vec::new())).collect();
        let mut standing = BTreeSet::new();
        for entry in entries::inside(conn, snapshot.space(), &dirs).await? {
            standing.insert(entry.row.node);
            listings.entry(entry.place.parent).or_default().push((entry.place.name, entry.row));
        }
        for (dir, listing) in listings {
            snapshot.load_children(dir, listing);
        }
        load_nodes(conn, snapshot, standing.clone(), BTreeSet::new()).await?;
        dirs = standing.into_iter().filter(|&id| is_unlisted_dir(snapshot, id)).collect();
    }
    Ok(())
}

fn is_unlisted_dir(snapshot: &Snapshot, id: NodeId) -> bool {
    !snapshot.has(&Key::Tree(id)) && snapshot.is_present_dir(id)
}

async fn load_gone_tree(conn: &mut Conn, snapshot: &mut Snapshot, dir: NodeId) -> Result<(), StoreError> {
    let Some(seq) = snapshot.gone_seq(dir) else {
        snapshot.load_gone_tree(dir, Vec::new());
        return Ok(());
    };
    let mut by_parent: HashMap<NodeId, Vec<EntryInterval>> = HashMap::new();
    for entry in entries::gone_at(conn, snapshot.space(), seq).await? {
        by_parent.entry(entry.place.parent).or_default().push(entry);
    }
    let mut went = Vec::new();
    let mut todo = vec![dir];
    while let Some(parent) = todo.pop() {
        for entry in by_parent.remove(&parent).unwrap_or_default() {
            todo.push(entry.row.node);
            went.push((entry.place, entry.row.node));
        }
    }
    let ids = went.iter().map(|(_, node)| *node).collect();
    load_nodes(conn, snapshot, ids, BTreeSet::new()).await?;
    let places = went.iter().map(|(place, _)| place.clone()).collect();
    load_places(conn, snapshot, &places).await?;
    snapshot.load_gone_tree(dir, went);
    Ok(())
}

async fn load_versions(conn: &mut Conn, snapshot: &mut Snapshot, ids: BTreeSet<VersionId>) -> Result<(), StoreError> {
    let ids: Vec<VersionId> = ids.into_iter().collect();
    let known = versions::known(conn, &ids).await?;
    for id in ids {
        snapshot.load_version(id, known.get(&id).copied());
    }
    Ok(())
}

async fn load_conflicts(conn: &mut Conn, snapshot: &mut Snapshot, ids: BTreeSet<NodeId>) -> Result<(), StoreError> {
    let ids: Vec<NodeId> = ids.into_iter().collect();
    let mut open: HashMap<NodeId, Vec<ConflictRow>> = HashMap::new();
    for row in conflicts::of_nodes(conn, &ids).await? {
        open.entry(row.state.node).or_default().push(row);
    }
    for id in ids {
        snapshot.load_conflicts(id, open.remove(&id).unwrap_or_default());
    }
    Ok(())
}

async fn load_recovered(conn: &mut Conn, snapshot: &mut Snapshot, ids: BTreeSet<NodeId>) -> Result<(), StoreError> {
    let ids: Vec<NodeId> = ids.into_iter().collect();
    let known = epochs::recovered(conn, snapshot.space(), &ids).await?;
    for id in ids {
        snapshot.set_recovered(id, known.get(&id).copied().unwrap_or_default());
    }
    Ok(())
}

async fn load_devices(conn: &mut Conn, snapshot: &mut Snapshot, ids: BTreeSet<DeviceId>) -> Result<(), StoreError> {
    let ids: Vec<DeviceId> = ids.into_iter().collect();
    let removed = devices::removed(conn, &ids).await?;
    for id in ids {
        snapshot.load_device(id, removed.contains(&id));
    }
    Ok(())
}
