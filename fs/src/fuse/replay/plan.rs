//! Owns what the player is to do about a change: which call, by which path, and what it must be shown of names meanwhile.

use super::orders::{Change, Folder, Order, Place as Spot};
use crate::env::Watched;
use crate::meta::rows::Ino;
use crate::tree::{Child, Happening};
use crate::vfs::{Act, Ghost, Part, Place, Vfs};
use std::collections::HashMap;
use tarn_proto::limits::DEPTH_MAX;
use tarn_proto::name::Name;
use tarn_proto::node::{ByteString, NodeKind};

const EXECUTE: u32 = 0o111;

/// One call of the player.
#[derive(Debug)]
pub(super) struct Step {
    pub part: Part,
    pub order: Order,
    /// Names that the kernel must not know when it is made.
    pub unknown: Vec<Place>,
}

/// What happened together.
pub(super) struct Plan<'a> {
    vfs: &'a Vfs,
    /// Folders that are gone: where they were.
    gone: HashMap<Ino, (Place, Child)>,
}

type Shown = HashMap<Place, Option<Ghost>>;

/// Whether anybody watches what this is about.
pub(super) fn is_watched(happening: &Happening, watched: &Watched, vfs: &Vfs) -> bool {
    let is = |ino: Ino| watched.contains(ino.0);
    match happening {
        Happening::Appeared { parent, child, .. } | Happening::Removed { parent, child, .. } => {
            is(*parent) || is(child.ino)
        }
        Happening::Moved { from, to, child, displaced } => {
            is(from.0) || is(to.0) || is(child.ino) || displaced.as_ref().is_some_and(|child| is(child.ino))
        }
        Happening::Changed { ino, .. } => is(*ino) || vfs.parent_of(*ino).is_some_and(is),
    }
}

fn ghost(child: &Child, leaves: bool) -> Option<Ghost> {
    Some(Ghost { child: child.clone(), leaves })
}

fn last_name(path: &[u8]) -> Option<Name> {
    Name::new(path.rsplit(|byte| *byte == b'/').next()?).ok()
}

impl<'a> Plan<'a> {
    pub fn new(vfs: &'a Vfs, happenings: &[Happening]) -> Self {
        let gone = happenings.iter().filter_map(|happening| match happening {
            Happening::Removed { parent, name, child } if child.kind.is_dir() => {
                Some((child.ino, ((*parent, name.clone()), child.clone())))
            }
            _ => None,
        });
        Self { vfs, gone: gone.collect() }
    }

    /// The calls that make it happen once more; none if it cannot be, for a folder on its way is gone by now.
    pub fn steps(&self, happening: &Happening) -> Vec<Step> {
        let steps = match happening {
            Happening::Appeared { parent, name, child } => self.appeared((*parent, name.clone()), child),
            Happening::Removed { parent, name, child } => {
                let place = (*parent, name.clone());
                let step = if self.stays(child) { self.moved_away(&place, child) } else { self.removed(place, child) };
                step.map(|step| vec![step])
            }
            Happening::Moved { from, to, child, displaced } => {
                let displaced = displaced.as_ref().filter(|child| !self.stays(child));
                self.moved(from, to, child, displaced).map(|step| vec![step])
            }
            Happening::Changed { ino, content } => self.changed(*ino, *content).map(|step| vec![step]),
        };
        steps.unwrap_or_default()
    }

    fn appeared(&self, place: Place, child: &Child) -> Option<Vec<Step>> {
        let mut shown = Shown::new();
        let at = self.spot(&place, &mut shown)?;
        let unknown = shown.keys().cloned().collect();
        shown.insert(place.clone(), None);
        let order = Order::Make { at, kind: child.kind.clone() };
        let part = Part { act: Act::Make { place: place.clone(), ino: child.ino }, shown };
        let mut steps = vec![Step { part, order, unknown }];
        if child.kind == NodeKind::File {
            steps.extend(self.touched(&place, child.ino, change_of(&child.kind, child.mode, true)));
        }
        Some(steps)
    }

    fn removed(&self, place: Place, child: &Child) -> Option<Step> {
        let mut shown = Shown::new();
        let at = self.spot(&place, &mut shown)?;
        shown.insert(place.clone(), ghost(child, true));
        let unknown = shown.keys().cloned().collect();
        let order = Order::Remove { at, ino: child.ino.0, is_dir: child.kind.is_dir() };
        Some(Step { part: Part { act: Act::Remove { place }, shown }, order, unknown })
    }

    /// Whether this is a folder that is somewhere else now: it must not be removed, for the kernel would take it for gone.
    fn stays(&self, child: &Child) -> bool {
        child.kind.is_dir() && !self.vfs.is_gone(child.ino)
    }

    /// What went to a folder that was not known here.
    fn moved_away(&self, from: &Place, child: &Child) -> Option<Step> {
        let to = (self.vfs.parent_of(child.ino)?, last_name(&self.vfs.path_of(child.ino)?)?);
        if to == *from { None } else { self.moved(from, &to, child, None) }
    }

    fn moved(&self, old: &Place, new: &Place, child: &Child, displaced: Option<&Child>) -> Option<Step> {
        let mut shown = Shown::new();
        let (from, to) = (self.spot(old, &mut shown)?, self.spot(new, &mut shown)?);
        shown.insert(old.clone(), ghost(child, false));
        let unknown = shown.keys().cloned().collect();
        shown.insert(new.clone(), displaced.and_then(|child| ghost(child, true)));
        let order = Order::Rename { from, to, ino: child.ino.0 };
        Some(Step { part: Part { act: Act::Rename { from: old.clone(), to: new.clone() }, shown }, order, unknown })
    }

    fn changed(&self, ino: Ino, content: bool) -> Option<Step> {
        let stat = self.vfs.getattr(ino).ok()?.stat;
        let place = (self.vfs.parent_of(ino)?, last_name(&self.vfs.path_of(ino)?)?);
        self.touched(&place, ino, change_of(&stat.kind, stat.attrs.mode, content))
    }

    fn touched(&self, place: &Place, ino: Ino, change: Change) -> Option<Step> {
        let mut shown = Shown::new();
        let order = Order::Touch { at: self.spot(place, &mut shown)?, ino: ino.0, change };
        Some(Step { part: Part { act: Act::Touch { ino }, shown }, order, unknown: Vec::new() })
    }

    /// Where a name is, or was; notes the folders on the way that are gone.
    fn spot(&self, (parent, name): &Place, shown: &mut Shown) -> Option<Spot> {
        let mut names = Vec::new();
        let mut at = *parent;
        let mut path = loop {
            if let Some(path) = self.vfs.path_of(at) {
                break path;
            }
            let (place, child) = self.gone.get(&at).filter(|_| names.len() < DEPTH_MAX)?;
            shown.insert(place.clone(), ghost(child, false));
            names.push(&place.1);
            at = place.0;
        };
        for name in names.into_iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name.as_bytes());
        }
        let folder = Folder { path: ByteString(path), ino: parent.0 };
        Some(Spot { folder, name: ByteString(name.as_bytes().to_vec()) })
    }
}

fn change_of(kind: &NodeKind, mode: u32, content: bool) -> Change {
    match content {
        false => Change::Attributes,
        true if *kind != NodeKind::File => Change::Attributes,
        true if mode & EXECUTE != 0 => Change::Content,
        true => Change::Written,
    }
}
