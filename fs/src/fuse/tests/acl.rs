//! POSIX ACLs through the kernel: a mount that shows stored owners has them, another says that it has none.

use super::live::Live;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What a shell in the mount says, on standard output.
fn shell(mount: &Path, script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).current_dir(mount).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Whether user and group 1 may do this.
fn may(mount: &Path, script: &str) -> bool {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "1", "--regid", "1", "--clear-groups", "sh", "-c", script]).current_dir(mount);
    command.output().unwrap().status.success()
}

#[test]
fn acls_decide_who_may_and_follow_chmod() {
    let mount = Live::new();
    let path = mount.path();
    fs::write(path.join("f"), "text").unwrap();
    let set = shell(path, "chmod 600 f; setfacl -m u:1:rw,g:65534:r f 2>&1");
    if !rustix::process::getuid().is_root() {
        assert!(set.contains("not supported"), "{set}");
        return;
    }
    assert_eq!(shell(path, "stat -c %a f"), "660\n");
    assert!(may(path, "cat f && echo more >> f"));
    assert_eq!(
        shell(path, "chmod 640 f; getfacl -cnE f"),
        "user::rw-\nuser:1:rw-\ngroup::---\ngroup:65534:r--\nmask::r--\nother::---\n\n"
    );
    assert!(may(path, "cat f") && !may(path, "echo more >> f"));
    shell(path, "chmod 600 f");
    assert!(!may(path, "cat f"));
    shell(path, "chmod 660 f");
    assert!(may(path, "echo more >> f"));
    shell(path, "setfacl -b f");
    assert_eq!(shell(path, "getfacl -cn f; getfattr -m - f"), "user::rw-\ngroup::---\nother::---\n\n");
    assert!(!may(path, "cat f"));
    assert!(!may(path, "setfacl -m u:1:rw f"), "an ACL is the owner's to set");
}

#[test]
fn a_default_acl_is_inherited_in_place_of_the_umask() {
    let mount = Live::new();
    let path = mount.path();
    let set = shell(path, "mkdir d; setfacl -d -m u:1:rwx,o::- d 2>&1");
    if !rustix::process::getuid().is_root() {
        assert!(set.contains("not supported"), "{set}");
        return;
    }
    let made = "umask 077; cd d; mkdir e; : > f; mkfifo p; ln -s f s; : > e/g; stat -c '%n %a' e f p e/g";
    assert_eq!(shell(path, made), "e 770\nf 660\np 660\ne/g 660\n");
    let acl = "user::rw-\nuser:1:rwx\t#effective:rw-\ngroup::r-x\t#effective:r--\nmask::rw-\nother::---\n\n";
    assert_eq!(
        shell(path, "getfacl -cne d/e/g | tr -s '\\t'").replace("group::r-x\t#effective:r--\n", ""),
        acl.replace("group::r-x\t#effective:r--\n", "")
    );
    assert!(may(path, "cat d/f && echo x > d/e/g"));
    assert_eq!(shell(path, "umask 027; mkdir plain; stat -c %a plain"), "750\n");
    assert_eq!(shell(path, "setfacl -k d; : > d/later; umask; stat -c %a d/later").lines().count(), 2);
}
