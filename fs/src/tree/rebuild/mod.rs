//! Owns making a damaged state folder usable again: the database anew from what can be read of it, the log on top,
//! and what hangs in the air set aside where a person finds it. Nothing that was not uploaded is thrown away.

mod doubts;
mod mend;

use super::Tree;
use super::assemble::{Ground, OpenError};
use crate::content::{self, Options};
use crate::env::{Env, OpenMode, is_there};
use crate::journal::{JournalError, JournalOptions, Record};
use crate::log::{Log, LogError, Lsn};
use crate::meta::rows::{ContentNo, RowChange};
use crate::meta::{self, Salvaged};
use mend::mend;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

pub use mend::Mended;

/// What became of a state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// Where the damaged database is now, and all that could not be put back.
    pub aside: PathBuf,
    /// What was taken over.
    pub salvaged: Salvaged,
    /// What hung in the air, if rows of this device's own could not be read.
    pub mended: Mended,
    /// Where the log is, if it was damaged as well, with what else could be read of it and a note that says so.
    pub log_aside: Option<PathBuf>,
    /// Whether an earlier rebuild had been cut short: what that set aside is beside `aside`.
    pub is_resumed: bool,
}

/// Says that the database was exchanged and is not fit for use yet.
const UNFINISHED: &str = "rebuilding";
/// Folders of earlier rebuilds are kept; so many are enough to notice that the disk is failing.
const ASIDE_MAX: u32 = 1000;

impl Tree {
    /// Makes the database of a state folder anew. The caller holds its [`crate::journal::StateLock`]. What the server
    /// knows is left out: the next mount pulls it. Of a log that is damaged, too, all before the damage counts, and the
    /// rest is set aside.
    ///
    /// # Errors
    /// No database, one of a newer Tarn, or what the disk says. Can be tried again.
    pub fn rebuild(env: &Env, dir: &Path) -> Result<Rebuilt, OpenError> {
        let journal = JournalOptions::default();
        let scan = Log::scan(env, &dir.join(crate::journal::LOG_DIR), journal.log).map_err(JournalError::from)?;
        let first = scan.first().unwrap_or(Lsn(1));
        let mut named = logged_contents(&scan, first)?;
        let aside = free_name(env, dir)?;
        let is_resumed = is_unfinished(env, dir)?;
        let salvaged = meta::salvage(env.disk.as_ref(), dir, &aside, first.0.saturating_sub(1), |salvaged| {
            if !salvaged.unreadable.is_empty() {
                named.extend(&salvaged.contents);
                content::set_aside(env.disk.as_ref(), dir, &named, &aside)?;
            }
            env.disk.open(&dir.join(UNFINISHED), OpenMode::Create)?;
            env.disk.sync_dir(dir)
        });
        let salvaged = salvaged.map_err(JournalError::from)?;
        let repeated = is_resumed || salvaged.unreadable.contains(&meta::MARK);
        let ground = Ground::open_as(env, dir, journal, Options::default(), repeated)?;
        let mended = if is_resumed || !salvaged.unreadable.is_empty() {
            keep_given_up(&ground, env, dir, &aside)?;
            mend(&ground, env.disk.as_ref(), &aside.join("files"), repeated)?
        } else {
            ground.journal.drain()?;
            Mended::default()
        };
        let log_aside = ground.recovered.aside.clone();
        drop(ground);
        meta::forget_server(env.disk.as_ref(), dir).map_err(JournalError::from)?;
        env.disk.remove(&dir.join(UNFINISHED))?;
        env.disk.sync_dir(dir)?;
        Ok(Rebuilt { aside, salvaged, mended, log_aside, is_resumed })
    }
}

/// Backing files that are too short for what the log says of them go aside before nothing names them any more.
fn keep_given_up(ground: &Ground, env: &Env, dir: &Path, aside: &Path) -> Result<(), OpenError> {
    let given_up = &ground.recovered.given_up;
    if given_up.is_empty() {
        return Ok(());
    }
    Ok(content::set_those_aside(env.disk.as_ref(), dir, |no| given_up.contains(&no), aside)?)
}

/// Contents whose rows the log holds, up to where it is damaged: what stands behind is not applied.
fn logged_contents(scan: &crate::log::LogScan, first: Lsn) -> Result<HashSet<ContentNo>, OpenError> {
    let mut named = HashSet::new();
    for record in scan.replay(first) {
        let (lsn, payload) = match record {
            Err(LogError::Damaged(_)) => break,
            record => record.map_err(JournalError::from)?,
        };
        let record = Record::decode(&payload).map_err(|detail| JournalError::Record { lsn: lsn.0, detail })?;
        let rows = match record {
            Record::Work { rows, .. } => rows,
            Record::Remote(work) => work.rows,
            Record::Write { .. } | Record::Resize { .. } => continue,
        };
        named.extend(rows.into_iter().filter_map(|row| match row {
            RowChange::Content(no, Some(_)) => Some(no),
            _ => None,
        }));
    }
    Ok(named)
}

/// Whether a rebuild of this state folder was begun and did not come to its end.
pub(super) fn is_unfinished(env: &Env, dir: &Path) -> std::io::Result<bool> {
    is_there(env.disk.as_ref(), &dir.join(UNFINISHED))
}

pub(super) fn free_name(env: &Env, dir: &Path) -> std::io::Result<PathBuf> {
    let taken: HashSet<PathBuf> = env.disk.read_dir(dir)?.into_iter().collect();
    let free = (1..=ASIDE_MAX).map(|n| dir.join(format!("damaged-{n}"))).find(|path| !taken.contains(path));
    free.ok_or_else(|| {
        std::io::Error::other(format!("{} holds {ASIDE_MAX} folders of damaged things; remove some", dir.display()))
    })
}
