//! How programs save: fixtures of the calls that a real program makes (`tests/fixtures/saves`), and what replays them.
//!
//! Start reading at [`Fixture`]; its form is explained in `tests/fixtures/saves/README.md`. A fixture is replayed with the calls
//! that it names and nothing else: [`Replayer`] never repairs or leaves out what fails.

mod look;
mod parse;
mod replay;

pub use look::{Follower, Look, Seen, shown};
pub use parse::ParseError;
pub use replay::Replayer;

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// What a program did to files, and what is to become of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixture {
    /// The file's name without its ending.
    pub name: String,
    /// Where the calls are from: a recording, or a source.
    pub from: String,
    /// Makes what was there before.
    pub before: Vec<Call>,
    /// What the program did.
    pub calls: Vec<Call>,
    /// What is to be so afterwards.
    pub after: Vec<Claim>,
}

/// One call; paths are below the folder in which a fixture is replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Makes a file with so many bytes.
    File(PathBuf, usize),
    /// open(2), for writing, with a mode.
    Open(u32, PathBuf, Flags, u32),
    /// write(2) of so many bytes where the handle stands, or pwrite(2).
    Write(u32, usize, Option<u64>),
    /// ftruncate(2).
    SetLength(u32, u64),
    /// fsync(2) or fdatasync(2).
    Sync(u32),
    /// fchmod(2).
    SetMode(u32, u32),
    /// futimens(2) to a time long ago.
    SetTimes(u32),
    /// close(2).
    Close(u32),
    /// rename(2).
    Rename(PathBuf, PathBuf),
    /// link(2).
    Link(PathBuf, PathBuf),
    /// symlink(2): the target, and where it is made.
    Symlink(String, PathBuf),
    /// unlink(2).
    Unlink(PathBuf),
    /// mkdir(2).
    MakeDir(PathBuf, u32),
    /// rmdir(2).
    RemoveDir(PathBuf),
    /// chmod(2).
    SetPathMode(PathBuf, u32),
    /// utimensat(2) to a time long ago, of a link itself.
    SetPathTimes(PathBuf),
    /// Here the program waits for a person, longer than anything takes to be sent.
    Pause,
}

/// How a file is opened: for writing in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// `O_RDWR` instead of `O_WRONLY`.
    pub reads: bool,
    /// `O_CREAT`.
    pub creates: bool,
    /// `O_EXCL`.
    pub excludes: bool,
    /// `O_TRUNC`.
    pub truncates: bool,
    /// `O_APPEND`.
    pub appends: bool,
}

/// What is to be so after a save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The file is the node that it was, with a longer history.
    Same(PathBuf),
    /// The file is the node that it was, and nobody wrote to it.
    Kept(PathBuf),
    /// The file is a node that was not there before.
    Fresh(PathBuf),
    /// The file is the node that had another name before.
    Moved(PathBuf, PathBuf),
    /// Others may see this name for a while, though it is gone afterwards.
    Passes(PathBuf),
    /// Others may miss this name for a moment.
    Vanishes(PathBuf),
}

impl Fixture {
    /// Reads a fixture.
    ///
    /// # Errors
    /// The line that is wrong, and what is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Self, ParseError> {
        parse::parse(name, text)
    }

    /// All fixtures of a folder, by name.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn all(folder: &Path) -> Result<Vec<Self>> {
        let mut files: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        files.retain(|file| file.extension().is_some_and(|ending| ending == "txt"));
        files.sort();
        let read = |file: PathBuf| {
            let name = file.file_stem().context("a file without a name")?.to_string_lossy().into_owned();
            let text = fs::read_to_string(&file)?;
            Self::parse(&name, &text).with_context(|| file.display().to_string())
        };
        files.into_iter().map(read).collect()
    }
}
