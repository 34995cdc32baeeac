//! Owns what must hold at the end: one tree everywhere, nothing lost, nothing back, nothing twice.

use super::device::Life;
use super::look::{bytes, list};
use super::oracle::{Oracle, tokens};
use super::server::{SPACE, SimServer};
use std::collections::{BTreeMap, BTreeSet};
use tarn::meta::rows::{Ino, ROOT};
use tarn::tree::TreeError;
use tarn_proto::change::{ConflictState, Row};
use tarn_proto::ids::{ContentId, DeviceId, NodeId, VersionId};
use tarn_proto::name::Name;
use tarn_proto::node::{FileVersion, NodeState};

/// One side by side walk.
struct Walk<'a> {
    who: usize,
    life: &'a Life,
    server: &'a SimServer,
    faults: Vec<String>,
}

/// How a device differs from the server.
pub fn differences(who: usize, life: &Life, server: &SimServer) -> Vec<String> {
    let mut walk = Walk { who, life, server, faults: Vec::new() };
    let mut todo = vec![(String::new(), NodeId::root_of(SPACE), ROOT)];
    while let Some((path, node, ino)) = todo.pop() {
        match walk.folder(&path, node, ino) {
            Ok(below) => todo.extend(below),
            Err(error) => walk.fault(format!("{path}/: {error}")),
        }
        if walk.faults.len() > 20 {
            break;
        }
    }
    match inside(life) {
        Ok(found) => found.into_iter().for_each(|fault| walk.fault(fault)),
        Err(error) => walk.fault(error.to_string()),
    }
    walk.faults
}

/// How memory, log and database of a device differ from each other.
fn inside(life: &Life) -> Result<Vec<String>, TreeError> {
    life.contents.record_presence()?;
    let memory = life.tree.compare_memory(usize::MAX, 0)?.mismatches.into_iter();
    let rows = life.tree.row_faults(20)?.1.into_iter();
    Ok(memory.map(|mismatch| format!("{mismatch:?}")).chain(rows.map(|fault| format!("{fault:?}"))).collect())
}

impl Walk<'_> {
    fn fault(&mut self, text: String) {
        self.faults.push(format!("machine {}: {text}", self.who));
    }

    fn folder(&mut self, path: &str, node: NodeId, ino: Ino) -> Result<Vec<(String, NodeId, Ino)>, TreeError> {
        let there: BTreeMap<&Name, NodeId> = self.server.entries_of(node).map(|(name, _, node)| (name, node)).collect();
        let here: BTreeMap<Name, Ino> =
            list(&self.life.tree, ino)?.into_iter().map(|entry| (entry.name, entry.ino)).collect();
        let mut below = Vec::new();
        for name in here.keys().filter(|name| !there.contains_key(name)) {
            self.fault(format!("{path}/{name} is only here"));
        }
        for (name, node) in there {
            let path = format!("{path}/{name}");
            let Some(&ino) = here.get(name) else {
                self.fault(format!("{path} is only on the server"));
                continue;
            };
            let Some(state) = self.server.node(node) else { continue };
            if self.life.tree.ino_of(node)? != Some(ino) {
                self.fault(format!("{path} is another node here"));
            }
            self.node(&path, ino, &state)?;
            if state.kind.is_dir() {
                below.push((path, node, ino));
            }
        }
        Ok(below)
    }

    fn node(&mut self, path: &str, ino: Ino, state: &NodeState) -> Result<(), TreeError> {
        let stat = self.life.tree.stat(ino)?;
        if stat.kind != state.kind {
            self.fault(format!("{path} is {:?} here and {:?} there", stat.kind, state.kind));
        }
        let (here, there) = (&stat.attrs, &state.attrs);
        if (here.mode, here.uid, here.gid, &here.xattrs) != (there.mode, there.uid, there.gid, &there.xattrs) {
            self.fault(format!("{path}: {here:?} here, {there:?} there"));
        }
        let Some(file) = &state.file else { return Ok(()) };
        if here.mtime != there.mtime {
            self.fault(format!("{path}: mtime {:?} here, {:?} there", here.mtime, there.mtime));
        }
        let content = self.life.tree.content(ino)?;
        if content.is_dirty() {
            self.fault(format!("{path} is dirty and nothing is queued"));
        }
        if content.base().is_none_or(|base| base.vector != file.vector) {
            self.fault(format!("{path}: version {:?} here, {:?} there", content.base().map(|b| b.vector), file.vector));
        }
        let (here, there) = (bytes(self.life, self.server, ino)?, self.server.bytes_of(&file.content));
        if there.as_ref() != Some(&here) {
            let there = there.unwrap_or_default();
            let (here_tokens, there_tokens) = (tokens(&here), tokens(&there));
            self.fault(format!(
                "{path}: bytes differ: {} with {here_tokens:?} here, {} with {there_tokens:?} there",
                here.len(),
                there.len()
            ));
        }
        Ok(())
    }
}

