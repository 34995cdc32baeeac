//! Versions that two devices wrote without knowing of each other: listed, compared, and resolved from any device, once.

use crate::converge;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use tarn_tests::device::Device;
use tarn_tests::programs::Finished;
use tarn_tests::server::Server;
use tarn_tests::wait::within;

const NAME: &str = "plan.txt";

/// Two devices that wrote the same file without the server: what `a` wrote stayed, because it was there first.
fn contend(server: &Server, a: &Device, b: &Device) {
    write_apart(server, a, b, NAME, ["one\ntwo\n", "one\ntwo by a\n", "one\ntwo by b\n"]);
    assert_eq!(text(a, NAME), "one\ntwo by a\n");
}

/// Both write a file that both had, `a` first, and neither knows of the other.
fn write_apart(server: &Server, a: &Device, b: &Device, name: &str, [base, one, other]: [&str; 3]) {
    fs::write(a.join(name), base).unwrap();
    converge(a, b);
    server.kill();
    fs::write(a.join(name), one).unwrap();
    fs::write(b.join(name), other).unwrap();
    unmount_now(b);
    server.restart().unwrap();
    a.wait().unwrap();
    b.mount().unwrap();
    converge(a, b);
}

fn unmount_now(device: &Device) {
    device.tarn(&["unmount", &device.path().to_string_lossy(), "--now"]).unwrap().ok().unwrap();
}

fn text(device: &Device, name: &str) -> String {
    fs::read_to_string(device.join(name)).unwrap()
}

fn listed(device: &Device) -> Vec<Value> {
    let listed = device.tarn(&["conflicts", "--json"]).unwrap().ok().unwrap();
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    listed["conflicts"].as_array().unwrap().clone()
}

/// The other version's name; waits until the device knows of the one conflict that there is.
fn sibling(device: &Device) -> String {
    within(crate::CONVERGENCE, || listed(device).len() == 1);
    listed(device)[0]["sibling"].as_str().unwrap().to_owned()
}

fn resolve(device: &Device, name: &str, choice: &[&str]) -> Finished {
    let path = device.join(name).to_string_lossy().into_owned();
    device.tarn(&[&["conflicts", &path], choice].concat()).unwrap()
}

