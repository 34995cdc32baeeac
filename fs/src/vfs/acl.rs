//! Owns POSIX ACLs: which can be, how they stand beside the mode, and what a new node inherits. The kernel enforces them.
//!
//! An access ACL is kept as the extended attribute that Linux knows, but its entries of owner, mask and others are
//! those of the mode, whatever the attribute says. So `chmod` changes one thing, and a mode and an ACL that come from two
//! devices fit together.

use tarn_proto::node::{Attrs, ByteString, NodeKind};

/// The extended attribute with who may do what.
pub(super) const ACCESS: &str = "system.posix_acl_access";
/// The extended attribute of a directory with what is made in it inherits.
pub(super) const DEFAULT: &str = "system.posix_acl_default";

/// The only version of the attribute's form.
const VERSION: u32 = 2;
const ENTRY_BYTES: usize = 8;
const PERMISSIONS: u16 = 7;
/// Whose an entry is, in the order in which they stand.
const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OWNER: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    tag: u16,
    permissions: u16,
    id: u32,
}

/// An ACL that can be: owner, group and others once each, and a mask if there is anybody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Acl(Vec<Entry>);

impl Acl {
    /// Reads an attribute's value; `None` if it is no ACL.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let (version, entries) = value.split_first_chunk()?;
        if u32::from_le_bytes(*version) != VERSION || entries.len() % ENTRY_BYTES != 0 {
            return None;
        }
        let entry = |bytes: &[u8]| {
            let (tag, rest) = bytes.split_first_chunk()?;
            let (permissions, id) = rest.split_first_chunk()?;
            Some(Entry {
                tag: u16::from_le_bytes(*tag),
                permissions: u16::from_le_bytes(*permissions),
                id: u32::from_le_bytes(id.try_into().ok()?),
            })
        };
        let acl = Self(entries.chunks_exact(ENTRY_BYTES).map(entry).collect::<Option<_>>()?);
        acl.can_be().then_some(acl)
    }

    fn can_be(&self) -> bool {
        let count = |tag: u16| self.0.iter().filter(|entry| entry.tag == tag).count();
        let known = [OWNER, USER, GROUP_OWNER, GROUP, MASK, OTHER];
        let has_others = count(USER) + count(GROUP) > 0;
        self.0.is_sorted_by_key(|entry| entry.tag)
            && self.0.iter().all(|entry| known.contains(&entry.tag) && entry.permissions <= PERMISSIONS)
            && [OWNER, GROUP_OWNER, OTHER].into_iter().all(|tag| count(tag) == 1)
            && (count(MASK) == 1 || (count(MASK) == 0 && !has_others))
    }

    /// The attribute's value.
    pub(super) fn value(&self) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for entry in &self.0 {
            value.extend(entry.tag.to_le_bytes());
            value.extend(entry.permissions.to_le_bytes());
            value.extend(entry.id.to_le_bytes());
        }
        value
    }

    /// Whether a mode says as much.
    pub(super) fn is_a_mode(&self) -> bool {
        self.0.iter().all(|entry| matches!(entry.tag, OWNER | GROUP_OWNER | OTHER))
    }

    /// The nine bits of the mode that go with it: those of the group are the mask's.
    pub(super) fn mode(&self) -> u32 {
        let group = if self.is_a_mode() { GROUP_OWNER } else { MASK };
        let of = |tag| self.0.iter().find(|entry| entry.tag == tag).map_or(0, |entry| u32::from(entry.permissions));
        of(OWNER) << 6 | of(group) << 3 | of(OTHER)
    }

    /// The same with the entries that a mode stands for taken from it.
    pub(super) fn with_mode(mut self, mode: u32) -> Self {
        let group = if self.is_a_mode() { GROUP_OWNER } else { MASK };
        for entry in &mut self.0 {
            let shift = match entry.tag {
                OWNER => 6,
                tag if tag == group => 3,
                OTHER => 0,
                _ => continue,
            };
            entry.permissions = (mode >> shift) as u16 & PERMISSIONS;
        }
        self
    }
}

