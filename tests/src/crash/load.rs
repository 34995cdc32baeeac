//! Which call comes next: names and sizes are few, so that calls meet.

use super::model::{Call, Node, State};
use crate::seed::Seed;

/// Names of files; those in folders come to be when the folder is there.
const NAMES: [&str; 8] = ["one", "two", "three", "four", "a/one", "a/two", "b/one", "b/two"];
const DIRS: [&str; 3] = ["a", "b", "c"];
/// Files that outgrow the log: their bytes are in files of their own.
const LARGE: [&str; 2] = ["large", "b/large"];
/// Stays open over many calls.
pub const HELD: &str = "held";
/// Where what replaces another is written first.
const PART: &str = "part";
const SMALL_BYTES_MAX: usize = 20_000;
const LARGE_BYTES_MAX: usize = 700_000;
const PIECE_BYTES_MAX: usize = 150_000;

/// The calls of one step, in order: all can succeed in this state.
pub fn step(state: &State, seed: &mut Seed) -> Vec<Call> {
    let (name, large) = (pick(&NAMES, seed), pick(&LARGE, seed));
    let chosen = match seed.below(100) {
        0..24 => write(state, seed, name, SMALL_BYTES_MAX, 6_000),
        24..31 => write(state, seed, large, LARGE_BYTES_MAX, PIECE_BYTES_MAX),
        31..39 => write(state, seed, HELD, LARGE_BYTES_MAX, 9_000),
        39..54 => replace(state, seed),
        54..62 => with_file(state, seed, map),
        62..69 => with_file(state, seed, |path, _, _| vec![Call::Unlink(path)]),
        69..75 => with_file(state, seed, truncate),
        75..81 => folders(state, seed),
        81..83 => link(state, name, seed),
        83..90 => with_file(state, seed, |path, _, _| vec![Call::Fsync(path)]),
        _ => with_file(state, seed, |path, _, _| vec![Call::Read(path)]),
    };
    if chosen.is_empty() { write(state, seed, "one", SMALL_BYTES_MAX, 6_000) } else { chosen }
}

fn pick<'a>(names: &[&'a str], seed: &mut Seed) -> &'a str {
    names[seed.index(names.len())]
}

/// Whether a name can be made: its folder is there and no folder or link has it.
fn is_free(state: &State, path: &str) -> bool {
    let has_parent = path.rsplit_once('/').is_none_or(|(parent, _)| matches!(state.names.get(parent), Some(Node::Dir)));
    has_parent && matches!(state.names.get(path), None | Some(Node::File(_)))
}

fn write(state: &State, seed: &mut Seed, path: &str, size_max: usize, piece_max: usize) -> Vec<Call> {
    if !is_free(state, path) {
        return Vec::new();
    }
    let mut calls = Vec::new();
    let size = match state.bytes(path) {
        Some(bytes) => bytes.len(),
        None => {
            calls.push(Call::Create(path.to_owned()));
            0
        }
    };
    // As often at the end as elsewhere.
    let offset = if size < size_max && seed.one_in(2) { size } else { seed.index(size.min(size_max) + 1) };
    let length = 1 + seed.index(piece_max);
    calls.push(Call::Write(path.to_owned(), offset, seed.bytes(length)));
    if seed.one_in(5) {
        calls.push(Call::Fsync(path.to_owned()));
    }
    calls
}

fn replace(state: &State, seed: &mut Seed) -> Vec<Call> {
    let path = if seed.one_in(5) { pick(&LARGE, seed) } else { pick(&NAMES, seed) };
    if !is_free(state, path) {
        return Vec::new();
    }
    let size_max = if path.ends_with("large") { LARGE_BYTES_MAX } else { SMALL_BYTES_MAX };
    let length = seed.index(size_max);
    let mut calls = Vec::new();
    if state.names.contains_key(PART) {
        calls.push(Call::Unlink(PART.into()));
    }
    calls.push(Call::Create(PART.into()));
    calls.push(Call::Write(PART.into(), 0, seed.bytes(length)));
    if seed.one_in(2) {
        calls.push(Call::Fsync(PART.into()));
    }
    calls.push(Call::Rename(PART.into(), path.into()));
    calls
}

fn with_file(state: &State, seed: &mut Seed, make: impl FnOnce(String, &[u8], &mut Seed) -> Vec<Call>) -> Vec<Call> {
    let files: Vec<&String> = state.names.keys().filter(|path| state.file_id(path).is_some()).collect();
    if files.is_empty() {
        return Vec::new();
    }
    let path = files[seed.index(files.len())];
    state.bytes(path).map(|bytes| make(path.clone(), bytes, seed)).unwrap_or_default()
}

fn map(path: String, bytes: &[u8], seed: &mut Seed) -> Vec<Call> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let offset = seed.index(bytes.len());
    let length = 1 + seed.index((bytes.len() - offset).min(20_000));
    vec![Call::Map(path, offset, seed.bytes(length))]
}

fn truncate(path: String, bytes: &[u8], seed: &mut Seed) -> Vec<Call> {
    vec![Call::Truncate(path, seed.index(bytes.len() + 5_000).min(LARGE_BYTES_MAX))]
}

fn folders(state: &State, seed: &mut Seed) -> Vec<Call> {
    let (path, other) = (pick(&DIRS, seed).to_owned(), pick(&DIRS, seed).to_owned());
    match state.names.get(&path) {
        None => vec![Call::Mkdir(path)],
        Some(Node::Dir) if !state.names.contains_key(&other) => vec![Call::Rename(path, other)],
        Some(Node::Dir) if !state.has_below(&path) => vec![Call::Rmdir(path)],
        Some(_) => Vec::new(),
    }
}

fn link(state: &State, path: &str, seed: &mut Seed) -> Vec<Call> {
    let is_there = state.names.contains_key(path);
    match state.names.get(path) {
        Some(Node::Symlink(_)) => vec![Call::Unlink(path.to_owned())],
        None if is_free(state, path) && !is_there => {
            vec![Call::Symlink(path.to_owned(), format!("target {}", seed.below(1000)))]
        }
        _ => Vec::new(),
    }
}
