//! Owns what programs were told, so that the end can be held against it. Bytes are made of slots, each of which names
//! the write that it came from: a token is in a content or it is not, whatever became of the content.

use blake3::{Hash, hash};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::ErrorKind;
use tarn::tree::TreeError;
use tarn_proto::ids::{NodeId, VersionId};
use tarn_proto::name::Name;

/// Bytes of one slot.
pub const SLOT: usize = 64;
/// Who did what machines have forgotten since.
const PAST_SELVES_FROM: usize = 1_000;
/// Beyond the number of any write.
const NODES_FROM: u64 = 1 << 63;

/// A write that a program was told has happened.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    who: usize,
    is_synced: bool,
}

/// A write whose file a person removed.
#[derive(Debug, Clone, Copy)]
struct Gone {
    who: usize,
    is_synced: bool,
}

/// What was renamed away for something else to have its name, by whom, and a write in that: if it is refused, the file is there by
/// both names.
#[derive(Debug, Clone)]
struct PutBy {
    who: usize,
    writes: BTreeSet<u64>,
    next: Option<u64>,
}

/// What was so when a machine was copied.
#[derive(Debug, Clone, Default)]
struct Copied {
    /// The last write.
    last: u64,
    /// How much had been put by.
    put_by: usize,
    /// What the server had.
    on_server: BTreeSet<u64>,
    versions: BTreeSet<VersionId>,
}

/// What must be so at the end.
#[derive(Debug, Default)]
pub struct Oracle {
    last: u64,
    wanted: BTreeMap<u64, Wanted>,
    gone: BTreeMap<u64, Gone>,
    /// Who changed what since all machines last knew of everything.
    touched: BTreeMap<u64, BTreeSet<usize>>,
    /// Who ever did.
    hands: BTreeMap<u64, BTreeSet<usize>>,
    /// What people called files, by a write in each, in order.
    calls: Vec<(u64, usize, Name)>,
    /// Writes in files that got several names.
    linked: BTreeSet<u64>,
    /// What stood at a place before a person removed it: a new file there may be its next version.
    freed: BTreeMap<(usize, String), BTreeSet<u64>>,
    /// What stood at a place before a person renamed it away.
    left: BTreeMap<(usize, String), BTreeSet<u64>>,
    /// What was renamed away for something else to have its name.
    put_by: Vec<PutBy>,
    /// Writes in files that got a name which another file had just left, and that one's: they may be its next version.
    next_of: Vec<(u64, BTreeSet<u64>)>,
    /// What each machine had no room to change.
    doubtful: BTreeMap<usize, BTreeSet<u64>>,
    /// Machines whose power went.
    cut_off: BTreeSet<usize>,
    /// Writes to one file, each with an older one.
    same_file: BTreeMap<u64, u64>,
    /// What stands for each file beside its writes.
    nodes: BTreeMap<NodeId, u64>,
    /// Writes of files one of whose names a person removed: with those of others the last one can have gone.
    unnamed: BTreeSet<u64>,
    /// What a person saw when these bytes were made.
    before: HashMap<Hash, Hash>,
    /// How each machine was when it was copied.
    copied: BTreeMap<usize, Copied>,
    /// What each did since to which files.
    since_copied: BTreeMap<usize, BTreeSet<u64>>,
    /// Machines that became such a copy.
    pub rolled_back: BTreeSet<usize>,
    /// Writes that stand in two files from then on.
    in_two: BTreeSet<u64>,
    /// Bytes that were made by cutting others short: there may be two such versions.
    cut: HashSet<Hash>,
}

/// `count` slots that name one write.
pub fn slots(token: u64, count: usize) -> Vec<u8> {
    format!("{token:015}\n").into_bytes().repeat(SLOT / 16 * count)
}

/// Of what is seen in a file its writes alone.
fn writes(seen: &BTreeSet<u64>) -> BTreeSet<u64> {
    seen.range(..NODES_FROM).copied().collect()
}

