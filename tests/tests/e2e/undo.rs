//! `tarn undo --device`: what one device did is taken back everywhere, and nothing that others did.

use crate::{CONVERGENCE, await_tree, converge, copy};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tarn_tests::device::Device;
use tarn_tests::programs::Finished;
use tarn_tests::server::Server;
use tarn_tests::wait::eventually;

on_both! {
    what_a_device_did_is_taken_back: what_a_device_did_is_taken_back_on_sqlite,
        what_a_device_did_is_taken_back_on_postgres;
    what_others_built_on_stays: what_others_built_on_stays_on_sqlite, what_others_built_on_stays_on_postgres;
}

/// A moment by the server's clock between what was done and what will be: the server dates what arrives.
pub fn moment() -> String {
    let now_secs = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let next = now_secs() + 1;
    eventually(Duration::from_secs(5), "the next second", || now_secs() >= next);
    let said = Command::new("date").args(["-u", "-d", &format!("@{next}"), "+%Y-%m-%dT%H:%M:%SZ"]).output();
    String::from_utf8(said.unwrap().stdout).unwrap().trim().to_owned()
}

fn undo(asks: &Device, device: &str, since: &str) -> Finished {
    asks.tarn(&["undo", "--device", device, "--since", since]).unwrap()
}

fn what_a_device_did_is_taken_back(server: &Server) {
    let (a, b) = (Device::mounted(server, "a").unwrap(), Device::mounted(server, "b").unwrap());
    fs::create_dir_all(a.join("project/deep/deeper")).unwrap();
    fs::write(a.join("project/plan"), "the plan").unwrap();
    fs::write(a.join("project/deep/data"), vec![3; 200_000]).unwrap();
    fs::write(a.join("project/deep/deeper/more"), "more").unwrap();
    fs::write(a.join("letter"), "dear ada").unwrap();
    fs::write(a.join("moved"), "moved").unwrap();
    fs::hard_link(a.join("letter"), a.join("project/letter too")).unwrap();
    fs::set_permissions(a.join("moved"), fs::Permissions::from_mode(0o640)).unwrap();
    converge(&a, &b);
    let before = tempfile::tempdir().unwrap();
    copy(a.path(), before.path());
    let since = moment();

    fs::write(b.join("letter"), "encrypted").unwrap();
    fs::write(b.join("letter"), "encrypted twice").unwrap();
    fs::rename(b.join("moved"), b.join("project/elsewhere")).unwrap();
    fs::rename(b.join("project/elsewhere"), b.join("elsewhere")).unwrap();
    fs::set_permissions(b.join("elsewhere"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(b.join("project/letter too")).unwrap();
    fs::remove_dir_all(b.join("project/deep")).unwrap();
    fs::rename(b.join("project"), b.join("renamed")).unwrap();
    fs::create_dir_all(b.join("junk/inner")).unwrap();
    fs::write(b.join("junk/inner/ransom"), "pay").unwrap();
    // In the way of what was there.
    fs::write(b.join("project"), "a file now").unwrap();
    converge(&a, &b);

    let done = undo(&a, "b", &since);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    await_tree(&a, before.path());
    await_tree(&b, before.path());
    converge(&a, &b);
    let again = undo(&a, "b", &since);
    assert!(again.code == 0 && again.stdout.contains("nothing to take back"), "{}", again.stdout);
    let check = server.check().unwrap();
    assert_eq!(check.code, 0, "{}{}", check.stdout, check.stderr);
}

fn what_others_built_on_stays(server: &Server) {
    let (a, b) = (Device::mounted(server, "a").unwrap(), Device::mounted(server, "b").unwrap());
    fs::write(a.join("shared"), "first").unwrap();
    fs::write(a.join("mine"), "mine").unwrap();
    converge(&a, &b);
    let since = moment();
    fs::write(b.join("shared"), "second, by b").unwrap();
    fs::create_dir(b.join("folder")).unwrap();
    fs::write(b.join("folder/by b"), "b").unwrap();
    fs::write(b.join("made by b"), "b").unwrap();
    converge(&a, &b);
    fs::write(a.join("shared"), "third, by a upon b's").unwrap();
    fs::write(a.join("folder/by a"), "a").unwrap();
    fs::write(a.join("made by b"), "and a").unwrap();
    fs::write(a.join("mine"), "mine, changed").unwrap();
    converge(&a, &b);

    let done = undo(&a, "b", &since);
    assert!(done.code == 1 && done.stderr.contains("2 changes not taken back"), "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("1 file written by others since"), "{}", done.stdout);
    eventually(CONVERGENCE, "what b alone made is gone", || !b.join("folder/by b").exists());
    converge(&a, &b);
    let texts = ["shared", "folder/by a", "made by b", "mine"].map(|name| fs::read_to_string(b.join(name)).unwrap());
    assert_eq!(texts, ["third, by a upon b's", "a", "and a", "mine, changed"]);

    let listed = a.tarn(&["conflicts", "--json"]).unwrap();
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let conflict = &listed["conflicts"][0];
    assert_eq!(conflict["path"], "shared", "{listed}");
    let id = conflict["id"].as_str().unwrap();
    let resolved = a.tarn(&["conflicts", "--id", id, "--theirs"]).unwrap();
    assert_eq!(resolved.code, 0, "{}{}", resolved.stdout, resolved.stderr);
    eventually(CONVERGENCE, "what it was before is back", || {
        [&a, &b].iter().all(|device| fs::read_to_string(device.join("shared")).is_ok_and(|text| text == "first"))
    });
    let unknown = undo(&a, "nobody", &since);
    assert!(unknown.code == 1 && unknown.stderr.contains("tarn devices"), "{}", unknown.stderr);
}
