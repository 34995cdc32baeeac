//! A copy of what is not local shares chunks with what it was made of, and moves no data.

use crate::converge;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;
use tarn_tests::device::Device;
use tarn_tests::programs::run;
use tarn_tests::seed::Seed;
use tarn_tests::server::Server;

on_both! {
    a_copy_of_what_is_not_local_moves_no_data:
        a_copy_of_what_is_not_local_moves_no_data_on_sqlite, a_copy_of_what_is_not_local_moves_no_data_on_postgres;
}

const LARGE: u64 = 32 << 20;

fn moved(device: &Device) -> (u64, u64) {
    (device.counter("bytes_fetched").unwrap(), device.counter("chunks_sent").unwrap())
}

/// By itself `cp` reads a file of which blocks are missing, to find holes in it.
fn copy(device: &Device, args: &[&str]) {
    run(Command::new("cp").arg("--sparse=never").args(args).current_dir(device.path()), "").unwrap().ok().unwrap();
}

fn a_copy_of_what_is_not_local_moves_no_data(server: &Server) {
    let a = Device::mounted(server, "a").unwrap();
    let mut seed = Seed::new(41);
    fs::write(a.join("large"), seed.bytes(LARGE as usize)).unwrap();
    fs::create_dir(a.join("folder")).unwrap();
    for (number, len) in [0, 1, 60_000, 70_000, 400_000].into_iter().enumerate() {
        fs::write(a.join(&format!("folder/{number}")), seed.bytes(len)).unwrap();
    }
    fs::write(a.join("replaced"), "what was there before").unwrap();
    a.wait().unwrap();

    let b = Device::mounted(server, "b").unwrap();
    copy(&b, &["large", "copy"]);
    copy(&b, &["-r", "folder", "folder-2"]);
    copy(&b, &["large", "replaced"]);
    assert_eq!(fs::metadata(b.join("copy")).unwrap().len(), LARGE);
    assert_eq!(moved(&b), (0, 0));
    b.kill_daemon().unwrap();
    b.mount().unwrap();
    b.wait().unwrap();
    assert_eq!(moved(&b), (0, 0), "sent after a kill");
    let is_local = |name: &str| fs::metadata(b.join(name)).unwrap().blocks() > 0;
    assert!(!is_local("large") && !is_local("copy"));

    // Copies are files of their own, also while they are not sent yet, and without the server.
    server.kill();
    copy(&b, &["copy", "edited"]);
    copy(&b, &["copy", "shorter"]);
    fs::OpenOptions::new().write(true).open(b.join("shorter")).unwrap().set_len(LARGE - 12_345).unwrap();
    let edited = fs::OpenOptions::new().write(true).open(b.join("edited")).unwrap();
    edited.write_all_at(b"changed here", LARGE / 2).unwrap();
    drop(edited);
    server.restart().unwrap();
    b.wait().unwrap();
    let (fetched, sent) = moved(&b);
    assert!(fetched < LARGE / 2 && sent <= 8, "{fetched} bytes and {sent} chunks for two edits");
    converge(&a, &b);
    let large = fs::read(a.join("large")).unwrap();
    for name in ["copy", "replaced"] {
        assert!(fs::read(a.join(name)).unwrap() == large, "{name}");
    }
    assert!(fs::read(a.join("shorter")).unwrap() == large[..(LARGE - 12_345) as usize]);
    let text = &fs::read(b.join("edited")).unwrap()[(LARGE / 2) as usize..][..12];
    assert_eq!(text, b"changed here");
    let check = server.check().unwrap();
    assert_eq!(check.code, 0, "{}{}", check.stdout, check.stderr);
}
