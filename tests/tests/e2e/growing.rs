//! A folder that a fresh device does not know yet is listed while its names come in.

use std::collections::BTreeSet;
use std::fs::{self, ReadDir};
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::relay::{Mode, Relay};
use tarn_tests::server::Server;
use tarn_tests::wait::{eventually, timed};

/// The server's first page has a thousand of them.
const NAMES: usize = 2_500;
const FIRST_PAGE: usize = 1_000;
/// No call on what is known takes longer, on a machine that does other things too.
const CALL_MAX: Duration = Duration::from_secs(1);
/// What comes after the first page of a listing.
const NEXT_PAGES: &str = "/children?after=";

fn text(number: usize) -> String {
    format!("name-{number:05}")
}

/// A fresh device that reaches the server through a relay, which holds back all but the first page of a listing, and the tree as
/// a whole.
fn fresh(server: &Server) -> (Relay, Device) {
    let a = Device::mounted(server, "a").unwrap();
    for folder in ["large", "small"] {
        fs::create_dir(a.join(folder)).unwrap();
    }
    (0..NAMES).for_each(|number| fs::write(a.join("large").join(text(number)), "").unwrap());
    fs::write(a.join("small/file"), "content").unwrap();
    a.wait().unwrap();
    let relay = Relay::start(server.address()).unwrap();
    relay.hold("/pull");
    relay.hold(NEXT_PAGES);
    let b = Device::at(&relay.url(), "b").unwrap();
    b.mount().unwrap();
    (relay, b)
}

/// The next names of a listing.
fn next(listing: &mut ReadDir, count: usize) -> io::Result<BTreeSet<String>> {
    listing.take(count).map(|entry| Ok(entry?.file_name().into_string().unwrap())).collect()
}

fn all() -> BTreeSet<String> {
    (0..NAMES).map(text).collect()
}

#[test]
fn the_first_names_are_there_before_the_rest_has_come_and_nothing_else_waits() {
    let server = crate::server();
    let (relay, b) = fresh(&server);
    let large = b.join("large");
    let mut listing = fs::read_dir(&large).unwrap();
    let mut names = next(&mut listing, FIRST_PAGE).unwrap();
    assert_eq!(names, (0..FIRST_PAGE).map(text).collect());
    // Another program waits for the rest meanwhile.
    let mut waiting = Command::new("ls").arg("-U").arg(&large).stdout(Stdio::null()).spawn().unwrap();
    let stat = format!("/proc/{}/stat", waiting.id());
    eventually(Duration::from_secs(30), "a program waits for the rest of the folder", || {
        fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") D ") || stat.contains(") S "))
    });
    let ((), took) = timed(|| {
        assert!(fs::metadata(large.join(text(7))).is_ok(), "a name that has come");
        assert!(!large.join(format!("{}-not", text(7))).exists(), "one that there is not");
        assert_eq!(fs::read_dir(b.join("small")).unwrap().count(), 1);
    });
    assert!(took < CALL_MAX, "what is known was told after {took:?}");
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    // What is made and removed here meanwhile is neither lost nor doubled.
    fs::write(large.join(format!("{}-made", text(7))), "made").unwrap();
    fs::remove_file(large.join(text(8))).unwrap();
    relay.let_go(NEXT_PAGES);
    names.extend(next(&mut listing, FIRST_PAGE).unwrap());
    names.extend(next(&mut listing, NAMES).unwrap());
    let made = format!("{}-made", text(7));
    let mut expected = all();
    expected.insert(made.clone());
    assert_eq!(names, expected, "the listing had told of what was removed then");
    expected.remove(&text(8));
    assert_eq!(next(&mut fs::read_dir(&large).unwrap(), usize::MAX).unwrap(), expected);
    relay.let_go("/pull");
    b.wait().unwrap();
    assert_eq!(next(&mut fs::read_dir(&large).unwrap(), usize::MAX).unwrap(), expected);
    assert_eq!(fs::read_to_string(large.join(made)).unwrap(), "made");
}

#[test]
fn a_connection_that_is_cut_in_the_middle_of_a_listing_is_an_error_and_no_short_listing() {
    let server = crate::server();
    let (relay, b) = fresh(&server);
    let large = b.join("large");
    let mut listing = fs::read_dir(&large).unwrap();
    assert_eq!(next(&mut listing, FIRST_PAGE).unwrap().len(), FIRST_PAGE);
    relay.set(Mode::Refuse);
    let error = next(&mut listing, 1).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENETUNREACH));
    let listed = Command::new("ls").arg("-U").arg(&large).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(!listed.success());
    b.kill_daemon().unwrap();
    b.mount().unwrap();
    let error = fs::read_dir(&large).and_then(|mut listing| next(&mut listing, usize::MAX)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENETUNREACH), "half a listing is none after a crash");
    relay.let_go(NEXT_PAGES);
    relay.set(Mode::Pass);
    eventually(Duration::from_secs(60), "the folder, once the server is back", || {
        fs::read_dir(&large).and_then(|mut listing| next(&mut listing, usize::MAX)).is_ok_and(|names| names == all())
    });
}
