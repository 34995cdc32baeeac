//! Which program had what fetched is told, and one that only scans never brings a tree here.

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use tarn_tests::device::Device;
use tarn_tests::seed::Seed;

const FILES: usize = 12;
const BYTES: usize = 2 << 20;

fn why(device: &Device) -> Vec<Value> {
    let finished = device.tarn(&["status", "--why", "--json", device.path().to_str().unwrap()]).unwrap().ok().unwrap();
    let told: Value = serde_json::from_str(&finished.stdout).unwrap();
    told["programs"].as_array().unwrap().clone()
}

/// The kernel may read ahead for a program what it reads in order: each file has a head and not much more.
#[test]
fn a_thumbnailer_gets_heads_and_another_program_everything() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let names: Vec<String> = (0..FILES).map(|n| format!("picture{n}.jpg")).collect();
    for (n, name) in names.iter().enumerate() {
        fs::write(a.join(name), Seed::new(n as u64).bytes(BYTES)).unwrap();
    }
    a.wait().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    b.await_online(true);
    let folder = tempfile::tempdir().unwrap();
    let thumbnailer: PathBuf = folder.path().join("tumblerd");
    fs::copy("/bin/cat", &thumbnailer).unwrap();
    fs::set_permissions(&thumbnailer, fs::Permissions::from_mode(0o755)).unwrap();
    let read = |program: &PathBuf| {
        let paths = names.iter().map(|name| b.join(name));
        Command::new(program).args(paths).output().unwrap()
    };
    let scanned = read(&thumbnailer);
    assert!(!scanned.status.success() && scanned.stdout.len() < FILES * BYTES / 2, "{} bytes", scanned.stdout.len());
    let fetched = b.counter("bytes_fetched").unwrap();
    assert!(fetched < (FILES * BYTES / 2) as u64, "{fetched} bytes were fetched");
    let told = why(&b);
    assert_eq!((&told[0]["program"], &told[0]["scans"]), (&thumbnailer.to_str().unwrap().into(), &true.into()));
    assert!(told[0]["refused"].as_u64() >= Some(FILES as u64) && told[0]["ahead_bytes"] == 0, "{told:?}");

    let whole = read(&PathBuf::from("/bin/cat"));
    assert!(whole.status.success() && whole.stdout.len() == FILES * BYTES);
    let told = why(&b);
    let cat = told.iter().find(|row| row["program"].as_str().unwrap().ends_with("/cat")).unwrap();
    assert_eq!(
        (&cat["scans"], &cat["refused"], &cat["last_path"]),
        (&false.into(), &0.into(), &"picture11.jpg".into())
    );
    assert!(cat["asked_bytes"].as_u64().unwrap() + cat["ahead_bytes"].as_u64().unwrap() > (FILES * BYTES / 2) as u64);
    let local = read(&thumbnailer);
    assert!(local.status.success() && local.stdout == whole.stdout, "what is here it gets");
    let table = b.tarn(&["top", b.path().to_str().unwrap()]).unwrap().ok().unwrap().stdout;
    assert!(table.contains("tumblerd (scans)"), "{table}");
}
