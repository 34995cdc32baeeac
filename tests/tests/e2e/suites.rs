//! pjdfstest, a suite of POSIX cases that others wrote, on mounts by root and by an ordinary user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use tarn_tests::device::Device;
use tarn_tests::process::is_root;
use tarn_tests::server::Server;
use tarn_tests::suites::{self, Report};
use tarn_tests::user::User;

/// Cases of the suite that a FUSE mount by root can pass.
const PASSED_BY_ROOT: usize = 397;
/// FUSE does not ask a file system for its LINK_MAX.
const LINK_MAX: &str = "link::link_count_max";
/// Cases in which no other user and no device node occurs, and that are run in a mount by an ordinary user.
const PASSED_BY_A_USER: usize = 254;
/// Mounts a file system of its own beside.
const MOUNTS: &str = "CAP_SYS_ADMIN";

fn names(report: &Report) -> Vec<&str> {
    report.skipped.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn pjdfstest_passes_all_that_fuse_can_on_a_mount_by_root() {
    if !is_root() {
        return eprintln!("skipped: pjdfstest acts as several users, which only root may");
    }
    let Some(program) = suites::find("TARN_PJDFSTEST", "pjdfstest") else { return };
    let (server, scratch) = (crate::server(), tempfile::tempdir().unwrap());
    let device = Device::new(&server, "a").unwrap().with_mount_args(&["--posix", "--allow-other"]);
    device.mount().unwrap();
    let place = device.join("s");
    fs::create_dir(&place).unwrap();

    let all = suites::pjdfstest(Command::new(&program), &place, scratch.path(), None).unwrap();
    assert!(all.failed.is_empty(), "{:#?}", all.failed);
    // Files that other cases leave open would keep these from remounting: they are run by themselves.
    let (read_only, skipped): (Vec<_>, Vec<_>) = names(&all).into_iter().partition(|name| name.contains("erofs"));
    assert_eq!(skipped, [LINK_MAX]);
    let remounted = suites::pjdfstest(Command::new(&program), &place, scratch.path(), Some("erofs")).unwrap();
    let writable = Command::new("mount").args(["-i", "-o", "remount,rw"]).arg(device.path()).status().unwrap();
    assert!(writable.success());
    assert_eq!((remounted.failed, remounted.skipped), (Vec::new(), Vec::new()));
    assert_eq!(remounted.passed, read_only.len());
    assert_eq!(all.passed + remounted.passed, PASSED_BY_ROOT);
}

#[test]
fn pjdfstest_passes_what_needs_no_root_on_a_mount_by_an_ordinary_user() {
    let Some(program) = suites::find("TARN_PJDFSTEST", "pjdfstest") else { return };
    let (server, scratch) = (crate::server(), tempfile::tempdir().unwrap());
    let device = ordinary_device(&server);
    let program = device.reach(program).unwrap();
    let place = device.join("s");
    assert!(device.command("mkdir").arg(&place).status().unwrap().success());
    open_to_all(scratch.path());
    let report = suites::pjdfstest(device.command(program), &place, scratch.path(), None).unwrap();
    assert!(report.failed.is_empty(), "{:#?}", report.failed);
    let is_explained =
        |(name, why): &(String, String)| name == LINK_MAX || why.contains("root") || why.contains(MOUNTS);
    let unexplained: Vec<_> = report.skipped.iter().filter(|one| !is_explained(one)).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert_eq!(report.passed, PASSED_BY_A_USER);
}

/// A mounted device without any privilege: the testing user's, or another's if that one is root.
pub(crate) fn ordinary_device(server: &Server) -> Device {
    let device = if is_root() {
        Device::of_user(server, "a", User::ordinary().unwrap()).unwrap()
    } else {
        Device::new(server, "a").unwrap()
    };
    device.mount().unwrap();
    device
}

/// Other users may look into a folder of the test.
pub(crate) fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
}
