//! An account with a quota: what does not fit waits here and is told, everything else goes on, and `df` says how it is.

use crate::converge;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::seed::Seed;
use tarn_tests::server::Server;
use tarn_tests::wait::eventually;

const QUOTA: u64 = 2_000_000;
/// `df` is asked once a second, and a larger quota is looked for every ten.
const SOON: Duration = Duration::from_secs(60);

on_both! {
    a_full_account_takes_all_that_fits_and_the_rest_when_there_is_room:
        a_full_account_takes_all_that_fits_and_the_rest_when_there_is_room_on_sqlite,
        a_full_account_takes_all_that_fits_and_the_rest_when_there_is_room_on_postgres;
}

/// Bytes in all, and bytes free, as `df` has them.
fn df(path: &Path) -> (u64, u64) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: a structure of integers; all zeros is one.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: both point to what they should, and live on.
    assert_eq!(unsafe { libc::statvfs(path.as_ptr(), &raw mut stat) }, 0);
    (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize)
}

/// Whether numbers are the same but for the size of a block.
fn about(bytes: u64, expected: u64) -> bool {
    bytes.abs_diff(expected) <= 4_096
}

fn a_full_account_takes_all_that_fits_and_the_rest_when_there_is_room(server: &Server) {
    let said = server.set_quota(&QUOTA.to_string()).unwrap();
    assert!(said.contains("uses 0 bytes"), "{said}");
    let (a, b) = (Device::mounted(server, "a").unwrap(), Device::mounted(server, "b").unwrap());
    let mut seed = Seed::new(11);
    fs::create_dir(a.join("d")).unwrap();
    fs::write(a.join("d/first"), seed.bytes(500_000)).unwrap();
    fs::write(a.join("old"), seed.bytes(300_000)).unwrap();
    a.wait().unwrap();
    eventually(SOON, "df tells of the quota", || {
        let (total, free) = df(a.path());
        about(total, QUOTA) && about(free, QUOTA - 800_000)
    });

    // Far too large; then small changes behind it.
    let large = seed.bytes(5_000_000);
    fs::write(a.join("large"), &large).unwrap();
    fs::write(a.join("d/second"), seed.bytes(100_000)).unwrap();
    fs::rename(a.join("d/first"), a.join("renamed")).unwrap();
    fs::remove_file(a.join("old")).unwrap();
    let is_there = |name: &str| b.join(name).exists();
    eventually(SOON, "what fits goes on", || is_there("renamed") && is_there("d/second") && !is_there("old"));
    assert!(!is_there("large"));
    let waited = a.tarn(&["wait", a.path().to_str().unwrap(), "--timeout", "60"]).unwrap();
    assert!(waited.code == 1 && waited.stderr.contains("the quota is used up"), "{waited:?}");
    let status = a.status().unwrap();
    assert_eq!((&status["held"], &status["quota"]["limit_bytes"]), (&1.into(), &QUOTA.into()), "{status}");
    eventually(SOON, "df says that nothing is left", || df(a.path()).1 == 0);
    assert_eq!(fs::read(a.join("large")).unwrap(), large, "here it is as it was written");
    // It is there after a restart of the daemon, too.
    a.kill_daemon().unwrap();
    a.mount().unwrap();
    assert_eq!(fs::read(a.join("large")).unwrap(), large);

    // The other device fills what is left before this one knows.
    let rest = seed.bytes(1_300_000);
    fs::write(b.join("rest"), &rest).unwrap();
    b.wait().unwrap();
    fs::write(a.join("late"), seed.bytes(200_000)).unwrap();
    fs::write(a.join("d/empty"), "").unwrap();
    eventually(SOON, "what needs no room goes on", || is_there("d/empty"));
    server.check().unwrap().ok().unwrap();

    server.set_quota("20MB").unwrap();
    eventually(SOON, "with a larger quota all of it goes", || a.wait().is_ok());
    converge(&a, &b);
    assert_eq!(fs::read(b.join("large")).unwrap(), large);
    eventually(SOON, "df tells of the larger one", || about(df(b.path()).0, 20_000_000));
    server.set_quota("none").unwrap();
    server.check().unwrap().ok().unwrap();
}