/// What is wrong with the server's tree, and with it in the light of what programs were told. `is_straight`: no server was
/// put back meanwhile.
pub fn server(server: &SimServer, oracle: &Oracle, is_straight: bool) -> Vec<String> {
    let mut faults = server.unsound();
    let without = server.versions.values().filter(|(_, file)| server.bytes_of(&file.content).is_none());
    faults.extend(without.map(|(_, file)| format!("bytes of version {} are missing", file.content.version)));
    let everywhere = everywhere(server);
    let mut kept = in_conflict(server);
    kept.extend(aside_for_good(server));
    let mut moved = Vec::new();
    let mut contents = BTreeMap::<ContentId, BTreeSet<NodeId>>::new();
    let siblings: BTreeSet<NodeId> = conflicts(server).filter_map(|open| open.sibling).collect();
    for (path, node, state) in files(server) {
        let Some(file) = state.file else { continue };
        let bytes = server.bytes_of(&file.content).unwrap_or_default();
        let here = tokens(&bytes);
        // Who became an older copy of itself does not know what became of what was refused, or was not, since.
        let was_refused = |who: &usize| server.is_refused(*who, file.content.content_id);
        let is_of_conflict = siblings.contains(&node) || server.settled.versions.contains(&file.content.version);
        let may_be_second = oracle.rolled_back.iter().any(was_refused)
            || oracle.is_put_by(&here, &server.refused.writes, &everywhere)
            || (is_of_conflict && oracle.was_put_by(&here))
            || oracle.was_put_by_two(&here)
            || oracle.is_cut_short(&bytes);
        if file.content.size > 0 && !may_be_second && !server.settled.siblings.contains(&node) {
            contents.entry(file.content.content_id).or_default().insert(node);
        }
        kept.extend(&here);
        // What was to move below itself, or to a folder that is gone for good, stays where it is, whatever was done to it where it
        // was to be.
        if !server.refused.moves.contains(&node) {
            moved.push((path, here));
        }
    }
    faults.extend(oracle.lost(&kept, &everywhere, is_straight));
    faults.extend(needless_conflicts(server, oracle));
    faults.extend(returned(server, oracle, &in_place(&moved)));
    if is_straight {
        faults.extend(oracle.misnamed(&moved, &server.refused.writes));
    }
    faults.extend(siblings_per_save(server, oracle));
    let twice = contents.iter().filter(|(_, nodes)| nodes.len() > 1);
    faults.extend(twice.map(|(content, nodes)| format!("{content:?} is there {} times: {nodes:?}", nodes.len())));
    faults
}

