//! What goes over the wire is what is needed, and it is shared.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use tarn_tests::device::Device;
use tarn_tests::relay::{Mode, Relay};
use tarn_tests::seed::Seed;
use tarn_tests::wait::eventually;

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_secs(60);

#[test]
fn an_edit_of_a_cold_file_moves_what_it_touches() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let mut content = Seed::new(81).bytes(48 * MIB);
    fs::write(a.join("large"), &content).unwrap();
    a.wait().unwrap();

    let relay = Relay::start(server.address()).unwrap();
    let b = Device::at(&relay.url(), "b").unwrap();
    b.mount().unwrap();
    b.await_online(true);
    let moved = || relay.sent_bytes() + relay.received_bytes();
    let (before, patch) = (moved(), [7; 4096]);
    let file = File::options().write(true).open(b.join("large")).unwrap();
    file.write_all_at(&patch, 20 * MIB as u64 + 100).unwrap();
    drop(file);
    b.wait().unwrap();
    let moved = moved() - before;
    assert!(moved < 8 * MIB as u64, "{moved} bytes for an edit of {}", patch.len());

    content[20 * MIB + 100..][..patch.len()].copy_from_slice(&patch);
    a.wait().unwrap();
    eventually(SOON, "the edit arrives", || fs::read(a.join("large")).unwrap() == content);
}

#[test]
fn an_upload_that_is_cut_off_goes_on_where_it_was() {
    let server = crate::server();
    let relay = Relay::start(server.address()).unwrap();
    let a = Device::at(&relay.url(), "a").unwrap();
    a.mount().unwrap();
    a.await_online(true);
    let content = Seed::new(82).bytes(48 * MIB);
    let before = relay.sent_bytes();
    fs::write(a.join("large"), &content).unwrap();
    eventually(SOON, "most of it is sent", || relay.sent_bytes() - before > 40 * MIB as u64);
    relay.set(Mode::Refuse);
    a.await_online(false);
    relay.set(Mode::Pass);
    a.wait().unwrap();
    // What is sent again is less than a request: of three that were cut off, a chunk each, and what had not come through.
    let sent = relay.sent_bytes() - before;
    assert!(sent < 56 * MIB as u64, "{sent} bytes sent for {}", content.len());
    let b = Device::mounted(&server, "b").unwrap();
    assert!(fs::read(b.join("large")).unwrap() == content);
}

#[test]
fn readers_of_many_files_get_their_share_of_the_wire() {
    const READERS: usize = 16;
    const SIZE: usize = 8 * MIB;
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let content = |index: usize| Seed::new(830 + index as u64).bytes(SIZE);
    (0..READERS).for_each(|index| fs::write(a.join(&index.to_string()), content(index)).unwrap());
    a.wait().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    b.await_online(true);
    b.tarn(&["limit", "--down", "16MiB"]).unwrap().ok().unwrap();
    let (begin, is_over) = (Barrier::new(READERS), AtomicBool::new(false));
    let had: Vec<AtomicUsize> = (0..READERS).map(|_| AtomicUsize::new(0)).collect();
    let least = thread::scope(|scope| {
        let read = |index: usize| {
            let (b, begin, had, is_over) = (&b, &begin, &had, &is_over);
            move || {
                let (mut file, mut bytes) = (File::open(b.join(&index.to_string())).unwrap(), vec![0; SIZE]);
                begin.wait();
                for piece in bytes.chunks_mut(MIB / 16) {
                    file.read_exact(piece).unwrap();
                    had[index].fetch_add(piece.len(), Ordering::SeqCst);
                }
                // What the others had when the first came to its end.
                let first = !is_over.swap(true, Ordering::SeqCst);
                let least = first.then(|| had.iter().map(|one| one.load(Ordering::SeqCst)).min().unwrap());
                assert!(bytes == content(index), "file {index} differs");
                least
            }
        };
        let readers: Vec<_> = (0..READERS).map(|index| scope.spawn(read(index))).collect();
        readers.into_iter().filter_map(|reader| reader.join().unwrap()).sum::<usize>()
    });
    assert!(least >= SIZE / 6, "when the first had all of its {SIZE} bytes, another one had {least}");
}