/// What a new node in a directory with these attributes begins with: its mode and its ACLs. A default ACL stands in for
/// the umask.
pub(super) fn inherited(
    above: &Attrs,
    kind: &NodeKind,
    mode: u32,
    umask: u32,
) -> (u32, Vec<(&'static str, ByteString)>) {
    let default = above.xattrs.get(DEFAULT).filter(|_| !matches!(kind, NodeKind::Symlink { .. }));
    let Some((value, acl)) = default.and_then(|value| Some((value, Acl::read(&value.0)?))) else {
        return (mode & !(umask & 0o777), Vec::new());
    };
    let mode = mode & (acl.mode() | !0o777);
    let mut acls = Vec::new();
    if !acl.is_a_mode() {
        acls.push((ACCESS, ByteString(acl.with_mode(mode).value())));
    }
    if kind.is_dir() {
        acls.push((DEFAULT, value.clone()));
    }
    (mode, acls)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Acl {
        Acl(entries.iter().map(|&(tag, permissions, id)| Entry { tag, permissions, id }).collect())
    }

    const NOBODY: u32 = u32::MAX;

    fn shared() -> Acl {
        acl(&[(OWNER, 7, NOBODY), (USER, 6, 1001), (GROUP_OWNER, 5, NOBODY), (MASK, 6, NOBODY), (OTHER, 0, NOBODY)])
    }

    #[test]
    fn what_is_written_is_read_and_what_cannot_be_is_not() {
        let one = shared();
        assert_eq!(Acl::read(&one.value()), Some(one.clone()));
        let plain = acl(&[(OWNER, 6, NOBODY), (GROUP_OWNER, 4, NOBODY), (OTHER, 4, NOBODY)]);
        assert_eq!((Acl::read(&plain.value()).unwrap().mode(), plain.is_a_mode()), (0o644, true));
        let mut without_mask = one.clone();
        without_mask.0.remove(3);
        let mut twice = one.clone();
        twice.0.insert(0, twice.0[0]);
        let mut unordered = one.clone();
        unordered.0.swap(1, 2);
        let mut too_much = one.clone();
        too_much.0[1].permissions = 8;
        for bad in [without_mask, twice, unordered, too_much, acl(&[])] {
            assert_eq!(Acl::read(&bad.value()), None, "{bad:?}");
        }
        let value = one.value();
        assert!([&value[..3], &value[..value.len() - 1], &[0; 4]].into_iter().all(|bad| Acl::read(bad).is_none()));
    }

    #[test]
    fn the_mode_speaks_for_owner_mask_and_others_and_for_nobody_else() {
        assert_eq!(shared().mode(), 0o760);
        let narrowed = shared().with_mode(0o640);
        let expected = acl(&[
            (OWNER, 6, NOBODY),
            (USER, 6, 1001),
            (GROUP_OWNER, 5, NOBODY),
            (MASK, 4, NOBODY),
            (OTHER, 0, NOBODY),
        ]);
        assert_eq!(narrowed, expected);
    }

    #[test]
    fn a_default_acl_stands_in_for_the_umask_and_a_link_inherits_nothing() {
        let mut above = Attrs::default();
        assert_eq!(inherited(&above, &NodeKind::File, 0o666, 0o022), (0o644, Vec::new()));
        above.xattrs.insert(DEFAULT.into(), ByteString(shared().value()));
        let (mode, acls) = inherited(&above, &NodeKind::File, 0o666, 0o077);
        assert_eq!((mode, acls), (0o660, vec![(ACCESS, ByteString(shared().with_mode(0o660).value()))]));
        let (mode, acls) = inherited(&above, &NodeKind::Dir, 0o2777, 0o077);
        assert_eq!((mode, acls[1].clone()), (0o2760, (DEFAULT, ByteString(shared().value()))));
        let link = NodeKind::Symlink { target: b"t".to_vec() };
        assert_eq!(inherited(&above, &link, 0o777, 0), (0o777, Vec::new()));
    }

    #[test]
    fn a_default_acl_that_is_damaged_is_none() {
        let mut above = Attrs::default();
        above.xattrs.insert(DEFAULT.into(), ByteString(vec![1, 2, 3]));
        assert_eq!(inherited(&above, &NodeKind::Dir, 0o777, 0o022), (0o755, Vec::new()));
    }
}