/// Removed writes that are there again. What stood in two files, as in one and its sibling, may have been removed from one.
pub fn returned(server: &SimServer, oracle: &Oracle, present: &BTreeSet<u64>) -> Vec<String> {
    let back = oracle.returned(present, &server.refused.writes);
    if back.is_empty() {
        return Vec::new();
    }
    let mut files: BTreeMap<u64, BTreeSet<NodeId>> = BTreeMap::new();
    for (node, file) in server.versions.values() {
        for token in tokens(&server.bytes_of(&file.content).unwrap_or_default()) {
            files.entry(token).or_default().insert(*node);
        }
    }
    let is_of_one = |token: &u64| files.get(token).is_none_or(|nodes| nodes.len() == 1);
    back.into_iter().filter(|(token, _)| is_of_one(token)).map(|(_, said)| said).collect()
}

/// Writes that stand where somebody put them: not beside a file, nor out of its way, on purpose.
fn in_place(named: &[(String, BTreeSet<u64>)]) -> BTreeSet<u64> {
    let is_in_place = |path: &str| !path.contains("(conflict from") && !path.starts_with("/Tarn rescued");
    let here = named.iter().filter(|(path, _)| is_in_place(path));
    here.flat_map(|(_, tokens)| tokens).copied().collect()
}

/// All writes that stand in the tree: those in their place, and all of them.
pub fn present(server: &SimServer) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let bytes = |state: NodeState| server.bytes_of(&state.file?.content);
    let named: Vec<_> =
        files(server).into_iter().map(|(path, _, state)| (path, tokens(&bytes(state).unwrap_or_default()))).collect();
    (in_place(&named), named.iter().flat_map(|(_, tokens)| tokens).copied().collect())
}

/// A file has one sibling for a device, however often that saves, unless somebody else wrote to the one before.
fn siblings_per_save(server: &SimServer, oracle: &Oracle) -> Vec<String> {
    let mut count: BTreeMap<(NodeId, &str), u32> = BTreeMap::new();
    for conflict in conflicts(server) {
        // A file that came back and found its name taken is a sibling with a history of its own.
        let is_made = |sibling: &NodeId| server.settled.ever.get(sibling).is_some_and(|versions| versions.len() == 1);
        let made = conflict.sibling.filter(is_made);
        let shown = made.and_then(|sibling| server.node(sibling)?.file);
        if shown.is_some_and(|file| file.content.version == conflict.theirs.content.version) {
            *count.entry((conflict.node, &conflict.device_name)).or_default() += 1;
        }
    }
    // Who became an older copy of itself is another device.
    let is_one = |name: &str| oracle.rolled_back.iter().all(|who| name != format!("machine {who}"));
    let many = count.into_iter().filter(|((_, name), count)| *count > 1 && is_one(name));
    many.map(|((node, device), count)| format!("{node} has {count} siblings of {device}")).collect()
}

/// The writes in all versions that the server ever had.
pub fn everywhere(server: &SimServer) -> BTreeSet<u64> {
    let contents = server.versions.values().filter_map(|(_, file)| server.bytes_of(&file.content));
    contents.flat_map(|bytes| tokens(&bytes)).collect()
}

/// The writes in the versions of a device that the server did not have then.
pub fn sent_since(server: &SimServer, then: &BTreeSet<VersionId>, device: DeviceId) -> BTreeSet<u64> {
    let news = server.versions.iter().filter(|(version, (_, file))| file.author == device && !then.contains(version));
    news.flat_map(|(_, (_, file))| shown(server, file)).collect()
}

fn conflicts(server: &SimServer) -> impl Iterator<Item = &ConflictState> {
    server.rows.values().filter_map(|change| match &change.row {
        Row::Conflict { state, .. } => state.as_deref(),
        _ => None,
    })
}

/// The writes that open conflicts hold, or held: there is one sibling for a file and a device at most, so what the device
/// saves later stands in its place.
fn in_conflict(server: &SimServer) -> BTreeSet<u64> {
    let siblings: BTreeSet<_> = conflicts(server).filter_map(|one| Some((one.sibling?, one.device))).collect();
    let shown = server.versions.values().filter(|(node, file)| siblings.contains(&(*node, file.author)));
    let held = conflicts(server).map(|conflict| &conflict.theirs);
    let contents = held.chain(shown.map(|(_, file)| file)).filter_map(|file| server.bytes_of(&file.content));
    contents.flat_map(|bytes| tokens(&bytes)).collect()
}

