//! One thread's work in one folder, call by call, and the record of it.

use super::load::{self, HELD};
use super::model::{Call, Found, State, Tree};
use super::verdict;
use crate::maps::Map;
use crate::seed::Seed;
use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// One lane.
#[derive(Debug)]
pub struct Lane {
    name: String,
    root: PathBuf,
    seed: Seed,
    /// As it was found when it was compared last: all of this is on the disk.
    base: State,
    /// What returned since, in order.
    calls: Vec<Call>,
    /// So many of these survive a power cut: what the last fsync that returned covers.
    synced: usize,
    /// As it must be.
    state: State,
    planned: VecDeque<Call>,
    in_flight: Option<Call>,
    held: Option<File>,
}

/// What a crash took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The daemon: all that returned is there.
    Daemon,
    /// The power: all that an fsync covers is there, and nothing out of order.
    Power,
}

impl Lane {
    /// A lane in a folder that is made for it.
    ///
    /// # Errors
    /// The mount's.
    pub fn new(parent: &Path, number: u64, seed: Seed) -> Result<Self> {
        let name = format!("lane{number}");
        let root = parent.join(&name);
        fs::create_dir(&root)?;
        // The folder itself is no call of the lane: it is there for good.
        File::open(&root)?.sync_all()?;
        Ok(Self {
            name,
            root,
            seed,
            base: State::default(),
            calls: Vec::new(),
            synced: 0,
            state: State::default(),
            planned: VecDeque::new(),
            in_flight: None,
            held: None,
        })
    }

    /// Its name in the mount.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Works until it is told to stop or a call fails. `crashed` is said before anything is broken.
    ///
    /// # Errors
    /// A call that failed though nothing was broken, or a read of other bytes than were written.
    pub fn work(&mut self, stop: &AtomicBool, crashed: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Acquire) {
            let call = match self.planned.pop_front() {
                Some(call) => call,
                None => {
                    self.planned = load::step(&self.state, &mut self.seed).into();
                    continue;
                }
            };
            self.in_flight = Some(call.clone());
            match self.make(&call) {
                Ok(()) => {}
                Err(Failure::Wrong(what)) => bail!("{}: {what}; {}", self.name, self.recent()),
                Err(Failure::Io(_)) if crashed.load(Ordering::Acquire) => {
                    // As programs do that end with the machine: what is open in passthrough keeps its disk in use.
                    self.held = None;
                    return Ok(());
                }
                Err(Failure::Io(e)) => bail!("{}: {} failed and nothing was broken: {e}", self.name, short(&call)),
            }
            self.in_flight = None;
            self.state.apply(&call);
            // A disk whose power is being cut may still say that it has everything.
            let is_sync = matches!(call, Call::Fsync(_)) && !crashed.load(Ordering::Acquire);
            self.calls.push(call);
            if is_sync {
                self.synced = self.calls.len();
            }
        }
        Ok(())
    }

    /// Makes one call; returns as soon as it promises what it promises.
    fn make(&mut self, call: &Call) -> Result<(), Failure> {
        let at = |path: &String| self.root.join(path);
        match call {
            Call::Create(path) => {
                let file = OpenOptions::new().read(true).write(true).create_new(true).open(at(path))?;
                if path == HELD {
                    self.held = Some(file);
                }
            }
            Call::Write(path, offset, data) => write_whole(&self.open(path)?, *offset as u64, data)?,
            Call::Map(path, offset, data) => write_mapped(&self.open(path)?, *offset, data)?,
            Call::Truncate(path, size) => self.open(path)?.set_len(*size as u64)?,
            Call::Rename(from, to) => fs::rename(at(from), at(to))?,
            Call::Unlink(path) => fs::remove_file(at(path))?,
            Call::Mkdir(path) => fs::create_dir(at(path))?,
            Call::Rmdir(path) => fs::remove_dir(at(path))?,
            Call::Symlink(path, target) => std::os::unix::fs::symlink(target, at(path))?,
            // What either says of bytes and names is the same.
            Call::Fsync(path) if self.calls.len().is_multiple_of(2) => self.open(path)?.sync_all()?,
            Call::Fsync(path) => self.open(path)?.sync_data()?,
            Call::Read(path) => {
                let bytes = fs::read(at(path))?;
                let wanted = self.state.bytes(path);
                if Some(&bytes) != wanted {
                    let what = wanted.map(|wanted| verdict::differing(wanted, &bytes)).unwrap_or_default();
                    return Err(Failure::Wrong(format!("{path} reads other bytes than were written: {what}")));
                }
            }
        }
        if matches!(call, Call::Unlink(path) if path == HELD) {
            self.held = None;
        }
        Ok(())
    }

    fn open(&mut self, path: &str) -> io::Result<File> {
        let open = || OpenOptions::new().read(true).write(true).open(self.root.join(path));
        if path != HELD {
            return open();
        }
        if self.held.is_none() {
            self.held = Some(open()?);
        }
        self.held.as_ref().map_or_else(open, File::try_clone)
    }

    /// Compares what is found after a crash, and goes on from there.
    ///
    /// # Errors
    /// What is found and may not be, with the calls that led there.
    pub fn compare(&mut self, crash: Crash) -> Result<()> {
        self.held = None;
        self.planned.clear();
        let found = observe(&self.root).with_context(|| format!("{} cannot be read", self.name))?;
        let in_flight = self.in_flight.clone();
        let judged = match crash {
            Crash::Daemon => verdict::after_kill(&self.state, in_flight.as_ref(), &found),
            Crash::Power => verdict::after_cut(&self.base, &self.calls, self.synced, in_flight.as_ref(), &found),
        };
        let in_flight = in_flight.map_or_else(|| "nothing".into(), |call| short(&call));
        if let Err(what) = judged {
            bail!(
                "{}: {what}; in flight: {in_flight}; {} calls, {} synced; {}",
                self.name,
                self.calls.len(),
                self.synced,
                self.recent()
            );
        }
        self.state = State::of(&found);
        self.base = self.state.clone();
        self.in_flight = None;
        self.calls.clear();
        self.synced = 0;
        Ok(())
    }

    /// Whether a folder holds exactly what the lane must hold.
    ///
    /// # Errors
    /// What differs.
    pub fn same_as(&self, parent: &Path) -> Result<()> {
        let found = observe(&parent.join(&self.name))?;
        verdict::after_kill(&self.state, None, &found).map_err(anyhow::Error::msg)
    }

    /// Number of calls that returned since the last comparison.
    pub fn count(&self) -> usize {
        self.calls.len()
    }

    fn recent(&self) -> String {
        let calls: Vec<String> = self.calls.iter().rev().take(400).map(short).collect();
        format!("last calls first: {}", calls.join(", "))
    }
}