/// The writes that bytes name.
pub fn tokens(bytes: &[u8]) -> BTreeSet<u64> {
    let first = |slot: &[u8]| std::str::from_utf8(slot.get(..15)?).ok()?.parse().ok();
    bytes.chunks(SLOT).filter_map(first).collect()
}

impl Oracle {
    pub fn token(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A program was told that its write has happened.
    pub fn told(&mut self, who: usize, token: u64) {
        self.wanted.insert(token, Wanted { who, is_synced: false });
        self.touch(who, &BTreeSet::from([token]));
    }

    /// A program changed, moved or linked a file in which it could see these: from now on it is meant to be there.
    pub fn touch(&mut self, who: usize, seen: &BTreeSet<u64>) {
        for token in seen {
            self.gone.remove(token);
            self.touched.entry(*token).or_default().insert(who);
            self.hands.entry(*token).or_default().insert(who);
        }
        if self.copied.contains_key(&who) {
            self.since_copied.entry(who).or_default().extend(seen);
        }
    }

    /// The oldest write to the file that a write went to.
    fn first_of(&self, token: u64) -> u64 {
        let mut at = token;
        while let Some(older) = self.same_file.get(&at) {
            at = *older;
        }
        at
    }

    /// These are, or were, in one file.
    pub fn join(&mut self, one: &BTreeSet<u64>, other: &BTreeSet<u64>) {
        let firsts: BTreeSet<u64> = one.union(other).map(|token| self.first_of(*token)).collect();
        let Some(first) = firsts.first() else { return };
        self.same_file.extend(firsts.iter().skip(1).map(|later| (*later, *first)));
    }

    /// Adds what stands for a file to the writes that are seen in it, and joins them.
    pub fn join_node(&mut self, node: NodeId, seen: &mut BTreeSet<u64>) {
        let next = NODES_FROM + self.nodes.len() as u64;
        seen.insert(*self.nodes.entry(node).or_insert(next));
        self.join(seen, &BTreeSet::new());
    }

    /// Who changed each file, by its first write.
    fn by_file(&self, touched: &BTreeMap<u64, BTreeSet<usize>>) -> BTreeMap<u64, BTreeSet<usize>> {
        let mut files: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
        for (token, touched) in touched {
            files.entry(self.first_of(*token)).or_default().extend(touched);
        }
        files
    }

    /// All machines know of everything, and these are there: from now on each has seen what the others did until now.
    /// What a machine that becomes its older copy had seen, nobody knows.
    /// A file that stands beside its name, or in a folder that does, may still come to its place: who changed it is remembered.
    pub fn all_seen(&mut self, in_place: &BTreeSet<u64>, present: &BTreeSet<u64>) {
        if self.copied.is_empty() {
            self.gone.retain(|token, _| !in_place.contains(token));
            let beside = self.files_of(&present.difference(in_place).copied().collect());
            let mut touched = std::mem::take(&mut self.touched);
            touched.retain(|token, _| beside.contains(&self.first_of(*token)));
            self.touched = touched;
        }
    }

    /// A person gave a file, in which these can be seen, this name.
    pub fn called(&mut self, who: usize, seen: &BTreeSet<u64>, name: &Name) {
        self.calls.extend(seen.first().map(|token| (*token, who, name.clone())));
    }

    /// A person removed a name.
    pub fn freed(&mut self, who: usize, place: String, seen: &BTreeSet<u64>) {
        self.freed.insert((who, place), seen.clone());
    }

    /// A person gave a file another name.
    pub fn moved(&mut self, who: usize, from: String, to: String, seen: &BTreeSet<u64>) {
        self.left.insert((who, from), writes(seen));
        let next = seen.first().copied();
        let left = self.followed(who, to, next);
        self.next_of.extend(next.map(|token| (token, left)));
    }

    /// Something got a name that a file may have left: which.
    fn followed(&mut self, who: usize, place: String, next: Option<u64>) -> BTreeSet<u64> {
        let left = self.left.remove(&(who, place));
        self.put_by.extend(left.clone().map(|writes| PutBy { who, writes, next }));
        left.unwrap_or_default()
    }

    /// Whether these writes were a file that was put by for its next version, something of which was refused, or which went before
    /// the server ever had it: then that one is not in the file's place, and what was put by is a second file all the same.
    pub fn is_put_by(&self, here: &BTreeSet<u64>, refused: &BTreeSet<u64>, sent: &BTreeSet<u64>) -> bool {
        let refused = self.files_of(refused);
        let is_refused = |token: &u64| refused.contains(&self.first_of(*token));
        let has_no_next = |next: &u64| is_refused(next) || (*next < NODES_FROM && !sent.contains(next));
        let mut put_by = self.put_by.iter().filter(|put_by| put_by.writes == *here);
        put_by.any(|put_by| put_by.next.as_ref().is_some_and(has_no_next) || here.iter().any(is_refused))
    }

    /// Whether these writes were a file that was put by for its next version: what a server that was put back has lost of
    /// it, and brings back beside what others wrote since, is a second file, and so is one for which somebody else chose it.
    pub fn was_put_by(&self, here: &BTreeSet<u64>) -> bool {
        self.put_by.iter().any(|put_by| put_by.writes == *here)
    }

    /// Whether two people put these by, each for a next version of their own.
    pub fn was_put_by_two(&self, here: &BTreeSet<u64>) -> bool {
        let put_by = self.put_by.iter().filter(|put_by| put_by.writes == *here);
        put_by.map(|put_by| put_by.who).collect::<BTreeSet<usize>>().len() > 1
    }

    /// A person made a file where there was none: soon after a removal it is the next version of what was removed.
    pub fn took(&mut self, who: usize, place: String, token: u64) {
        let left = self.followed(who, place.clone(), Some(token));
        if !left.is_empty() {
            // Two files with one history.
            self.linked.extend(left.iter().chain([&token]));
        }
        self.next_of.push((token, left));
        let before = self.freed.remove(&(who, place)).unwrap_or_default();
        self.join(&before, &BTreeSet::from([token]));
    }

    /// A person gave a file one more name.
    pub fn linked(&mut self, seen: &BTreeSet<u64>) {
        self.linked.extend(seen);
    }

    /// A program made a file's bytes of those that it could see.
    pub fn made_of(&mut self, before: &[u8], after: &[u8]) {
        let (before, after) = (hash(before), hash(after));
        if before != after {
            self.before.insert(after, before);
        }
    }

    /// These bytes are others cut short.
    pub fn cut_short(&mut self, bytes: &[u8]) {
        self.cut.insert(hash(bytes));
    }

    /// Whether somebody made these bytes by cutting others short: a second file, as a rescued one or a sibling, may have come to
    /// hold what another one does.
    pub fn is_cut_short(&self, bytes: &[u8]) -> bool {
        self.cut.contains(&hash(bytes))
    }

    /// Whether who made `bytes` had seen `other` for certain, at once or on the way to them.
    pub fn had_seen(&self, bytes: &[u8], other: &[u8]) -> bool {
        let (mut at, other) = (hash(bytes), hash(other));
        let mut on_the_way = HashSet::from([at]);
        while let Some(before) = self.before.get(&at) {
            if *before == other {
                return !self.cut.contains(&other);
            }
            if !on_the_way.insert(*before) {
                return false;
            }
            at = *before;
        }
        false
    }

    /// A program removed one of several names of what it could see.
    pub fn unnamed(&mut self, seen: &BTreeSet<u64>) {
        self.unnamed.extend(seen);
    }

    /// Whether a program has removed one of several names of any of these.
    pub fn is_unnamed(&self, seen: &BTreeSet<u64>) -> bool {
        seen.iter().any(|token| self.unnamed.contains(token))
    }

    /// What a program was told of a deed which the power cut through says nothing: it may have happened to what could be seen. One
    /// for which there was no room may stand in the log, and happens if the daemon ends.
    pub fn attempted<T>(
        &mut self,
        who: usize,
        done: Result<T, TreeError>,
        seen: &BTreeSet<u64>,
    ) -> Result<T, TreeError> {
        match &done {
            Err(TreeError::Disk(error)) if error.kind() == ErrorKind::StorageFull => {
                self.doubtful.entry(who).or_default().extend(seen);
            }
            Err(TreeError::Disk(_)) => self.replaced(seen),
            _ => {}
        }
        done
    }

    /// A program wrote over what it could see.
    pub fn replaced(&mut self, seen: &BTreeSet<u64>) {
        for token in seen {
            self.wanted.remove(token);
        }
    }

    /// A program removed the last name of what it could see.
    pub fn removed(&mut self, who: usize, seen: &BTreeSet<u64>) {
        self.replaced(seen);
        self.gone.extend(seen.difference(&self.in_two).map(|token| (*token, Gone { who, is_synced: false })));
    }

    /// What could be seen in a file is in another one as well from now on: who removes one does not remove the other.
    pub fn in_two(&mut self, seen: &BTreeSet<u64>) {
        self.in_two.extend(writes(seen));
    }

    /// fsync of a file in which these stand has returned.
    pub fn synced(&mut self, who: usize, seen: &BTreeSet<u64>) {
        for token in seen {
            if let Some(wanted) = self.wanted.get_mut(token) {
                wanted.is_synced = true;
            }
        }
        // Whatever was done before it lies before it in the log.
        self.gone.values_mut().filter(|gone| gone.who == who).for_each(|gone| gone.is_synced = true);
    }

    /// The daemon was killed: what there was no room for may have happened.
    pub fn killed(&mut self, who: usize) {
        let doubtful = self.doubtful.remove(&who).unwrap_or_default();
        self.replaced(&doubtful);
    }

    /// The power went: of this machine only what was synced counts.
    pub fn power_cut(&mut self, who: usize) {
        self.killed(who);
        self.cut_off.insert(who);
        self.wanted.retain(|_, wanted| wanted.who != who || wanted.is_synced);
        self.gone.retain(|_, gone| gone.who != who || gone.is_synced);
    }

    /// A machine was copied.
    pub fn backed_up(&mut self, who: usize, on_server: BTreeSet<u64>, versions: BTreeSet<VersionId>) {
        self.copied.insert(who, Copied { last: self.last, put_by: self.put_by.len(), on_server, versions });
        self.since_copied.remove(&who);
    }

    /// Versions that the server had when a machine was copied.
    pub fn versions_when_copied(&self, who: usize) -> BTreeSet<VersionId> {
        self.copied.get(&who).map(|copied| copied.versions.clone()).unwrap_or_default()
    }

    /// A machine is its copy again: of what it did since, that counts which the server has; what it had removed may be back, and
    /// what it had put by for a next version which the server has went with the machine.
    /// `versions`: the writes in what it sent since.
    pub fn rolled_back(&mut self, who: usize, on_server: &BTreeSet<u64>, versions: BTreeSet<u64>) {
        let Copied { last, put_by, on_server: known, .. } = self.copied.get(&who).cloned().unwrap_or_default();
        self.wanted.retain(|token, wanted| wanted.who != who || *token <= last || on_server.contains(token));
        let with_it = self.put_by[put_by..].iter().filter(|put_by| put_by.who == who);
        let with_it: BTreeSet<u64> = with_it.flat_map(|put_by| &put_by.writes).copied().collect();
        self.replaced(&with_it);
        self.gone.retain(|_, gone| gone.who != who);
        // What it did, or sent, is another's by now.
        let is_own = |token: &&u64| self.hands.get(token).is_some_and(|hands| hands.contains(&who));
        let sent: BTreeSet<u64> = on_server.difference(&known).filter(is_own).copied().collect();
        for token in self.since_copied.remove(&who).unwrap_or_default().into_iter().chain(sent).chain(versions) {
            self.touched.entry(token).or_default().insert(PAST_SELVES_FROM + who);
        }
        self.rolled_back.insert(who);
    }

    /// Writes that programs were told of and nobody has: `kept` are those in the tree and in conflicts, `history` those in
    /// any version. Who replaces or removes what it saw no longer wants that; so what is in the history alone went
    /// without having been seen. A server that was put back (not `is_straight`) may have no history of what went since.
    pub fn lost(&self, kept: &BTreeSet<u64>, history: &BTreeSet<u64>, is_straight: bool) -> Vec<String> {
        let of = |token: &u64| format!("write {token} of machine {}", self.wanted[token].who);
        let missing = self.wanted.keys().filter(|token| !kept.contains(token));
        let (unseen, lost): (Vec<&u64>, Vec<&u64>) = missing.partition(|token| history.contains(token));
        let lost = lost.into_iter().filter(|token| is_straight || !self.unnamed.contains(token));
        let lost = lost.map(|token| format!("{} is lost ({:?})", of(token), self.wanted[token]));
        let unseen = unseen.into_iter().filter(|token| !self.unnamed.contains(token));
        lost.chain(unseen.map(|token| format!("{} went without having been seen", of(token)))).collect()
    }

    /// Removed files that are there again though nobody else touched them, nor was anything of them refused.
    pub fn returned(&self, present: &BTreeSet<u64>, refused: &BTreeSet<u64>) -> Vec<(u64, String)> {
        let (files, refused) = (self.by_file(&self.touched), self.files_of(refused));
        let alone = |token: &u64, who: usize| {
            let file = self.first_of(*token);
            !refused.contains(&file) && files.get(&file).is_none_or(|touched| touched.iter().all(|other| *other == who))
        };
        let back = self.gone.iter().filter(|(token, gone)| present.contains(token) && alone(token, gone.who));
        let said = |token, gone: &Gone| format!("write {token}, removed by machine {}, is back", gone.who);
        back.map(|(token, gone)| (*token, said(token, gone))).collect()
    }

    fn files_of(&self, tokens: &BTreeSet<u64>) -> BTreeSet<u64> {
        tokens.iter().map(|token| self.first_of(*token)).collect()
    }

    /// Files whose one name is not the last one that the only person who ever had to do with them gave them, nor one
    /// beside that. `present`: the names of all files, with the writes in them.
    pub fn misnamed(&self, present: &[(String, BTreeSet<u64>)], refused: &BTreeSet<u64>) -> Vec<String> {
        let (mut hands, mut left_out) = (self.by_file(&self.hands), self.files_of(refused));
        for (token, before) in &self.next_of {
            let others = before.iter().filter_map(|other| hands.get(&self.first_of(*other))).flatten();
            let others: BTreeSet<usize> = others.copied().collect();
            hands.entry(self.first_of(*token)).or_default().extend(others);
        }
        left_out.extend(self.files_of(&self.linked));
        let mut last = BTreeMap::new();
        for (token, who, name) in &self.calls {
            last.insert(self.first_of(*token), (*who, name.to_string()));
        }
        let mut found: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
        for (path, tokens) in present {
            for file in self.files_of(tokens) {
                found.entry(file).or_default().insert(path);
            }
        }
        let mut faults = Vec::new();
        for (file, paths) in found.into_iter().filter(|(file, paths)| paths.len() == 1 && !left_out.contains(file)) {
            let Some((who, wanted)) = last.get(&file) else { continue };
            let is_alone = hands.get(&file).is_some_and(|hands| hands.iter().all(|other| other == who));
            let is_whole = !self.cut_off.contains(who) && !self.rolled_back.contains(who);
            for path in paths.into_iter().filter(|path| is_alone && is_whole && !path.contains("(conflict from")) {
                let name = path.rsplit('/').next().unwrap_or_default();
                if name != wanted {
                    faults.push(format!("{path} was called {wanted} by machine {who}, and by nobody else"));
                }
            }
        }
        faults
    }
}
