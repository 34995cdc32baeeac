//! Owns what a kernel remembers of a device's tree, and holds the tree to telling it of every change that others make:
//! what it was not told to forget must still be so. It also keeps references to what it was told of, as a kernel does.

use super::dice::Dice;
use super::look::list;
use super::user::{NAMES, name};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tarn::meta::rows::{Ino, ROOT};
use tarn::tree::{Invalidation, NodeType, Notifier, Tree, TreeError};
use tarn_proto::name::Name;

/// Size, permission bits, names (of what is no folder).
type Looks = (u64, u32, u32);

#[derive(Debug, Default)]
struct Memory {
    /// What names stand for, those that nothing has as well.
    names: BTreeMap<(Ino, Name), Option<Ino>>,
    looks: BTreeMap<Ino, Looks>,
    references: BTreeMap<Ino, u64>,
}

/// What one mount's kernel remembers.
#[derive(Debug, Default)]
pub struct Kernel(Mutex<Memory>);

impl Notifier for Kernel {
    fn invalidate(&self, batch: Vec<Invalidation>) {
        let mut memory = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for invalidation in batch {
            match invalidation {
                Invalidation::Attributes(ino) | Invalidation::Content(ino) => {
                    memory.looks.remove(&ino);
                }
                Invalidation::Entry { parent, name } | Invalidation::Gone { parent, name, .. } => {
                    memory.names.remove(&(parent, name));
                }
            }
        }
    }
}

fn looks(tree: &Tree, ino: Ino) -> Result<Looks, TreeError> {
    let stat = tree.stat(ino)?;
    let names = if stat.kind.is_dir() { 0 } else { stat.link_count };
    Ok((stat.size_bytes, stat.attrs.mode, names))
}

impl Kernel {
    /// A kernel that hears of the tree's changes.
    pub fn of(tree: &Tree) -> Arc<Self> {
        let kernel = Arc::new(Self::default());
        tree.set_notifier(kernel.clone());
        kernel
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What is remembered and not so any more. What cannot be said now is no fault.
    pub fn faults(&self, tree: &Tree) -> Vec<String> {
        let (names, known) = {
            let memory = self.memory();
            (memory.names.clone(), memory.looks.clone())
        };
        let mut faults = Vec::new();
        for ((parent, name), before) in names {
            let now = match tree.lookup(parent, &name) {
                Ok(stat) => Some(stat.ino),
                Err(TreeError::NotFound) => None,
                Err(_) => continue,
            };
            if now != before {
                faults.push(format!("the kernel was not told that {parent:?}/{name} is not {before:?} but {now:?}"));
            }
        }
        for (ino, before) in known {
            if let Ok(now) = looks(tree, ino)
                && now != before
            {
                faults.push(format!("the kernel was not told that {ino:?} is not {before:?} but {now:?}"));
            }
        }
        faults
    }

    /// Walks the whole tree anew, as `find -size` does; some of what it knew it forgets.
    pub fn walk(&self, tree: &Tree, dice: &mut Dice) {
        {
            let mut memory = self.memory();
            (memory.names, memory.looks) = Default::default();
            let known = std::mem::take(&mut memory.references);
            drop(memory);
            for (ino, count) in known {
                if dice.chance(300) {
                    tree.forget(ino, count);
                } else {
                    *self.memory().references.entry(ino).or_default() += count;
                }
            }
        }
        let (mut folders, mut seen) = (vec![ROOT], BTreeSet::from([ROOT]));
        while let Some(folder) = folders.pop() {
            for name in NAMES.map(name) {
                if matches!(tree.lookup(folder, &name), Err(TreeError::NotFound)) {
                    self.memory().names.insert((folder, name), None);
                }
            }
            // A folder that is not listed yet shows nothing.
            for entry in list(tree, folder).unwrap_or_default() {
                let Ok(found) = looks(tree, entry.ino) else { continue };
                if tree.refer(entry.ino).is_err() {
                    continue;
                }
                if entry.node_type == NodeType::Dir && seen.insert(entry.ino) {
                    folders.push(entry.ino);
                }
                let mut memory = self.memory();
                *memory.references.entry(entry.ino).or_default() += 1;
                memory.names.insert((folder, entry.name), Some(entry.ino));
                memory.looks.insert(entry.ino, found);
            }
        }
    }
}