/// What siblings held before they came to hold what they do: it is in the history alone, and that goes with a server that is
/// put back.
pub fn aside(server: &SimServer) -> BTreeSet<u64> {
    let mut there: BTreeSet<u64> = conflicts(server).flat_map(|open| shown(server, &open.theirs)).collect();
    there.extend(files(server).into_iter().filter_map(|(.., state)| state.file).flat_map(|file| shown(server, &file)));
    &in_conflict(server) - &there
}

/// What siblings of conflicts that somebody resolved held before their devices saved again: nobody had to see it.
fn aside_for_good(server: &SimServer) -> BTreeSet<u64> {
    let of_siblings = || server.versions.values().filter(|(node, _)| server.settled.siblings.contains(node));
    let is_replaced = |(node, file): &&(NodeId, FileVersion)| {
        let counter = |file: &FileVersion, author| file.vector.get(author);
        of_siblings().any(|(other, later)| {
            other == node && later.author == file.author && counter(later, file.author) > counter(file, file.author)
        })
    };
    of_siblings().filter(is_replaced).flat_map(|(_, file)| shown(server, file)).collect()
}

fn shown(server: &SimServer, file: &FileVersion) -> BTreeSet<u64> {
    tokens(&server.bytes_of(&file.content).unwrap_or_default())
}

/// Conflicts with what the author of the second version had seen.
fn needless_conflicts(server: &SimServer, oracle: &Oracle) -> Vec<String> {
    let is_needless = |conflict: &&ConflictState| {
        let stayed = server.versions.get(&conflict.stayed).and_then(|(_, file)| server.bytes_of(&file.content));
        let theirs = server.bytes_of(&conflict.theirs.content);
        // Of empty files nobody knows which one was seen, nor when one was made empty.
        let both = stayed.zip(theirs).filter(|(stayed, theirs)| !stayed.is_empty() && !theirs.is_empty());
        both.is_some_and(|(stayed, theirs)| oracle.had_seen(&theirs, &stayed))
    };
    // Who became an older copy of itself meets what it had done since as others' work.
    let is_another = |conflict: &&ConflictState| {
        oracle.rolled_back.iter().all(|who| conflict.device_name != format!("machine {who}"))
    };
    // Nobody has seen yet what came of two versions, be it one of the two.
    let settled = &server.settled;
    let is_new = |version: &VersionId| settled.versions.contains(version) || settled.again.contains(version);
    let is_plain = |conflict: &&ConflictState| !is_new(&conflict.stayed);
    let needless = conflicts(server).filter(is_another).filter(is_plain).filter(is_needless);
    needless.map(|conflict| format!("{} had seen what its write is in conflict with", conflict.device_name)).collect()
}

/// All but folders, with the writes in each, for who looks into a failure.
pub fn listing(server: &SimServer) -> String {
    let line = |(path, node, state): (String, NodeId, NodeState)| {
        let writes = state.file.map(|file| shown(server, &file));
        format!("{} {path}: {writes:?}\n", &node.to_string()[..4])
    };
    files(server).into_iter().map(line).collect()
}

fn files(server: &SimServer) -> Vec<(String, NodeId, NodeState)> {
    let (mut found, mut todo) = (Vec::new(), vec![(String::new(), NodeId::root_of(SPACE), 0)]);
    while let Some((path, parent, depth)) = todo.pop() {
        for (name, _, node) in server.entries_of(parent) {
            let Some(state) = server.node(node) else { continue };
            let path = format!("{path}/{name}");
            if state.kind.is_dir() && depth < 1_000 {
                todo.push((path, node, depth + 1));
            } else {
                found.push((path, node, state));
            }
        }
    }
    found
}
