//! Owns what becomes of a log of which durable records are missing: what can still be read of what was done last is kept in
//! a folder beside the database, with a note that says what may be missing. Nothing of it is applied: a change whose
//! predecessors are missing could make a tree that never was.

mod remains;

use super::names::date;
use super::rebuild::free_name;
use crate::content::set_files_aside;
use crate::env::{Env, OpenMode};
use crate::journal::{JournalError, LOG_DIR, Lost};
use crate::meta::rows::ContentNo;
use remains::Remains;
use std::collections::HashSet;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

const NOTE: &str = "README";
const FILES: &str = "files";
/// Names in a note.
const NAMES_MAX: usize = 1000;
/// A note that is longer is not read whole.
const NOTE_BYTES_MAX: usize = 1 << 20;

/// Keeps what can be kept, durably, and gives the folder: the log's files are to go there too.
pub(super) fn keep(env: &Env, dir: &Path, lost: &Lost<'_>) -> Result<PathBuf, JournalError> {
    let rows = lost.readers.get().and_then(|reader| reader.contents_all())?;
    let named: HashSet<ContentNo> = rows.into_iter().map(|(no, _)| no).collect();
    let remains = Remains::of(lost)?;
    let fail = |source| JournalError::Dir { path: dir.to_owned(), source };
    let aside = free_name(env, dir).map_err(fail)?;
    let kept = || {
        env.disk.create_dir_all(&aside)?;
        let file = env.disk.open(&aside.join(NOTE), OpenMode::Create)?;
        file.write_at(note(env, &aside, lost, &remains).as_bytes(), 0)?;
        file.sync_data()?;
        remains.write(env, &aside.join(FILES))?;
        set_files_aside(env.disk.as_ref(), dir, &named, &aside)?;
        env.disk.sync_dir(&aside)?;
        env.disk.sync_dir(dir)
    };
    kept().map_err(fail)?;
    tracing::error!(damage = %lost.damage, aside = %aside.display(), "the local log was damaged while no daemon ran");
    Ok(aside)
}

fn note(env: &Env, aside: &Path, lost: &Lost<'_>, remains: &Remains) -> String {
    let mut text = format!(
        "the local log was damaged on the disk (found on {}): what this device did last may be missing; {} says what, \
         and what to do\n\n",
        date(env.clock.wall()),
        aside.join(NOTE).display()
    );
    let damage = &lost.damage;
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "What happened: {damage}. They had been written safely; bytes of the file changed since, as they do on a failing \
         disk. All that was done before is in place. {} later records rest on what is missing and were not applied.\n",
        lost.behind.len()
    );
    if remains.paths.is_empty() {
        text.push_str("Which files it is about cannot be told.\n");
    } else {
        text.push_str("It is about these names:\n");
        remains.paths.iter().take(NAMES_MAX).for_each(|path| text.extend(["  ", path, "\n"]));
        let more = remains.paths.len().saturating_sub(NAMES_MAX);
        if more > 0 {
            let _ = writeln!(text, "  and {more} more");
        }
    }
    let _ = writeln!(
        text,
        "\nKept in this folder: `{LOG_DIR}`, the log as it was; `{FILES}`, {} small files as far as they were written last \
         (what is missing of one are zeros; \"damaged\" in a name: some of its bytes are wrong); `contents`, large files \
         that nothing names any more.\n\n\
         What to do: see whether the files named above are as you left them, and take what you miss from here. Run `tarn \
         verify`, and have a look at the disk. Then remove this folder: until then `tarn mount`, `tarn status` and `tarn \
         doctor` speak of it.",
        remains.file_count()
    );
    text
}

/// The notes of damaged logs whose folders are still in a state folder, the first line of each being a summary.
///
/// # Errors
/// What the disk says.
pub fn damage_notes(env: &Env, dir: &Path) -> io::Result<Vec<String>> {
    let mut folders = env.disk.read_dir(dir)?;
    folders.retain(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"damaged-")));
    folders.sort();
    let mut notes = Vec::new();
    for folder in folders {
        // A rebuild leaves such folders, too, without a note.
        let Ok(file) = env.disk.open(&folder.join(NOTE), OpenMode::Existing) else { continue };
        let mut bytes = vec![0; NOTE_BYTES_MAX];
        let count = file.read_at(&mut bytes, 0)?;
        notes.push(String::from_utf8_lossy(&bytes[..count]).into_owned());
    }
    Ok(notes)
}
