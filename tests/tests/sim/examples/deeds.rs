//! Owns what programs and people do in an example, and what they look at.

use super::super::device::Life;
use super::super::handles::Handle;
use super::super::look::{bytes, list};
use super::super::server::SimServer;
use super::super::user::name;
use super::looks::text_of;
use tarn::meta::rows::{Ino, ROOT};
use tarn::tree::{DeleteLimits, LocalNames, NewNode, RenameRequest, SyncState, Tree, TreeError};
use tarn_proto::name::Name;
use tarn_proto::node::{AttrChange, NodeKind};
use tarn_proto::op::RenameMode;

type Done = Result<(), TreeError>;

/// Does what one line says; the first word decides, or the sign between two things.
pub fn act(life: &mut Life, deed: &str) -> Done {
    let (verb, rest) = deed.split_once(' ').unwrap_or((deed, ""));
    match verb {
        "opens" => open(life, rest),
        "starts" => {
            let ino = make_open(life, rest)?;
            hold(life, ino);
            Ok(())
        }
        "saves" => {
            let text = rest.strip_prefix("what it opened = ").expect("what is saved");
            let Handle { ino, .. } = life.handles.pop().expect("a file that was opened");
            save_opened(life, ino, &contents(text))
        }
        "writes" => {
            let text = rest.strip_suffix(" to what it opened").expect("what is written");
            let ino = life.handles.last().expect("a file that was opened").ino;
            life.tree.write(ino, 0, text.as_bytes()).map(drop)
        }
        "syncs" => life.tree.fsync(inode(life, rest)?),
        "save" => {
            let (path, text) = two(rest, " = ");
            let temporary = format!("{path}.tmp");
            write(life, &temporary, &contents(text))?;
            rename(life, (&temporary, path), RenameMode::Replace)
        }
        "rm" => find(life, rest).and_then(|(dir, name)| remove(life, dir, &name)),
        "mv" => rename(life, two(rest, " to "), RenameMode::Replace),
        "exchange" => rename(life, two(rest, " and "), RenameMode::Exchange),
        "ln" => link(life, two(rest, " to ")),
        "symlink" => {
            let (target, path) = two(rest, " at ");
            make(life, path, NodeKind::Symlink { target: target.as_bytes().to_vec() })
        }
        "pipe" => make(life, rest, NodeKind::Fifo),
        "chmod" => chmod(life, two(rest, " ")),
        "makes" => {
            let (count, dir) = two(rest, " files in ");
            (0..count.parse().expect("a number")).try_for_each(|n: u32| write(life, &format!("{dir}/{n}"), b"new"))
        }
        _ if deed.ends_with('/') => make(life, deed.trim_end_matches('/'), NodeKind::Dir),
        _ => {
            let (path, text) = two(deed, " = ");
            write(life, path, &contents(text))
        }
    }
}

/// What a person says to the daemon; `None`: it is something else.
pub fn order(tree: &Tree, deed: &str) -> Option<Done> {
    let done = match deed {
        "sends the deletes" => tree.confirm_deletes().map(drop),
        "takes the deletes back" => tree.undo_deletes().map(drop),
        _ => match deed.rsplit_once(' ')? {
            ("keeps here", pattern) => tree.keep_here(LocalNames::matching([pattern]).expect("a pattern")),
            ("holds deletes of more files than", count) => {
                let count = count.parse().expect("a number");
                tree.set_delete_limits(Some(DeleteLimits { count, percent: 30 }))
            }
            _ => return None,
        },
    };
    Some(done)
}

/// Looks at what one line says should be seen.
pub fn look(life: &Life, server: &SimServer, seen: &str) -> Result<(), String> {
    let say = |error: TreeError| error.to_string();
    if let Some(path) = seen.strip_prefix("no ") {
        let there = find(life, path).and_then(|(dir, name)| life.tree.lookup(dir, &name));
        return match there {
            Err(TreeError::NotFound) => Ok(()),
            other => Err(format!("{:?}", other.map(|stat| stat.kind))),
        };
    }
    let (found, expected) = if let Some(text) = seen.strip_suffix(" in what it opened") {
        let Handle { ino, .. } = life.handles.last().expect("a file that was opened");
        (text_of(&bytes(life, server, *ino).map_err(say)?), text)
    } else if let Some((path, state)) = seen.split_once(" is ") {
        let found = match life.tree.sync_state(inode(life, path).map_err(say)?).map_err(say)? {
            SyncState::InSync => "sent",
            SyncState::Dirty | SyncState::Uploading => "not sent",
            SyncState::LocalOnly => "local-only",
        };
        (found.to_owned(), state)
    } else if let Some(count) = seen.strip_suffix(" open conflict") {
        life.journal.drain().map_err(|error| error.to_string())?;
        let open = life.journal.readers().get().and_then(|reader| reader.conflicts());
        (open.map_err(|error| error.to_string())?.len().to_string(), count)
    } else {
        let (path, text) = two(seen, " = ");
        (text_of(&bytes(life, server, inode(life, path).map_err(say)?).map_err(say)?), text)
    };
    if found == expected { Ok(()) } else { Err(format!("it is {found:?}")) }
}

