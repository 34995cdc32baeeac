//! Owns `tarn doctor --rebuild`.

use crate::cli::{Context, format};
use crate::content::Layout;
use crate::journal::StateLock;
use crate::meta;
use crate::tree::{Mended, Rebuilt, Tree};
use anyhow::{Result, bail};
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
    Ok(())
}

fn tell(rebuilt: &Rebuilt) {
    let Rebuilt { aside, salvaged, mended, is_resumed } = rebuilt;
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
