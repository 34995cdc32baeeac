//! Owns comparing what is known of a folder with what the server lists, each as of its own seq. Pure.

use super::describe::{self, differing};
use crate::meta::KnownFolder;
use std::collections::{BTreeMap, BTreeSet};
use tarn_proto::api::ChildrenResponse;
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::NodeState;

/// Something that this device and the server say differently of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderMismatch {
    /// The name that it is about; `None`: the folder itself.
    pub name: Option<Name>,
    /// What differs.
    pub what: &'static str,
    /// What is known here.
    pub here: String,
    /// What the server lists.
    pub server: String,
}

/// Up to where each side knows everything.
#[derive(Debug, Clone, Copy)]
struct Horizons {
    here: u64,
    server: u64,
}

impl Horizons {
    /// Whether two rows differ in a way that no change under way explains. A row comes with its seq; what is gone, or was
    /// never there, is a row without value.
    fn differ<T: PartialEq>(self, here: Option<(u64, Option<&T>)>, server: Option<(u64, &T)>) -> bool {
        match (here, server) {
            // The server has not spoken of it up to there.
            (Some((seq, _)), _) if seq > self.server => false,
            (_, Some((seq, _))) if seq > self.here && here.is_none_or(|(own, _)| own < seq) => false,
            (Some((own, value)), Some((seq, listed))) => own != seq || value != Some(listed),
            (Some((_, Some(_))), None) => self.server <= self.here,
            (Some((_, None)) | None, None) => false,
            (None, Some(_)) => true,
        }
    }
}

/// Compares a folder. What is newer than the other side can know is left out; nothing is compared before the first full
/// pull is complete.
pub fn compare_folder(known: &KnownFolder, listing: &ChildrenResponse) -> Vec<FolderMismatch> {
    let Some(upto) = known.upto else { return Vec::new() };
    let horizons = Horizons { here: upto, server: listing.seq };
    let mut found = Vec::new();
    let own = known.node.as_ref().map(|row| (row.seq, row.state.as_ref()));
    compare_node(&mut found, None, horizons, own, Some((listing.node_seq, &listing.node)));
    let here: BTreeMap<&Name, _> = known.entries.iter().map(|(entry, node)| (&entry.name, (entry, node))).collect();
    let server: BTreeMap<&Name, _> = listing.children.iter().map(|child| (&child.name, child)).collect();
    let names: BTreeSet<&Name> = here.keys().chain(server.keys()).copied().collect();
    for name in names {
        let (own, child) = (here.get(name), server.get(name));
        let own_entry = own.map(|(entry, _)| (entry.seq, entry.node.as_ref()));
        let listed = child.map(|child| (child.entry_seq, &child.node));
        if horizons.differ(own_entry, listed) {
            found.push(FolderMismatch {
                name: Some(name.clone()),
                what: "what a name stands for",
                here: entry_text(own_entry),
                server: entry_text(listed.map(|(seq, node)| (seq, Some(node)))),
            });
            continue;
        }
        let (Some((entry, node)), Some(child)) = (own, child) else { continue };
        if entry.node == Some(child.node) {
            let own = node.as_ref().map(|row| (row.seq, row.state.as_ref()));
            compare_node(&mut found, Some(name), horizons, own, Some((child.node_seq, &child.state)));
        }
    }
    found
}

fn compare_node(
    found: &mut Vec<FolderMismatch>,
    name: Option<&Name>,
    horizons: Horizons,
    here: Option<(u64, Option<&NodeState>)>,
    server: Option<(u64, &NodeState)>,
) {
    if horizons.differ(here, server) {
        let own = here.and_then(|(_, state)| state).map(describe::node);
        let listed = server.map(|(_, state)| describe::node(state));
        let text = |seq: Option<u64>, own: Option<_>, other: Option<_>| match (seq, own) {
            (Some(seq), Some(own)) => format!("seq {seq}, {}", differing(&own, other.as_ref())),
            _ => "not there".to_owned(),
        };
        found.push(FolderMismatch {
            name: name.cloned(),
            what: "attributes and content",
            here: text(here.map(|(seq, _)| seq), own.clone(), listed.clone()),
            server: text(server.map(|(seq, _)| seq), listed, own),
        });
    }
}

fn entry_text(row: Option<(u64, Option<&NodeId>)>) -> String {
    match row {
        Some((seq, Some(node))) => format!("node {node} since seq {seq}"),
        Some((seq, None)) => format!("gone since seq {seq}"),
        None => "not there".to_owned(),
    }
}
