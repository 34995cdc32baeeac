//! Owns `tarn doctor --rebuild`.

use crate::cli::{Context, format};
use crate::content::Layout;
use crate::journal::StateLock;
use crate::meta;
use crate::tree::{Mended, Rebuilt, Tree, damage_notes};
use anyhow::{Result, bail};
use std::path::Path;
use std::time::Duration;

/// Names that are printed; the folder has them all.
const NAMES_SHOWN: usize = 20;

pub(super) fn run(context: &Context) -> Result<()> {
    let dir = context.home.state_dir();
    if !dir.join(meta::FILE_NAME).exists() {
        bail!("there is no database in {}: the first mount makes it", dir.display());
    }
    let _lock = StateLock::acquire(&context.env, &dir, Duration::ZERO)?;
    let rebuilt = Tree::rebuild(&context.env, &dir)?;
    tell(&rebuilt);
    if let Some(aside) = &rebuilt.log_aside {
        tell_log(context, aside);
    }
    Ok(())
}

fn tell(rebuilt: &Rebuilt) {
    let Rebuilt { aside, salvaged, mended, is_resumed, log_aside: _ } = rebuilt;
    let queued = format::count(salvaged.queued_count as u64, "change");
    println!("The database was made anew. Taken over: {queued} that the server does not have yet.");
    println!("Mount again: what the server has is fetched from it. The damaged database is in {}", aside.display());
    if !salvaged.unreadable.is_empty() {
        println!("Not all of it could be read ({}).", salvaged.unreadable.join(", "));
    }
    tell_mended(mended);
    if !salvaged.unreadable.is_empty() {
        let contents = Layout::at(aside).contents();
        println!(
            "Files that it may have known of are in {}; remove the folder when you miss nothing.",
            contents.display()
        );
    }
    if *is_resumed {
        println!(
            "An earlier attempt was cut short: what it set aside is in the folders of the same kind beside that one."
        );
    }
}

/// What the note says that is kept with a damaged log.
fn tell_log(context: &Context, aside: &Path) {
    let folder = aside.display().to_string();
    let notes = damage_notes(&context.env, &context.home.state_dir()).unwrap_or_default();
    match notes.iter().find(|note| note.contains(&folder)) {
        Some(note) => println!("And {}", note.trim_end()),
        None => println!("And the local log was damaged: what can be read of what this device did last is in {folder}"),
    }
}

fn tell_mended(mended: &Mended) {
    if mended.dropped_count > 0 {
        println!("{} could not be kept.", format::count(mended.dropped_count as u64, "change"));
    }
    tell_names("Not uploaded, copied to", mended.files.iter().map(|path| path.display().to_string()).collect());
    tell_names("Not uploaded, and its bytes were not found:", mended.lost.clone());
}

fn tell_names(what: &str, names: Vec<String>) {
    names.iter().take(NAMES_SHOWN).for_each(|name| println!("{what} {name}"));
    if names.len() > NAMES_SHOWN {
        println!("… and {} more", names.len() - NAMES_SHOWN);
    }
}
