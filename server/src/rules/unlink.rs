//! Owns what becomes of `unlink`: only what its author had seen goes.

use super::draft::Draft;
use super::place::place_of;
use super::row::{EntryRow, NodeRow};
use super::write::seen_by_author;
use super::{Done, Rule};
use tarn_proto::ids::{DeviceId, NodeId};
use tarn_proto::op::{Place, Seen};

/// Removes an entry, and with its last one the node.
pub(super) fn unlink(draft: &mut Draft<'_>, place: &Place, seen: &Seen) -> Rule {
    let node = draft.resolve(seen.node)?;
    let place = place_of(draft, place, seen)?;
    match draft.entry(&place)? {
        // Gone already, moved away, or another node by now: nothing that the author saw is there.
        None => return Ok(Done::Merged),
        Some(entry) if entry.node != node => return Ok(Done::Merged),
        Some(_) => {}
    }
    let went = remove(draft, &place, &Seen { node, ..seen.clone() })?;
    Ok(if went { Done::Applied } else { Done::Merged })
}

/// Removes a present entry as far as its remover has seen what it names; says whether the place is free.
pub(super) fn remove(draft: &mut Draft<'_>, place: &Place, seen: &Seen) -> Rule<bool> {
    let Some(row) = draft.present(seen.node)? else {
        draft.drop_entry(place);
        return Ok(true);
    };
    if row.state.kind.is_dir() {
        return remove_folder(draft, place, seen);
    }
    let unseen = row.file().is_some_and(|file| {
        let seen = seen_by_author(draft, &seen.vector, &file.vector);
        !seen.has_seen(&file.vector)
    });
    if unseen && draft.links(seen.node)?.len() <= 1 {
        return Ok(false);
    }
    remove_entry(draft, place, seen.node)?;
    Ok(true)
}

/// Removes an entry, and with its last one the node, whatever is in it.
pub(super) fn remove_entry(draft: &mut Draft<'_>, place: &Place, node: NodeId) -> Rule<()> {
    if draft.links(node)?.len() <= 1 {
        draft.drop_node(node, Some(place))?;
    }
    draft.drop_entry(place);
    Ok(())
}

/// Removes a folder with all that its remover had seen below it; it stays if anything else is there.
fn remove_folder(draft: &mut Draft<'_>, place: &Place, seen: &Seen) -> Rule<bool> {
    let upto = Upto { seq: seen.seq.unwrap_or(u64::MAX).min(draft.author.cursor_seq), and_own: seen.seq.is_none() };
    let mut folders = vec![(place.clone(), seen.node)];
    let mut next = 0;
    while next < folders.len() {
        for (name, entry) in draft.children(folders[next].1)? {
            let place = Place { parent: folders[next].1, name };
            match draft.present(entry.node)?.map(|row| row.state.kind.is_dir()) {
                Some(true) if covers_entry(draft, &entry, upto) => folders.push((place, entry.node)),
                Some(true) => {}
                _ if covers_file(draft, &place, &entry, upto)? => remove_entry(draft, &place, entry.node)?,
                _ => {}
            }
        }
        next += 1;
    }
    // Deepest first: a folder goes when nothing is left in it.
    for (place, dir) in folders.iter().rev() {
        if draft.children(*dir)?.is_empty() {
            remove_entry(draft, place, *dir)?;
        }
    }
    Ok(draft.entry(place)?.is_none())
}

/// What the remover of a folder had seen of it.
#[derive(Clone, Copy)]
struct Upto {
    /// So much of the journal.
    seq: u64,
    /// Whatever it did itself, too. Who says what it had seen need not have known where its own changes went: a folder
    /// that they brought back may stand in this one by now.
    and_own: bool,
}

fn covers(draft: &Draft<'_>, seq: u64, device: DeviceId, upto: Upto) -> bool {
    seq <= upto.seq || (upto.and_own && device == draft.author.device)
}

fn covers_entry(draft: &Draft<'_>, entry: &EntryRow, upto: Upto) -> bool {
    covers(draft, entry.seq, entry.device, upto)
}

fn covers_file(draft: &Draft<'_>, place: &Place, entry: &EntryRow, upto: Upto) -> Rule<bool> {
    if !covers_entry(draft, entry, upto) {
        return Ok(false);
    }
    let newest = |row: &NodeRow| covers(draft, row.content_seq, row.content_device, upto);
    let seen = draft.present(entry.node)?.is_none_or(newest);
    let other_names = draft.links(entry.node)?.iter().any(|link| link != place);
    Ok(seen || other_names)
}
