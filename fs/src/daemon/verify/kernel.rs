//! Owns comparing what the kernel shows of a folder with what the tree says.

use super::Run;
use super::report::difference;
use super::server::below;
use super::settled::Found;
use super::walker::{Seen, WalkError, Walker};
use crate::control::findings::{Area, Difference};
use crate::control::{Failure, MountPath};
use crate::meta::rows::Ino;
use crate::tree::{Invalidation, NodeType, Notifier, Stat};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tarn_proto::name::Name;
use tarn_proto::node::NodeKind;

const MOUNT_AGAIN: &str = "unmount and mount again: what the kernel remembers goes with the mount";
/// Said of what is right again after the kernel was told.
const LOOKED_AGAIN: &str = "put right: the kernel was told to look again";

/// What the tree says of a folder.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    /// Its path, with a leading `/`; the root's is empty.
    pub path: Vec<u8>,
    pub entries: Vec<(Name, Stat)>,
}

impl Run<'_> {
    /// Compares what the kernel shows of a folder.
    pub(super) async fn compare_with_kernel(&self, listing: &Listing, path: &str) -> Found {
        let relative = listing.path.strip_prefix(b"/").unwrap_or(&listing.path);
        let seen = self.seen(&MountPath::new(Path::new(OsStr::from_bytes(relative)))).await;
        match seen {
            Ok(seen) => Ok(compare(path, &seen, &listing.entries)),
            Err(WalkError::Refused { errno: Some(libc::EACCES), .. }) => {
                self.report
                    .left_out(format!("what the kernel shows of {path}: its permissions do not let anybody look"));
                Ok(Vec::new())
            }
            Err(WalkError::Refused { text, .. }) => {
                let sides = [("the kernel", text), ("the tree", "the folder is there".to_owned())];
                Ok(vec![difference(Area::Kernel, Some(path.to_owned()), "the folder", sides, MOUNT_AGAIN)])
            }
            Err(error) => Err(Failure::failed(error)),
        }
    }

    async fn seen(&self, path: &MountPath) -> Result<Vec<Seen>, WalkError> {
        let mut walker = self.walker.lock().await;
        let process = match walker.take() {
            Some(process) => process,
            None => Walker::start(self.mount)?,
        };
        let seen = walker.insert(process).list(path).await;
        if matches!(seen, Err(WalkError::Silent | WalkError::Broken(_))) {
            *walker = None;
        }
        seen
    }

    /// Tells the kernel to forget a folder's names and attributes.
    pub(super) fn tell_kernel(&self, dir: Ino, listing: &Listing, found: &[Difference]) {
        let mut names: BTreeSet<Name> = listing.entries.iter().map(|(name, _)| name.clone()).collect();
        // Names that only the kernel has.
        let told = found.iter().filter_map(|one| Name::new(one.path.as_ref()?.rsplit('/').next()?.as_bytes()).ok());
        names.extend(told);
        let names = names.into_iter().map(|name| Invalidation::Entry { parent: dir, name });
        let attributes = listing.entries.iter().map(|(_, stat)| Invalidation::Attributes(stat.ino));
        self.parts.notifier.announce_and_invalidate(names.chain(attributes).collect());
    }
}

/// Says of what is not found any more that it was put right.
pub(super) fn mark_repaired(found: &mut [Difference], left: &[Difference]) {
    for one in found.iter_mut().filter(|one| one.area == Area::Kernel && !left.contains(one)) {
        one.advice = LOOKED_AGAIN.to_owned();
        one.repaired = true;
    }
}

