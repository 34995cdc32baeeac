//! Random operations of several devices with stale knowledge: nothing panics, the tree stays a tree,
//! and every acknowledged content is somewhere.

use super::state::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use tarn_proto::api::Outcome;
use tarn_proto::ids::NodeId;
use tarn_proto::node::{AttrChange, Content};
use tarn_proto::op::{OpKind, Place, RenameMode};
use tarn_proto::version::VersionVector;

/// One step in raw numbers; what they mean depends on the state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) by: u8,
    pub(crate) what: u8,
    pub(crate) node: usize,
    pub(crate) parent: usize,
    pub(crate) other: usize,
    pub(crate) name: u8,
    pub(crate) lag: u64,
    pub(crate) alt: bool,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    (1u8..=4, 0u8..12, any::<usize>(), any::<usize>(), any::<usize>(), 0u8..4, 0u64..6, any::<bool>()).prop_map(
        |(by, what, node, parent, other, name, lag, alt)| Step { by, what, node, parent, other, name, lag, alt },
    )
}

/// What devices have ever heard of; they name nodes, places and vectors long out of date.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) places: Vec<(Place, NodeId)>,
    pub(crate) vectors: Vec<VersionVector>,
}

fn pick<T: Clone>(from: &[T], index: usize) -> Option<T> {
    (!from.is_empty()).then(|| from[index % from.len()].clone())
}

pub(crate) fn kind_of(s: &mut State, heard: &Heard, step: Step) -> Option<OpKind> {
    let parent = pick(&heard.nodes, step.parent).unwrap_or(ROOT);
    let place = at(parent, ["a", "b", "c", "d"][usize::from(step.name)]);
    let (from, node) = pick(&heard.places, step.node).unwrap_or_else(|| (place.clone(), ROOT));
    let vector = pick(&heard.vectors, step.other).unwrap_or_default();
    let vector = if vector.get(device(step.by)) > s.counters.get(&step.by).copied().unwrap_or(0) {
        VersionVector::default()
    } else {
        vector
    };
    let content = s.content(&format!("text {}", step.other % 5));
    let displaced = pick(&heard.places, step.other).map(|(_, node)| seen(node, &vector));
    Some(match step.what {
        0 | 1 => dir(s.node(), &place),
        2 | 3 => file(s.node(), &place, content),
        4 | 5 => write(node, &from, &vector, content),
        6 => unlink(&from, node, &vector),
        7 => OpKind::Link { node, place },
        8 => OpKind::SetAttr { node, attrs: AttrChange { uid: Some(step.other as u32), ..AttrChange::default() } },
        9 => rename(node, &from, &place),
        10 => {
            let (to, _) = pick(&heard.places, step.other)?;
            rename_over(node, &from, &to, displaced)
        }
        _ => {
            let (to, _) = pick(&heard.places, step.other)?;
            OpKind::Rename { from, to, seen: seen(node, &vector), displaced, mode: RenameMode::Exchange }
        }
    })
}

fn brought(kind: &OpKind) -> Option<Content> {
    match kind {
        OpKind::Create { content, .. } => content.clone(),
        OpKind::Write { content, .. } => Some(content.clone()),
        _ => None,
    }
}

/// Whether an open conflict holds these bytes.
fn is_recorded(s: &State, content: &Content) -> bool {
    s.snapshot.open_conflicts().any(|open| open.state.theirs.content.content_id == content.content_id)
}

pub(crate) fn hear(s: &State, heard: &mut Heard) {
    let known: BTreeSet<NodeId> = heard.nodes.iter().copied().collect();
    heard.nodes.extend(s.snapshot.present_nodes().map(|(id, _)| id).filter(|id| !known.contains(id)));
    for (place, entry) in s.snapshot.present_entries() {
        if !heard.places.contains(&(place.clone(), entry.node)) {
            heard.places.push((place.clone(), entry.node));
        }
    }
    heard.places.sort();
    heard.nodes.sort();
    let vectors = s.snapshot.present_nodes().filter_map(|(_, row)| row.file()).map(|file| file.vector.clone());
    for vector in vectors.collect::<Vec<_>>() {
        if !heard.vectors.contains(&vector) {
            heard.vectors.push(vector);
        }
    }
    heard.vectors.sort_by_key(|vector| format!("{vector:?}"));
}

fn play(steps: &[Step]) {
    let mut s = State::new();
    let mut heard = Heard { nodes: vec![ROOT], ..Heard::default() };
    for step in steps {
        let Some(kind) = kind_of(&mut s, &heard, *step) else { continue };
        s.cursors.insert(step.by, s.seq.saturating_sub(step.lag));
        let content = brought(&kind);
        let same_bytes_joined = s.versions.len();
        let alt = step.alt.then(|| format!("alt {}", s.seq));
        let decision = s.run(step.by, kind, alt.as_deref());
        match (&decision.outcome, content) {
            // Joined with the same bytes, or recorded: the content is somewhere.
            (Outcome::Applied, Some(content)) => assert!(s.versions.contains(&content.version)),
            (Outcome::Conflicted { .. }, Some(content)) => {
                assert!(s.versions.contains(&content.version) || is_recorded(&s, &content));
            }
            (Outcome::Merged, Some(content)) if s.versions.len() > same_bytes_joined => {
                assert!(s.versions.contains(&content.version));
            }
            _ => {}
        }
        for open in s.snapshot.open_conflicts() {
            assert!(s.versions.contains(&open.state.theirs.content.version));
        }
        hear(&s, &mut heard);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_stays_a_tree_and_no_content_is_lost(steps in prop::collection::vec(step(), 1..80)) {
        play(&steps);
    }
}
