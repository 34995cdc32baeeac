//! What POSIX programs find on one device they find on the other.

use crate::converge;
use std::process::Command;
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::process::is_root;
use tarn_tests::programs::{Finished, run};
use tarn_tests::server::Server;
use tarn_tests::wait::eventually;

/// A device that shows and enforces stored owners.
fn posix_device(server: &Server, name: &str) -> Device {
    let device = Device::new(server, name).unwrap().with_mount_args(&["--posix"]);
    device.mount().unwrap();
    device
}

/// What a shell in the mount did.
fn shell(device: &Device, script: &str) -> Finished {
    run(Command::new("sh").args(["-ec", script]).current_dir(device.path()), "").unwrap()
}

/// Owners, modes, ACLs, flags and extended attributes of everything.
const DESCRIBE: &str = "export LC_ALL=C; find . | sort | xargs stat -c '%n %a %u %g %F'; getfacl -Rnp . | sort; \
    lsattr -R . | tr -s ' ' | sort; find . ! -type l | sort | xargs getfattr -m '^user' -de hex";

/// Waits until both describe what they show in the same words, and gives them.
#[track_caller]
/// `--posix` enforces that the top folder of a new account is root's.
fn may_write_with_posix() -> bool {
    is_root() || {
        eprintln!("skipped: only root may write into the top folder of a new account with --posix");
        false
    }
}

fn same_description(one: &Device, other: &Device) -> String {
    let mut said = String::new();
    eventually(Duration::from_secs(30), "the same attributes on both devices", || {
        said = shell(one, DESCRIBE).stdout;
        said == shell(other, DESCRIBE).stdout
    });
    said
}

#[test]
fn acls_flags_and_extended_attributes_arrive_on_the_other_device() {
    if !may_write_with_posix() {
        return;
    }
    let server = crate::server();
    let (a, b) = (posix_device(&server, "a"), posix_device(&server, "b"));
    let make = "mkdir d; setfacl -d -m u:1:rwx,o::- d; echo text > d/f; mkdir d/e; chattr +dA d/f d/e; \
        setfacl -m g:65534:r d/f; setfattr -n user.colour -v red d/f; ln -s f d/s; chmod 750 d";
    shell(&a, make).ok().unwrap();
    shell(&a, "chown 1:65534 d/f; mkfifo d/p; mknod d/null c 1 3; chattr +a d/e").ok().unwrap();
    converge(&a, &b);
    let said = same_description(&a, &b);
    assert!(
        said.contains("default:user:1:rwx") && said.contains("group:65534:r--") && said.contains("0x726564"),
        "{said}"
    );

    shell(&b, "chmod 600 d/f; setfacl -k d").ok().unwrap();
    converge(&a, &b);
    let said = same_description(&a, &b);
    assert!(said.contains("mask::---") && !said.contains("# file: ./d\ndefault"), "{said}");
    // What is protected must not keep the test's folders.
    shell(&a, "chattr -R -a d/e").ok().unwrap();
}

#[test]
fn a_mount_that_shows_one_owner_has_no_acls_and_leaves_those_of_others_right() {
    if !may_write_with_posix() {
        return;
    }
    let server = crate::server();
    let (a, plain) = (posix_device(&server, "a"), Device::mounted(&server, "plain").unwrap());
    shell(&a, "echo text > f; chmod 640 f; setfacl -m u:1:rw f").ok().unwrap();
    converge(&a, &plain);
    let refused = shell(&plain, "setfacl -m u:1:rw f");
    assert!(refused.code != 0 && refused.stderr.contains("Operation not supported"), "{refused:?}");
    assert_eq!(shell(&plain, "getfacl -cn f; getfattr -m - f").stdout, "user::rw-\ngroup::rw-\nother::---\n\n");
    shell(&plain, "chmod 640 f").ok().unwrap();
    converge(&a, &plain);
    assert_eq!(shell(&a, "getfacl -cnE f").stdout, "user::rw-\nuser:1:rw-\ngroup::r--\nmask::r--\nother::---\n\n");
}

#[test]
fn inode_numbers_stay_over_remounts_and_kills() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    shell(&a, "mkdir -p d/e; for i in 1 2 3; do echo $i > d/$i; done; ln d/1 d/e/link; ln -s 1 d/s; mkfifo d/p")
        .ok()
        .unwrap();
    let numbers = || shell(&a, "find . -printf '%p %i\\n' | sort").stdout;
    let before = numbers();
    assert_eq!(before.lines().count(), 9);
    a.unmount().unwrap();
    a.mount().unwrap();
    assert_eq!(numbers(), before);
    shell(&a, "echo more > d/more; rm d/more").ok().unwrap();
    a.kill_daemon().unwrap();
    a.mount().unwrap();
    assert_eq!(numbers(), before);
}