fn two<'a>(text: &'a str, between: &str) -> (&'a str, &'a str) {
    text.split_once(between).unwrap_or_else(|| panic!("{text:?} has no {between:?}"))
}

/// A text, or as many bytes as it says.
fn contents(text: &str) -> Vec<u8> {
    let number = text.strip_suffix(" kB").and_then(|number| number.parse::<usize>().ok());
    number.map_or_else(
        || text.as_bytes().to_vec(),
        |kilobytes| {
            let mut noise = blake3::Hasher::new().update(text.as_bytes()).finalize_xof();
            let mut bytes = vec![0; kilobytes * 1_000];
            noise.fill(&mut bytes);
            bytes
        },
    )
}

fn find(life: &Life, path: &str) -> Result<(Ino, Name), TreeError> {
    let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
    let mut dir = ROOT;
    for part in above.split('/').filter(|part| !part.is_empty()) {
        dir = life.tree.lookup(dir, &name(part))?.ino;
    }
    Ok((dir, name(last)))
}

fn inode(life: &Life, path: &str) -> Result<Ino, TreeError> {
    let (dir, name) = find(life, path)?;
    Ok(life.tree.lookup(dir, &name)?.ino)
}

fn open(life: &mut Life, path: &str) -> Done {
    let ino = inode(life, path)?;
    life.tree.opened(ino, true)?;
    hold(life, ino);
    Ok(())
}

fn hold(life: &mut Life, ino: Ino) {
    life.handles.push(Handle { ino, writes: true, node: None, is_removed: false });
}

fn make(life: &Life, path: &str, kind: NodeKind) -> Done {
    let (dir, name) = find(life, path)?;
    let mode = if kind == NodeKind::Dir { 0o755 } else { 0o644 };
    life.tree.create(dir, &name, NewNode::plain(kind, mode)).map(drop)
}

/// As `echo text > path` does.
pub fn write(life: &Life, path: &str, text: &[u8]) -> Done {
    let (dir, name) = find(life, path)?;
    let ino = match life.tree.lookup(dir, &name) {
        Ok(stat) => {
            life.tree.opened(stat.ino, true)?;
            stat.ino
        }
        Err(TreeError::NotFound) => make_open(life, path)?,
        Err(error) => return Err(error),
    };
    save_opened(life, ino, text)
}

fn make_open(life: &Life, path: &str) -> Result<Ino, TreeError> {
    let (dir, name) = find(life, path)?;
    let new = NewNode { open: Some(true), ..NewNode::plain(NodeKind::File, 0o644) };
    Ok(life.tree.create(dir, &name, new)?.ino)
}

fn save_opened(life: &Life, ino: Ino, text: &[u8]) -> Done {
    life.tree.truncate(ino, 0)?;
    life.tree.write(ino, 0, text)?;
    life.tree.closed(ino, true)
}

fn chmod(life: &Life, (mode, path): (&str, &str)) -> Done {
    let mode = Some(u32::from_str_radix(mode, 8).expect("permissions"));
    let change = AttrChange { mode, ..AttrChange::default() };
    life.tree.set_attrs(inode(life, path)?, &change).map(drop)
}

fn link(life: &Life, (from, to): (&str, &str)) -> Done {
    let ((dir, old), (to_dir, new)) = (find(life, from)?, find(life, to)?);
    let ino = life.tree.lookup(dir, &old)?.ino;
    life.tree.link(ino, to_dir, &new).map(drop)
}

fn rename(life: &Life, (from, to): (&str, &str), mode: RenameMode) -> Done {
    let ((parent, name), (to_parent, to_name)) = (find(life, from)?, find(life, to)?);
    life.tree.rename(&RenameRequest { parent, name, to_parent, to_name, mode }).map(drop)
}

/// As `rm -r` does.
fn remove(life: &Life, dir: Ino, name: &Name) -> Done {
    let stat = life.tree.lookup(dir, name)?;
    if !stat.kind.is_dir() {
        return life.tree.unlink(dir, name).map(drop);
    }
    for entry in list(&life.tree, stat.ino)? {
        remove(life, stat.ino, &entry.name)?;
    }
    life.tree.rmdir(dir, name).map(drop)
}
