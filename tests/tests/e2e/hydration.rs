//! Names come at once, bytes when they are read, and no more of them than that.

use std::fs;
use std::time::Duration;
use tarn_tests::blocks::du_blocks;
use tarn_tests::device::Device;
use tarn_tests::relay::Relay;
use tarn_tests::seed::Seed;
use tarn_tests::server::Server;
use tarn_tests::wait::eventually;

on_both! {
    reading_one_small_file_fetches_one_chunk:
        reading_one_small_file_fetches_one_chunk_on_sqlite, reading_one_small_file_fetches_one_chunk_on_postgres;
}

fn reading_one_small_file_fetches_one_chunk(server: &Server) {
    let a = Device::mounted(server, "a").unwrap();
    let mut seed = Seed::new(3);
    let content = seed.bytes(40_000);
    fs::write(a.join("wanted"), &content).unwrap();
    (0..20).for_each(|n| fs::write(a.join(&format!("other{n}")), seed.bytes(200_000)).unwrap());
    a.wait().unwrap();

    let relay = Relay::start(server.address()).unwrap();
    let b = Device::at(&relay.url(), "b").unwrap();
    b.mount().unwrap();
    assert_eq!(fs::read_dir(b.path()).unwrap().count(), 21);
    assert!(du_blocks(b.path()) < 64 << 10, "content is local before anything was read");
    b.await_online(true);

    let before = relay.received_bytes();
    let fetched = b.counter("chunks_fetched").unwrap();
    assert_eq!(fs::read(b.join("wanted")).unwrap(), content);
    assert_eq!(b.counter("chunks_fetched").unwrap() - fetched, 1);
    let moved = relay.received_bytes() - before;
    assert!(moved <= 2 * content.len() as u64 + (16 << 10), "{moved} bytes for a file of {}", content.len());

    assert_eq!(fs::read(b.join("wanted")).unwrap(), content);
    assert_eq!(b.counter("chunks_fetched").unwrap() - fetched, 1, "read again from the local disk");
}

#[test]
fn a_read_in_the_middle_of_a_large_file_fetches_a_small_part() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let content = Seed::new(4).bytes(32 << 20);
    fs::write(a.join("large"), &content).unwrap();
    a.wait().unwrap();

    let b = Device::mounted(&server, "b").unwrap();
    let file = fs::File::open(b.join("large")).unwrap();
    let mut part = vec![0; 4096];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut part, 20 << 20).unwrap();
    assert_eq!(part, content[20 << 20..(20 << 20) + 4096]);
    let fetched = b.counter("bytes_fetched").unwrap();
    assert!(fetched < 9 << 20, "{fetched} bytes for a read of 4096");
    assert_eq!(fs::read(b.join("large")).unwrap(), content);
}

#[test]
fn reading_folder_after_folder_takes_few_requests() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let mut seed = Seed::new(6);
    let path = |n: usize| format!("folder{}/file{n}", n / 50);
    let contents: Vec<Vec<u8>> = (0..400).map(|_| seed.bytes(3_000)).collect();
    (0..8).for_each(|n| fs::create_dir(a.join(&format!("folder{n}"))).unwrap());
    contents.iter().enumerate().for_each(|(n, content)| fs::write(a.join(&path(n)), content).unwrap());
    a.wait().unwrap();

    let b = Device::mounted(&server, "b").unwrap();
    b.await_online(true);
    let before = server.metric("tarn_fetches_total").unwrap_or(0.0);
    for folder in fs::read_dir(b.path()).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let file = file.unwrap();
            let number: usize = file.file_name().to_string_lossy().trim_start_matches("file").parse().unwrap();
            assert_eq!(fs::read(file.path()).unwrap(), contents[number]);
        }
    }
    let requests = server.metric("tarn_fetches_total").unwrap() - before;
    assert!(requests <= 20.0, "{requests} requests for 400 files");
}

#[test]
fn scattered_reads_of_a_large_file_fetch_a_frame_each() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let content = Seed::new(7).bytes(32 << 20);
    fs::write(a.join("large"), &content).unwrap();
    a.wait().unwrap();

    let b = Device::mounted(&server, "b").unwrap();
    let file = fs::File::open(b.join("large")).unwrap();
    let mut part = vec![0; 4096];
    for index in 1..=40usize {
        let offset = index * 13 % 41 * (768 << 10);
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut part, offset as u64).unwrap();
        assert_eq!(part, content[offset..offset + 4096], "at {offset}");
    }
    let frames = b.counter("frames_fetched").unwrap();
    assert!(frames <= 80, "{frames} frames for 40 reads");
}

#[test]
fn evicted_content_comes_back_and_its_bytes_are_the_same() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let content = Seed::new(5).bytes(3 << 20);
    fs::write(a.join("file"), &content).unwrap();
    a.wait().unwrap();
    a.tarn(&["evict", "--all", &a.path().to_string_lossy()]).unwrap().ok().unwrap();
    assert!(du_blocks(a.path()) < 64 << 10);
    assert_eq!(fs::read(a.join("file")).unwrap(), content);
}