/// Until the devices agree that nothing is contended and that these are the files.
fn settled(devices: &[&Device], names: &[&str]) {
    within(crate::CONVERGENCE, || devices.iter().all(|device| listed(device).is_empty()));
    for device in devices {
        let here = || {
            let mut here: Vec<String> =
                fs::read_dir(device.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            here.sort();
            here
        };
        within(crate::CONVERGENCE, || here() == names);
    }
}

#[test]
fn a_third_device_shows_the_difference_and_takes_the_other_version() {
    let server = crate::server();
    let [a, b, c] = ["a", "b", "c"].map(|name| Device::mounted(&server, name).unwrap());
    contend(&server, &a, &b);
    let other = sibling(&c);
    let shown = c.tarn(&["conflicts", "--diff"]).unwrap().ok().unwrap().stdout;
    for line in ["also written by b", "-two by a", "+two by b", " one"] {
        assert!(shown.contains(line), "{line:?} in {shown}");
    }
    // The other version names the conflict as well as the file does.
    let said = resolve(&c, &other, &["--theirs"]).ok().unwrap().stdout;
    assert_eq!(said, format!("{NAME}: the version of b is kept\n"));
    settled(&[&a, &b, &c], &[NAME]);
    for device in [&a, &b, &c] {
        within(crate::CONVERGENCE, || text(device, NAME) == "one\ntwo by b\n");
    }
    let again = resolve(&a, NAME, &["--mine"]);
    assert_eq!((again.code, again.stderr.contains("is in no open conflict")), (1, true), "{again:?}");
    // Nobody's copy is left behind: what is written now is no conflict.
    fs::write(b.join(NAME), "three\n").unwrap();
    converge(&a, &b);
    settled(&[&a, &b, &c], &[NAME]);
    assert_eq!(text(&a, NAME), "three\n");
}

#[test]
fn mine_is_what_this_device_wrote_whether_it_stayed_or_not() {
    let server = crate::server();
    let [a, b] = ["a", "b"].map(|name| Device::mounted(&server, name).unwrap());
    contend(&server, &a, &b);
    resolve(&b, NAME, &["--mine"]).ok().unwrap();
    settled(&[&a, &b], &[NAME]);
    within(crate::CONVERGENCE, || text(&a, NAME) == "one\ntwo by b\n");
    fs::remove_file(a.join(NAME)).unwrap();
    converge(&a, &b);
    contend(&server, &a, &b);
    resolve(&a, NAME, &["--mine"]).ok().unwrap();
    settled(&[&a, &b], &[NAME]);
    assert_eq!(text(&b, NAME), "one\ntwo by a\n");
}

#[test]
fn both_versions_stay_as_files_of_their_own() {
    let server = crate::server();
    let [a, b] = ["a", "b"].map(|name| Device::mounted(&server, name).unwrap());
    contend(&server, &a, &b);
    let other = sibling(&a);
    resolve(&a, NAME, &["--both"]).ok().unwrap();
    settled(&[&a, &b], &[&other, NAME]);
    assert_eq!((text(&b, NAME).as_str(), text(&b, &other).as_str()), ("one\ntwo by a\n", "one\ntwo by b\n"));
}

#[test]
fn what_a_person_merged_replaces_both() {
    let server = crate::server();
    let [a, b] = ["a", "b"].map(|name| Device::mounted(&server, name).unwrap());
    contend(&server, &a, &b);
    let dir = tempfile::tempdir().unwrap();
    let merged: PathBuf = dir.path().join("merged");
    fs::write(&merged, "one\ntwo by a and b\n").unwrap();
    let absent = resolve(&b, NAME, &["--merged", "/nowhere"]);
    assert_eq!((absent.code, listed(&b).len()), (1, 1), "{absent:?}");
    resolve(&b, NAME, &["--merged", merged.to_str().unwrap()]).ok().unwrap();
    settled(&[&a, &b], &[NAME]);
    for device in [&a, &b] {
        within(crate::CONVERGENCE, || text(device, NAME) == "one\ntwo by a and b\n");
    }
}

const BASE: &str = "one\ntwo\nthree\nfour\nfive\n";
const TOP: &str = "ONE\ntwo\nthree\nfour\nfive\n";
const BOTTOM: &str = "one\ntwo\nthree\nfour\nFIVE\nsix";

#[test]
fn changes_of_one_text_in_different_places_are_merged() {
    let server = crate::server();
    let [a, b, c] = ["a", "b", "c"].map(|name| Device::mounted(&server, name).unwrap());
    write_apart(&server, &a, &b, "notes.md", [BASE, TOP, BOTTOM]);
    for device in [&a, &b, &c] {
        let is_merged = || {
            let here = fs::read_to_string(device.join("notes.md"));
            here.is_ok_and(|text| text == "ONE\ntwo\nthree\nfour\nFIVE\nsix")
        };
        within(crate::CONVERGENCE, is_merged);
    }
    settled(&[&a, &b, &c], &["notes.md"]);
    // It has seen both: what is written on top of it is no conflict.
    fs::write(b.join("notes.md"), "b\n").unwrap();
    converge(&a, &b);
    fs::write(a.join("notes.md"), "a\n").unwrap();
    converge(&a, &b);
    settled(&[&a, &b, &c], &["notes.md"]);
}

#[test]
fn what_is_no_plain_text_or_not_wanted_is_not_merged() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let b = Device::new(&server, "b").unwrap().with_mount_args(&["--no-merge"]);
    b.mount().unwrap();
    write_apart(&server, &a, &b, "notes.md", [BASE, TOP, BOTTOM]);
    write_apart(&server, &b, &a, "table.csv", [BASE, TOP, BOTTOM]);
    within(crate::CONVERGENCE, || listed(&a).len() == 2);
    // The one who might merge has looked at both: this one comes after them, and is merged.
    write_apart(&server, &b, &a, "later.md", [BASE, TOP, BOTTOM]);
    within(crate::CONVERGENCE, || text(&b, "later.md") == "ONE\ntwo\nthree\nfour\nFIVE\nsix");
    within(crate::CONVERGENCE, || listed(&a).len() == 2 && listed(&b).len() == 2);
    assert_eq!((text(&a, "notes.md").as_str(), text(&a, "table.csv").as_str()), (TOP, TOP));
}