/// Why a call did not do what it should.
enum Failure {
    Io(io::Error),
    Wrong(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One call of the system where it takes all, as it does unless the daemon dies.
fn write_whole(file: &File, offset: u64, data: &[u8]) -> io::Result<()> {
    file.write_all_at(data, offset)
}

fn write_mapped(file: &File, offset: usize, data: &[u8]) -> io::Result<()> {
    // A page that cannot be brought would raise a signal; here it is an error.
    file.read_exact_at(&mut vec![0; data.len()], offset as u64)?;
    Map::of(file, offset + data.len(), true)?.write(offset, data)
}

/// Reads a folder whole.
fn observe(root: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    let mut todo = vec![String::new()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(root.join(&dir))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
            let kind = entry.file_type()?;
            let found = if kind.is_dir() {
                todo.push(path.clone());
                Found::Dir
            } else if kind.is_symlink() {
                Found::Symlink(fs::read_link(entry.path())?.to_string_lossy().into_owned())
            } else {
                let bytes = fs::read(entry.path());
                Found::File(bytes.map_err(|e| io::Error::new(e.kind(), format!("{path}: {e}")))?)
            };
            tree.insert(path, found);
        }
    }
    Ok(tree)
}

/// A call in few words.
fn short(call: &Call) -> String {
    match call {
        Call::Write(path, offset, data) => format!("write {path} {offset}+{}", data.len()),
        Call::Map(path, offset, data) => format!("map {path} {offset}+{}", data.len()),
        other => format!("{other:?}"),
    }
}
