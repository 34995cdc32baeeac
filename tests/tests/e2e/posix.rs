//! What POSIX programs find on one device they find on the other.

use crate::converge;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
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
const DESCRIBE: &str = "export LC_ALL=C; find . | sort | xargs stat -c '%n %a %u %g %F %t:%T'; getfacl -Rnp . | sort; \
    lsattr -R . | tr -s ' ' | sort; find . ! -type l | sort | xargs getfattr -m '^(user|trusted|security)[.]' -de hex";

/// `--posix` enforces that the top folder of a new account is root's.
fn may_write_with_posix() -> bool {
    is_root() || {
        eprintln!("skipped: only root may write into the top folder of a new account with --posix");
        false
    }
}

/// Waits until both describe what they show in the same words, and gives them.
#[track_caller]
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
        setfacl -m g:65534:r d/f; setfattr -n user.colour -v red d/f; ln -s f d/s; chmod 750 d; \
        setfattr -n trusted.seal -v wax d/f; setfattr -n security.label -v quiet d/f; setfattr -n user.kind -v box d";
    shell(&a, make).ok().unwrap();
    shell(&a, "chown 1:65534 d/f; mkfifo d/p; mknod d/null c 1 3; chattr +a d/e").ok().unwrap();
    converge(&a, &b);
    let said = same_description(&a, &b);
    assert!(
        said.contains("default:user:1:rwx")
            && said.contains("group:65534:r--")
            && said.contains("user.colour=0x726564"),
        "{said}"
    );

    for kept in ["trusted.seal=0x776178", "security.label=0x7175696574", "user.kind=0x626f78", "special file 1:3"] {
        assert!(said.contains(kept), "{kept}: {said}");
    }

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
fn links_special_files_and_times_arrive_on_the_other_device() {
    let server = crate::server();
    let (a, b) = (Device::mounted(&server, "a").unwrap(), Device::mounted(&server, "b").unwrap());
    let make = "mkdir d d/e; echo one > d/f; ln d/f d/e/g; ln d/f h; ln -s ../nowhere d/s; ln -s d link; mkfifo -m 640 d/p; \
        touch -hd '1901-12-13 20:45:52.000000001 UTC' d/f; touch -hd '1969-12-31 23:59:59.999999999 UTC' d/p; \
        touch -hd '2400-02-29 01:02:03.456789012 UTC' d/s; truncate -s 40M d/sparse";
    shell(&a, make).ok().unwrap();
    let socket = std::os::unix::net::UnixListener::bind(a.join("d/socket")).unwrap();
    converge(&a, &b);
    let look = "export LC_ALL=C TZ=UTC; stat -c '%n %F %h %s %y' d/f d/e/g h d/p d/s d/sparse d/socket; readlink d/s link; \
        test d/f -ef d/e/g && test d/f -ef h && echo one file";
    let mut said = String::new();
    eventually(Duration::from_secs(30), "the same of both devices", || {
        said = shell(&b, look).ok().unwrap().stdout;
        said == shell(&a, look).ok().unwrap().stdout
    });
    for part in [
        "d/e/g regular file 3 4 1901-12-13 20:45:52.000000001",
        "d/p fifo 1 0 1969-12-31 23:59:59.999999999",
        "one file",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for part in ["d/s symbolic link 1 10 2400-02-29 01:02:03.456789012", "d/socket socket 1", "../nowhere\nd\n"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    drop(socket);
}

#[test]
fn a_name_of_255_bytes_and_names_of_any_byte_arrive_on_the_other_device() {
    let server = crate::server();
    let (a, b) = (Device::mounted(&server, "a").unwrap(), Device::mounted(&server, "b").unwrap());
    let name = |bytes: &[u8]| a.path().join(OsStr::from_bytes(bytes));
    let all: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    // In names of their own, with another letter (one of them is a dot), and all in one of 254 bytes.
    all.iter().for_each(|byte| fs::write(name(&[*byte, b'x']), [*byte]).unwrap());
    fs::write(name(&all), &all).unwrap();
    fs::create_dir(name(&[0xff; 255])).unwrap();
    fs::write(name(&[0xff; 255]).join(OsStr::from_bytes(&[b'\n'; 255])), b"deep").unwrap();
    fs::rename(name(&all), name(&[0x80; 255])).unwrap();
    assert_eq!(fs::write(name(&[b'n'; 256]), b"").unwrap_err().raw_os_error(), Some(libc::ENAMETOOLONG));
    converge(&a, &b);
    assert_eq!(fs::read_dir(b.path()).unwrap().count(), 256);
    assert_eq!(fs::read(b.path().join(OsStr::from_bytes(&[0x80; 255]))).unwrap(), all);
    fs::remove_file(b.path().join(OsStr::from_bytes(&[0x80; 255]))).unwrap();
    converge(&a, &b);
}

#[test]
fn writing_and_allocating_by_others_clears_setuid_and_setgid() {
    if !may_write_with_posix() {
        return;
    }
    let server = crate::server();
    let a = Device::new(&server, "a").unwrap().with_mount_args(&["--posix", "--allow-other"]);
    a.mount().unwrap();
    let ways = ["echo more >> f", "fallocate -l 100 f", "fallocate -pl 2 f", "truncate -s 1 f", "echo over > f"];
    for way in ways {
        let become_other = "setpriv --reuid 65534 --regid 65534 --clear-groups sh -ec";
        let script = format!(
            "mkdir -pm 777 open; chmod 777 open; cd open; echo text > f; chmod 6777 f; stat -c %a f; {become_other} '{way}'; stat -c %a f; rm f"
        );
        assert_eq!(shell(&a, &script).ok().unwrap().stdout, "6777\n777\n", "{way}");
    }
    let by_root = shell(&a, "cd open; echo text > f; chmod 6777 f; echo more >> f; stat -c %a f").ok().unwrap();
    assert_eq!(by_root.stdout, "6777\n", "root keeps them");
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
