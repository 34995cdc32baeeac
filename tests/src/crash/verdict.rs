//! What may be found after a crash. Does no I/O.

use super::model::{Call, FileId, Found, Node, State, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What memory and disk take at once.
const PAGE_BYTES: usize = 4096;
/// Bytes of files that were ever larger are written in place; those of others are in the log, in order.
const SMALL_BYTES_MAX: usize = 64 << 10;

/// After a kill of the daemon: everything that returned, and of the call that did not any part or nothing.
///
/// # Errors
/// What is found instead.
pub fn after_kill(state: &State, in_flight: Option<&Call>, found: &Tree) -> Result<(), String> {
    let Err(without) = same(state, found, &exactly) else { return Ok(()) };
    let Some(call) = in_flight else { return Err(without) };
    match same(&with(state, call), found, &exactly) {
        Err(done) if !is_part(state, call, found, &exactly) => {
            Err(format!("{without}; or, with the call in flight, {done}"))
        }
        _ => Ok(()),
    }
}

/// After a power cut: a state that existed, no older than what was synced. Of a large file each byte is as it was at
/// some moment since the file's own last fsync: what is in place may be newer than what the log brings back.
///
/// # Errors
/// In what each such state differs.
pub fn after_cut(
    base: &State,
    calls: &[Call],
    synced: usize,
    in_flight: Option<&Call>,
    found: &Tree,
) -> Result<(), String> {
    let versions = versions(base, calls, synced, in_flight);
    let filed = filed(base, calls, in_flight);
    let (mut state, mut all_differ) = (base.clone(), Vec::new());
    let all = calls.iter().chain(in_flight);
    for (number, next) in all.map(Some).chain([None]).enumerate() {
        if number >= synced {
            let may_be = |id: FileId, wanted: &[u8], bytes: &[u8]| match versions.get(&id) {
                Some(all) if filed.contains(&id) => is_mixed(all, bytes),
                _ => wanted == bytes,
            };
            match same(&state, found, &may_be) {
                Ok(()) => return Ok(()),
                Err(_) if next.is_some_and(|call| is_part(&state, call, found, &may_be)) => return Ok(()),
                Err(what) => {
                    all_differ.push(format!("after {number} calls: {what}{}", odd_bytes(&state, &versions, found)))
                }
            }
        }
        next.into_iter().for_each(|call| state.apply(call));
    }
    Err(all_differ.join("; "))
}

/// Of large files, the first byte that is as it never was.
fn odd_bytes(state: &State, versions: &BTreeMap<FileId, Vec<Vec<u8>>>, found: &Tree) -> String {
    let mut told = String::new();
    for (path, found) in found {
        if let (Some(all), Found::File(bytes)) = (state.file_id(path).and_then(|id| versions.get(&id)), found)
            && bytes.len() > SMALL_BYTES_MAX
            && let Some(at) = odd_byte(all, bytes)
        {
            told += &format!(" ({path}: byte {at} is none of {} versions')", all.len());
        }
    }
    told
}

/// Whose bytes may be in a file of their own: what was large once stays there, and nobody knows what was before.
fn filed(base: &State, calls: &[Call], in_flight: Option<&Call>) -> BTreeSet<FileId> {
    let (mut state, mut filed): (State, BTreeSet<FileId>) = (base.clone(), base.files.keys().copied().collect());
    for call in calls.iter().chain(in_flight) {
        state.apply(call);
        filed.extend(state.files.iter().filter(|(_, bytes)| bytes.len() > SMALL_BYTES_MAX).map(|(id, _)| *id));
    }
    filed
}

/// All that a file's bytes were since its own last fsync, the newest last.
fn versions(base: &State, calls: &[Call], synced: usize, in_flight: Option<&Call>) -> BTreeMap<FileId, Vec<Vec<u8>>> {
    let mut state = base.clone();
    let mut versions: BTreeMap<FileId, Vec<Vec<u8>>> =
        base.files.iter().map(|(id, bytes)| (*id, vec![bytes.clone()])).collect();
    for (number, call) in calls.iter().chain(in_flight).enumerate() {
        state.apply(call);
        if let Call::Write(path, ..) | Call::Map(path, ..) | Call::Truncate(path, _) | Call::Create(path) = call
            && let Some(id) = state.file_id(path)
        {
            versions.entry(id).or_default().extend(state.files.get(&id).cloned());
        }
        // One that did not return, or not in time, promises nothing.
        if let Call::Fsync(path) = call
            && number < synced
            && let Some(all) = state.file_id(path).and_then(|id| versions.get_mut(&id))
        {
            all.drain(..all.len().saturating_sub(1));
        }
    }
    versions
}

fn is_mixed(versions: &[Vec<u8>], bytes: &[u8]) -> bool {
    // A call may reach the disk piece by piece: between two sizes each has been.
    let grew_through = |pair: &[Vec<u8>]| {
        let (one, other) = (pair[0].len(), pair[1].len());
        (one.min(other)..=one.max(other)).contains(&bytes.len())
    };
    let was_so_long = versions.iter().any(|version| version.len() == bytes.len());
    (was_so_long || versions.windows(2).any(grew_through)) && odd_byte(versions, bytes).is_none()
}

/// The first byte that none of the versions has there; behind a version's end are zeros.
fn odd_byte(versions: &[Vec<u8>], bytes: &[u8]) -> Option<usize> {
    let of = |version: &Vec<u8>, at: usize| version.get(at).copied().unwrap_or(0);
    (0..bytes.len()).find(|at| !versions.iter().any(|version| of(version, *at) == bytes[*at]))
}

fn pages(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let first = range.start / PAGE_BYTES;
    (first..range.end.div_ceil(PAGE_BYTES))
        .map(move |page| (page * PAGE_BYTES).max(range.start)..((page + 1) * PAGE_BYTES).min(range.end))
}

fn with(state: &State, call: &Call) -> State {
    let mut state = state.clone();
    state.apply(call);
    state
}

/// Whether a call that writes bytes did so in part: a write from its start, a map page by page.
fn is_part(state: &State, call: &Call, found: &Tree, may_be: MayBe<'_>) -> bool {
    let (Call::Write(path, offset, data) | Call::Map(path, offset, data)) = call else { return false };
    let (Some(old), Some(Found::File(bytes))) = (state.bytes(path), found.get(path)) else { return false };
    let is_part = if matches!(call, Call::Map(..)) {
        bytes.len() == old.len()
            && pages(*offset..offset + data.len()).all(|page| {
                let new = &data[page.start - offset..page.end - offset];
                bytes[page.clone()] == old[page.clone()] || bytes[page] == *new
            })
    } else {
        let there = bytes.get(*offset..).unwrap_or_default();
        let written = there.iter().zip(data).take_while(|(one, other)| one == other).count();
        let part = Call::Write(path.clone(), *offset, data[..written].to_vec());
        with(state, &part).bytes(path) == Some(bytes)
    };
    let own = state.file_id(path);
    let is_as_found = |id: FileId, wanted: &[u8], bytes: &[u8]| Some(id) == own || may_be(id, wanted, bytes);
    is_part && same(state, found, &is_as_found).is_ok()
}

fn exactly(_: FileId, wanted: &[u8], bytes: &[u8]) -> bool {
    wanted == bytes
}

type MayBe<'a> = &'a dyn Fn(FileId, &[u8], &[u8]) -> bool;

/// Whether names, kinds, targets and bytes are those of a state.
fn same(state: &State, found: &Tree, may_be: MayBe<'_>) -> Result<(), String> {
    if let Some(path) = found.keys().find(|path| !state.names.contains_key(*path)) {
        return Err(format!("{path} is there and should not be"));
    }
    for (path, node) in &state.names {
        let Some(found) = found.get(path) else { return Err(format!("{path} is lost")) };
        let is_same = match (node, found) {
            (Node::Dir, Found::Dir) => true,
            (Node::Symlink(target), Found::Symlink(found)) => target == found,
            (Node::File(id), Found::File(bytes)) => {
                let wanted = state.files.get(id).map(Vec::as_slice).unwrap_or_default();
                if !may_be(*id, wanted, bytes) {
                    return Err(format!("{path}: {}", differing(wanted, bytes)));
                }
                true
            }
            _ => false,
        };
        if !is_same {
            return Err(format!("{path} is of another kind"));
        }
    }
    Ok(())
}

/// In what bytes differ, in few words.
pub fn differing(wanted: &[u8], found: &[u8]) -> String {
    let common = wanted.iter().zip(found).take_while(|(one, other)| one == other).count();
    let zeros = found.get(common..).unwrap_or_default().iter().take_while(|byte| **byte == 0).count();
    let length = format!("{} bytes instead of {}", found.len(), wanted.len());
    if common == found.len().min(wanted.len()) {
        return length;
    }
    let differing = wanted.iter().zip(found).filter(|(one, other)| one != other).count();
    format!("{length}, {differing} of them differ, the first at {common}, where {zeros} zeros are")
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