/// The same while both are mounted: the daemon of `b` sleeps until what `a` wrote is there.
fn write_before_it_wakes(server: &Server, a: &Device, b: &Device, name: &str, [base, one, other]: [&str; 3]) {
    fs::write(a.join(name), base).unwrap();
    converge(a, b);
    server.kill();
    fs::write(a.join(name), one).unwrap();
    fs::write(b.join(name), other).unwrap();
    let daemon = b.daemon().unwrap();
    daemon.freeze();
    server.restart().unwrap();
    a.wait().unwrap();
    daemon.thaw();
    converge(a, b);
}

#[test]
fn a_conflict_that_nothing_came_of_is_not_asked_for_with_each_one_that_follows() {
    let server = crate::server();
    let [a, b] = ["a", "b"].map(|name| Device::mounted(&server, name).unwrap());
    let histories = || server.log().lines().filter(|line| line.contains("/versions\" status=200")).count();
    write_before_it_wakes(&server, &a, &b, NAME, ["one\ntwo\n", "one\ntwo by a\n", "one\ntwo by b\n"]);
    within(crate::CONVERGENCE, || histories() == 1);
    // The third is merged when the look that found the second one is over.
    for (name, asked) in [("second.md", 2), ("third.md", 3)] {
        write_before_it_wakes(&server, &a, &b, name, [BASE, TOP, BOTTOM]);
        within(crate::CONVERGENCE, || text(&b, name) == "ONE\ntwo\nthree\nfour\nFIVE\nsix");
        assert_eq!(histories(), asked, "{name}");
    }
    assert_eq!(listed(&b).len(), 1);
}

#[test]
fn of_two_devices_that_resolve_at_once_one_is_told_what_the_other_chose() {
    let server = crate::server();
    let [a, b] = ["a", "b"].map(|name| Device::mounted(&server, name).unwrap());
    contend(&server, &a, &b);
    let (one, two) = std::thread::scope(|scope| {
        let ask = |device| scope.spawn(move || resolve(device, NAME, &["--mine"]));
        let (one, two) = (ask(&a), ask(&b));
        (one.join().unwrap(), two.join().unwrap())
    });
    assert_eq!(one.code + two.code, 1, "{one:?} {two:?}");
    settled(&[&a, &b], &[NAME]);
    let expected = if one.code == 0 { "one\ntwo by a\n" } else { "one\ntwo by b\n" };
    for device in [&a, &b] {
        within(crate::CONVERGENCE, || text(device, NAME) == expected);
    }
}

#[test]
fn a_thousand_autosaves_of_two_devices_make_one_sibling_each_at_most() {
    let server = crate::server();
    let [a, b] = ["a", "b"].map(|name| Device::mounted(&server, name).unwrap());
    contend(&server, &a, &b);
    std::thread::scope(|scope| {
        for device in [&a, &b] {
            scope.spawn(move || {
                for n in 0..500 {
                    fs::write(device.join(NAME), format!("{n} by {}\n", device.name())).unwrap();
                }
            });
        }
    });
    converge(&a, &b);
    let open = listed(&a);
    let of = |name: &str| open.iter().filter(|conflict| conflict["device"] == name).count();
    assert!(of("a") <= 1 && of("b") == 1, "{open:?}");
    assert_eq!(fs::read_dir(a.path()).unwrap().count(), 1 + open.len(), "{open:?}");
    within(crate::CONVERGENCE, || listed(&b).len() == open.len());
}
