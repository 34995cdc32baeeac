//! What earlier versions left on disk opens in this one: `tests/fixtures` has the folders of a server and of a device that
//! was killed with work that it had not sent.

use crate::{converge, verify};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tarn_tests::device::Device;
use tarn_tests::server::{Db, Server};
use tempfile::TempDir;

const LARGE_BYTES: usize = 300_000;

/// Bytes that a packer makes small.
fn large() -> Vec<u8> {
    (0..LARGE_BYTES / 8).flat_map(|n| format!("{n:07}\n").into_bytes()).collect()
}

fn run(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// What a device did while it had its server: files of both sizes, an older version, a second name, a pinned folder.
fn with_the_server(a: &Device) {
    for folder in ["docs", "pinned"] {
        fs::create_dir(a.join(folder)).unwrap();
    }
    for (path, text) in
        [("docs/report.txt", "first"), ("docs/moves", "moved"), ("gone", "gone"), ("pinned/keep", "kept")]
    {
        fs::write(a.join(path), text).unwrap();
    }
    fs::write(a.join("large"), large()).unwrap();
    fs::hard_link(a.join("docs/report.txt"), a.join("second name")).unwrap();
    symlink("docs/report.txt", a.join("link")).unwrap();
    run("setfattr", &["-n", "user.colour", "-v", "blue", a.join("docs/report.txt").to_str().unwrap()]);
    a.wait().unwrap();
    fs::write(a.join("docs/report.txt"), "second").unwrap();
    a.tarn(&["pin", a.join("pinned").to_str().unwrap()]).unwrap().ok().unwrap();
    a.wait().unwrap();
}

/// What it did without.
fn without_the_server(a: &Device) {
    fs::write(a.join("docs/unsent.txt"), "unsent").unwrap();
    fs::write(a.join("docs/.unsent.txt.swp"), "local").unwrap();
    fs::rename(a.join("docs/moves"), a.join("moved")).unwrap();
    fs::remove_file(a.join("gone")).unwrap();
    let file = File::options().write(true).open(a.join("large")).unwrap();
    file.write_all_at(b"changed", 150_000).unwrap();
    file.sync_all().unwrap();
}

/// Makes what a fixture is made of, and packs it.
fn make(packed: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_in(Db::Sqlite, Some(folder.path().join("server"))).unwrap().unwrap();
    let a = Device::mounted(&server, "a").unwrap();
    with_the_server(&a);
    server.stop().unwrap();
    without_the_server(&a);
    a.kill_daemon().unwrap();
    let home = a.home();
    let (parent, name) = (home.parent().unwrap().to_str().unwrap(), home.file_name().unwrap().to_str().unwrap());
    let args = ["-czSf", packed.to_str().unwrap(), "--exclude=*.sock", "--exclude=daemon.*"];
    run("tar", &[&args[..], &["-C", folder.path().to_str().unwrap(), "server", "-C", parent, name]].concat());
}

/// Unpacks a fixture and starts its server and its device, which finds that at its new address.
fn open(packed: &Path) -> (TempDir, Server, Device) {
    let folder = tempfile::tempdir().unwrap();
    run("tar", &["-xzSf", packed.to_str().unwrap(), "-C", folder.path().to_str().unwrap(), "--no-same-owner"]);
    let server = Server::on(folder.path().join("server")).unwrap();
    let device = Device::with_copy_of(&folder.path().join("home"), "a").unwrap();
    let path = device.home().join("credentials.json");
    let mut credentials: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    credentials["server"] = server.url().into();
    fs::write(&path, credentials.to_string()).unwrap();
    device.mount().unwrap();
    (folder, server, device)
}

fn is_complete(device: &Device) {
    let texts = [
        ("docs/report.txt", "second"),
        ("second name", "second"),
        ("link", "second"),
        ("docs/unsent.txt", "unsent"),
        ("moved", "moved"),
        ("pinned/keep", "kept"),
    ];
    for (path, text) in texts {
        assert_eq!(fs::read_to_string(device.join(path)).unwrap(), text, "{path}");
    }
    let mut expected = large();
    expected[150_000..150_007].copy_from_slice(b"changed");
    assert!(fs::read(device.join("large")).unwrap() == expected);
    assert_eq!(fs::metadata(device.join("second name")).unwrap().nlink(), 2);
    assert!(!device.join("gone").exists() && !device.join("docs/moves").exists());
}

fn opens(packed: &Path) {
    let (_folder, server, a) = open(packed);
    is_complete(&a);
    assert_eq!(fs::read(a.join("docs/.unsent.txt.swp")).unwrap(), b"local");
    let pinned = a.tarn(&["status", "--json", a.join("pinned/keep").to_str().unwrap()]).unwrap().ok().unwrap();
    assert!(pinned.stdout.contains(r#""pinned":true"#), "{}", pinned.stdout);
    fs::remove_file(a.join("docs/.unsent.txt.swp")).unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    converge(&a, &b);
    is_complete(&b);
    verify::assert_sound(&a, &[]);
    let checked = server.check().unwrap();
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
}

/// With TARN_MAKE_FIXTURE=FILE it stays there: see tests/fixtures/README.md.
#[test]
fn what_this_version_leaves_opens_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("TARN_MAKE_FIXTURE").map(PathBuf::from);
    let packed = kept.unwrap_or_else(|| folder.path().join("fixture.tar.gz"));
    make(&packed);
    opens(&packed);
}

#[test]
fn what_earlier_versions_left_opens_in_this_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let packed: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "gz")).collect();
    assert!(!packed.is_empty());
    for packed in packed {
        opens(&packed);
    }
}
