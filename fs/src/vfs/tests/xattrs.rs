//! Extended attributes and the ACLs among them, on a tree in memory.

use super::*;

#[test]
fn xattr_modes_namespaces_and_sizes_answer_as_linux_does() {
    let (vfs, _) = fresh(owner_view());
    let (file, _) = made(&vfs, ANNA, "f", 0o644);
    let set = |name: &str, mode| vfs.setxattr(ANNA, file.ino, name.as_bytes(), b"value", mode);
    assert!(matches!(refusal(set("user.a", XattrMode::Replace)), TreeError::NoAttribute));
    set("user.a", XattrMode::Create).unwrap();
    assert!(matches!(refusal(set("user.a", XattrMode::Create)), TreeError::Exists));
    assert!(matches!(refusal(set("user.tarn.state", XattrMode::Either)), TreeError::NotPermitted));
    assert!(matches!(refusal(set("user.tarn.other", XattrMode::Either)), TreeError::NotPermitted));
    for name in ["trusted.a", "security.a", "system.posix_acl_access", "other.a"] {
        assert!(matches!(refusal(set(name, XattrMode::Either)), TreeError::NotSupported));
    }
    let large = vfs.setxattr(ANNA, file.ino, b"user.b", &vec![0; 65_536], XattrMode::Either);
    assert!(matches!(refusal(large), TreeError::TooLarge));
    assert_eq!(vfs.listxattr(ANNA, file.ino).unwrap(), b"user.a\0");
    vfs.removexattr(file.ino, b"user.a").unwrap();
    assert!(matches!(refusal(vfs.removexattr(file.ino, b"user.a")), TreeError::NoAttribute));
}

/// An ACL as Linux writes it: owner, one user, owner's group, mask, others.
fn acl(owner: u8, user: u8, group: u8, mask: u8, others: u8) -> Vec<u8> {
    let entry = |tag: u8, permissions: u8, id: u32| [[tag, 0, permissions, 0], id.to_le_bytes()].concat();
    let entries = [entry(1, owner, u32::MAX), entry(2, user, 1001), entry(4, group, u32::MAX)];
    [vec![2, 0, 0, 0], entries.concat(), entry(16, mask, u32::MAX), entry(32, others, u32::MAX)].concat()
}

const ACCESS_ACL: &[u8] = b"system.posix_acl_access";

#[test]
fn an_acl_and_the_mode_say_the_same_whichever_is_changed() {
    let (vfs, _) = fresh(posix());
    let (file, _) = made(&vfs, ANNA, "f", 0o600);
    vfs.setxattr(ANNA, file.ino, ACCESS_ACL, &acl(6, 7, 4, 5, 0), XattrMode::Either).unwrap();
    assert_eq!(vfs.getattr(file.ino).unwrap().stat.attrs.mode, 0o650);
    vfs.setattr(ANNA, file.ino, SetAttr { mode: Some(0o741), ..SetAttr::default() }).unwrap();
    assert_eq!(vfs.getxattr(file.ino, ACCESS_ACL).unwrap(), acl(7, 7, 4, 4, 1));
    assert_eq!(vfs.listxattr(ANNA, file.ino).unwrap(), [ACCESS_ACL, b"\0"].concat());
    let minimal = [&acl(6, 0, 4, 0, 4)[..12], &acl(6, 0, 4, 0, 4)[20..28], &acl(6, 0, 4, 0, 4)[36..]].concat();
    vfs.setxattr(ANNA, file.ino, ACCESS_ACL, &minimal, XattrMode::Either).unwrap();
    assert_eq!(vfs.getattr(file.ino).unwrap().stat.attrs.mode, 0o644);
    assert!(matches!(refusal(vfs.getxattr(file.ino, ACCESS_ACL)), TreeError::NoAttribute));
    let bad = vfs.setxattr(ANNA, file.ino, ACCESS_ACL, b"no ACL", XattrMode::Either);
    assert!(matches!(refusal(bad), TreeError::Invalid));
}

#[test]
fn who_is_not_in_the_group_loses_setgid_with_an_acl() {
    let (vfs, _) = fresh(posix());
    let (file, _) = made(&vfs, ANNA, "f", 0o2750);
    for (caller, mode) in [(ANNA, 0o2650), (Caller { gid: 7, ..ANNA }, 0o650)] {
        vfs.setxattr(caller, file.ino, ACCESS_ACL, &acl(6, 7, 4, 5, 0), XattrMode::Either).unwrap();
        assert_eq!(vfs.getattr(file.ino).unwrap().stat.attrs.mode, mode);
    }
}

#[test]
fn where_owners_are_not_shown_acls_are_not_either() {
    let (vfs, tree) = fresh(owner_view());
    let above = tree.mount(posix());
    above.setxattr(ROOT_USER, ROOT, b"system.posix_acl_default", &acl(7, 7, 5, 7, 0), XattrMode::Either).unwrap();
    let (file, _) = made(&vfs, ANNA, "f", 0o600);
    assert_eq!(vfs.getattr(file.ino).unwrap().stat.attrs.mode, 0o600);
    assert!(matches!(refusal(vfs.getxattr(file.ino, ACCESS_ACL)), TreeError::NotSupported));
    assert!(vfs.listxattr(ROOT_USER, ROOT).unwrap().is_empty());
    let (inherits, _) = made(&above, ANNA, "g", 0o666);
    assert_eq!(above.getxattr(inherits.ino, ACCESS_ACL).unwrap(), acl(6, 7, 5, 6, 0));
    assert_eq!(inherits.attrs.mode, 0o660);
}