#[test]
fn what_hydrate_brought_is_local_after_a_kill_without_the_server() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let mut seed = Seed::new(8);
    let contents = [3 << 20, 20_000].map(|len| seed.bytes(len));
    contents.iter().enumerate().for_each(|(n, content)| fs::write(a.join(&format!("file{n}")), content).unwrap());
    a.wait().unwrap();

    let b = Device::mounted(&server, "b").unwrap();
    let files: Vec<String> = (0..2).map(|n| b.join(&format!("file{n}")).to_string_lossy().into_owned()).collect();
    b.tarn(&["hydrate", &files[0], &files[1]]).unwrap().ok().unwrap();
    b.kill_daemon().unwrap();
    server.kill();
    b.mount().unwrap();
    for (n, content) in contents.iter().enumerate() {
        assert!(fs::read(b.join(&format!("file{n}"))).unwrap() == *content, "file{n}");
    }
}

#[test]
fn hydrate_does_not_say_done_of_what_finds_no_room() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    fs::write(a.join("large"), Seed::new(9).bytes(48 << 20)).unwrap();
    a.wait().unwrap();

    let b = Device::new(&server, "b").unwrap().with_mount_args(&["--cache-size", "32MiB"]);
    b.mount().unwrap();
    let said = b.tarn(&["hydrate", &b.join("large").to_string_lossy()]).unwrap();
    assert!(said.code != 0 && said.stderr.contains("--cache-size"), "{}{}", said.stdout, said.stderr);
}

#[test]
fn what_was_read_is_local_after_a_restart_without_the_server() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let mut seed = Seed::new(6);
    let files = [("small", seed.bytes(9_000)), ("large", seed.bytes(5 << 20)), ("empty", Vec::new())];
    files.iter().for_each(|(name, bytes)| fs::write(a.join(name), bytes).unwrap());
    a.wait().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    files.iter().for_each(|(name, bytes)| assert!(fs::read(b.join(name)).unwrap() == *bytes));
    b.unmount().unwrap();
    server.kill();
    b.mount().unwrap();
    files.iter().for_each(|(name, bytes)| assert!(fs::read(b.join(name)).unwrap() == *bytes, "{name}"));
}

/// Waits until these bytes are local and shown.
#[track_caller]
fn await_hydrated(device: &Device, name: &str, size: usize) {
    let path = device.join(name);
    let is_local = || {
        let meta = fs::metadata(&path);
        meta.is_ok_and(|meta| {
            meta.len() == size as u64 && std::os::unix::fs::MetadataExt::blocks(&meta) * 512 >= size as u64
        })
    };
    eventually(Duration::from_secs(30), &format!("{name} is local"), is_local);
}

#[test]
fn a_pinned_folder_has_what_comes_to_it_and_what_changes_in_it() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    let mut seed = Seed::new(7);
    fs::create_dir_all(a.join("pinned/below")).unwrap();
    fs::write(a.join("pinned/old"), seed.bytes(300_000)).unwrap();
    fs::write(a.join("other"), seed.bytes(100_000)).unwrap();
    a.wait().unwrap();
    let b = Device::mounted(&server, "b").unwrap();
    b.tarn(&["pin", &b.join("pinned").to_string_lossy()]).unwrap().ok().unwrap();

    let (new, changed, moved) = (seed.bytes(200_000), seed.bytes(400_000), seed.bytes(50_000));
    fs::write(a.join("pinned/below/new"), &new).unwrap();
    fs::write(a.join("pinned/old"), &changed).unwrap();
    fs::create_dir(a.join("folder")).unwrap();
    fs::write(a.join("folder/moved"), &moved).unwrap();
    fs::rename(a.join("folder"), a.join("pinned/folder")).unwrap();
    let all = [("pinned/below/new", &new), ("pinned/old", &changed), ("pinned/folder/moved", &moved)];
    all.iter().for_each(|(name, bytes)| await_hydrated(&b, name, bytes.len()));
    let own = seed.bytes(90_000);
    fs::write(b.join("pinned/own"), &own).unwrap();
    b.wait().unwrap();

    b.unmount().unwrap();
    b.mount().unwrap();
    b.tarn(&["evict", "--all", &b.path().to_string_lossy()]).unwrap().ok().unwrap();
    server.kill();
    for (name, bytes) in all.into_iter().chain([("pinned/own", &own)]) {
        assert!(fs::read(b.join(name)).unwrap() == *bytes, "{name}");
    }
    assert_eq!(du_blocks(&b.join("other")), 0, "what is not pinned was never brought");
}

#[test]
fn statfs_tells_of_space_and_nodes() {
    let server = crate::server();
    let a = Device::mounted(&server, "a").unwrap();
    (0..20).for_each(|n| fs::write(a.join(&n.to_string()), "x").unwrap());
    let said = statvfs(a.path());
    assert!(said.f_blocks > 0 && said.f_bavail > 0 && said.f_bavail <= said.f_blocks);
    assert!(said.f_files - said.f_ffree >= 20, "{} of {} nodes free", said.f_ffree, said.f_files);
    assert!(said.f_ffree > 1000);
}

fn statvfs(path: &std::path::Path) -> libc::statvfs {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut said = std::mem::MaybeUninit::uninit();
    // SAFETY: the path ends with NUL and the structure is as long as the call fills it.
    unsafe {
        assert_eq!(libc::statvfs(path.as_ptr(), said.as_mut_ptr()), 0);
        said.assume_init()
    }
}