/// Compares names and attributes.
fn compare(folder: &str, seen: &[Seen], entries: &[(Name, Stat)]) -> Vec<Difference> {
    let kernel: BTreeMap<&[u8], &Seen> = seen.iter().map(|seen| (seen.name.0.as_slice(), seen)).collect();
    let tree: BTreeMap<&[u8], &Stat> = entries.iter().map(|(name, stat)| (name.as_bytes(), stat)).collect();
    let names: BTreeSet<&[u8]> = kernel.keys().chain(tree.keys()).copied().collect();
    let mut found = Vec::new();
    for name in names {
        let path = below(folder, &String::from_utf8_lossy(name));
        let told = match (kernel.get(name), tree.get(name)) {
            (Some(seen), Some(stat)) => {
                let (shown, expected) = (of_kernel(seen), of_tree(stat));
                let differ = |(a, b): &(&(&str, String), &(&str, String))| a.1 != b.1;
                let pairs: Vec<_> = shown.iter().zip(&expected).filter(differ).collect();
                let text = |said: Vec<&(&str, String)>| {
                    said.into_iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
                };
                if pairs.is_empty() {
                    continue;
                }
                let (kernel_says, tree_says): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
                ("attributes", text(kernel_says), text(tree_says))
            }
            (Some(seen), None) => ("a name", format!("there, inode {}", seen.ino), "not there".to_owned()),
            (None, stat) => {
                let ino = stat.map_or(0, |stat| stat.ino.0);
                ("a name", "not there".to_owned(), format!("there, inode {ino}"))
            }
        };
        let sides = [("the kernel", told.1), ("the tree", told.2)];
        found.push(difference(Area::Kernel, Some(path), told.0, sides, MOUNT_AGAIN));
    }
    found
}

type Fields = [(&'static str, String); 5];

fn of_kernel(seen: &Seen) -> Fields {
    let target = seen.target.as_ref().map(|target| String::from_utf8_lossy(&target.0).into_owned());
    fields(seen.ino, seen.mode, seen.size, seen.links, target)
}

fn of_tree(stat: &Stat) -> Fields {
    let node_type = NodeType::from(&stat.kind);
    let links = if node_type == NodeType::Dir { 0 } else { u64::from(stat.link_count) };
    let target = match &stat.kind {
        NodeKind::Symlink { target } => Some(String::from_utf8_lossy(target).into_owned()),
        _ => None,
    };
    fields(stat.ino.0, type_bits(node_type) | stat.attrs.mode & 0o7777, stat.size_bytes, links, target)
}

fn fields(ino: u64, mode: u32, size: u64, links: u64, target: Option<String>) -> Fields {
    [
        ("inode", ino.to_string()),
        ("type and mode", format!("{mode:o}")),
        ("size", size.to_string()),
        ("links", links.to_string()),
        ("target", target.unwrap_or_default()),
    ]
}

fn type_bits(node_type: NodeType) -> u32 {
    match node_type {
        NodeType::File => libc::S_IFREG,
        NodeType::Dir => libc::S_IFDIR,
        NodeType::Symlink => libc::S_IFLNK,
        NodeType::Fifo => libc::S_IFIFO,
        NodeType::Socket => libc::S_IFSOCK,
        NodeType::CharDevice => libc::S_IFCHR,
        NodeType::BlockDevice => libc::S_IFBLK,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tarn_proto::node::{Attrs, ByteString};

    fn seen(name: &str, ino: u64, mode: u32, size: u64) -> Seen {
        Seen { name: ByteString(name.into()), ino, mode, size, links: 1, target: None }
    }

    fn stat(ino: u64, mode: u32, size_bytes: u64) -> Stat {
        let attrs = Attrs { mode, ..Attrs::default() };
        Stat { ino: Ino(ino), kind: NodeKind::File, attrs, size_bytes, allocated_bytes: 0, link_count: 1 }
    }

    #[test]
    fn each_kind_of_difference_between_kernel_and_tree_is_named() {
        let name = |text: &str| Name::new(text).unwrap();
        let kernel = [seen("same", 2, 0o100_644, 3), seen("other", 3, 0o100_600, 9), seen("gone", 4, 0o100_644, 0)];
        let tree = [
            (name("same"), stat(2, 0o644, 3)),
            (name("other"), stat(3, 0o644, 10)),
            (name("missing"), stat(5, 0o644, 0)),
        ];
        let mut found = compare("d", &kernel, &tree);
        let said: Vec<_> =
            found.iter().map(|one| one.to_string().lines().take(3).collect::<Vec<_>>().join("|")).collect();
        assert_eq!(
            said,
            [
                "d/gone: a name|  the kernel: there, inode 4|  the tree: not there",
                "d/missing: a name|  the kernel: not there|  the tree: there, inode 5",
                "d/other: attributes|  the kernel: type and mode 100600, size 9|  the tree: type and mode 100644, size 10",
            ]
        );
        let left = vec![found[2].clone()];
        mark_repaired(&mut found, &left);
        assert_eq!(found.iter().map(|one| one.repaired).collect::<Vec<_>>(), [true, true, false]);
    }
}
