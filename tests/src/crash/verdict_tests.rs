//! The judge can say no.

use super::*;

fn tree(files: &[(&str, &[u8])]) -> Tree {
    files.iter().map(|(path, bytes)| ((*path).to_owned(), Found::File(bytes.to_vec()))).collect()
}

fn create(path: &str) -> Call {
    Call::Create(path.into())
}

fn write(path: &str, offset: usize, data: &[u8]) -> Call {
    Call::Write(path.into(), offset, data.to_vec())
}

fn state(calls: &[Call]) -> State {
    calls.iter().fold(State::default(), |state, call| with(&state, call))
}

#[test]
fn what_returned_must_be_there_after_a_kill() {
    let state = state(&[create("f"), write("f", 0, b"abcdef")]);
    assert!(after_kill(&state, None, &tree(&[("f", b"abcdef")])).is_ok());
    for wrong in [tree(&[]), tree(&[("f", b"abc")]), tree(&[("f", b"abc\0ef")]), tree(&[("f", b"abcdef"), ("g", b"")])]
    {
        assert!(after_kill(&state, None, &wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn what_did_not_return_may_be_there_in_part() {
    let state = state(&[create("f"), write("f", 0, b"abcdef")]);
    let call = write("f", 4, b"XYZW");
    for right in [&b"abcdef"[..], b"abcdXf", b"abcdXY", b"abcdXYZW"] {
        assert!(after_kill(&state, Some(&call), &tree(&[("f", right)])).is_ok());
    }
    for wrong in [&b"abcdeY"[..], b"abcdXYZ\0", b"abcd", b"ABcdXYZW"] {
        assert!(after_kill(&state, Some(&call), &tree(&[("f", wrong)])).is_err());
    }
    let rename = Call::Rename("f".into(), "g".into());
    assert!(after_kill(&state, Some(&rename), &tree(&[("g", b"abcdef")])).is_ok());
    assert!(after_kill(&state, Some(&rename), &tree(&[])).is_err());
}

#[test]
fn a_map_in_flight_is_there_page_by_page() {
    let old = vec![1; 3 * PAGE_BYTES];
    let state = state(&[create("f"), write("f", 0, &old)]);
    let call = Call::Map("f".into(), 10, vec![2; 2 * PAGE_BYTES]);
    let mut mixed = old.clone();
    mixed[PAGE_BYTES..2 * PAGE_BYTES].fill(2);
    assert!(after_kill(&state, Some(&call), &tree(&[("f", &mixed)])).is_ok());
    mixed[PAGE_BYTES + 5] = 1;
    assert!(after_kill(&state, Some(&call), &tree(&[("f", &mixed)])).is_err());
}

#[test]
fn after_a_power_cut_a_prefix_is_there_no_older_than_the_last_fsync() {
    let calls = [
        create("f"),
        write("f", 0, b"1"),
        Call::Fsync("f".into()),
        create("g"),
        write("f", 1, b"2"),
        Call::Rename("g".into(), "h".into()),
    ];
    let judge = |found: &Tree| after_cut(&State::default(), &calls, 3, None, found);
    let right: [&[(&str, &[u8])]; 4] =
        [&[("f", b"1")], &[("f", b"1"), ("g", b"")], &[("f", b"12"), ("g", b"")], &[("f", b"12"), ("h", b"")]];
    right.iter().for_each(|files| assert!(judge(&tree(files)).is_ok(), "{files:?}"));
    let wrong: [&[(&str, &[u8])]; 4] = [&[], &[("f", b"")], &[("f", b"12")], &[("f", b"1"), ("h", b"")]];
    wrong.iter().for_each(|files| assert!(judge(&tree(files)).is_err(), "{files:?}"));
}

#[test]
fn bytes_of_a_large_file_are_no_older_than_its_fsync() {
    let (one, two, three) = (vec![1; 100_000], vec![2; 100_000], vec![3; 100_000]);
    let calls = [create("f"), write("f", 0, &one), write("f", 0, &two), Call::Fsync("f".into()), write("f", 0, &three)];
    let judge = |bytes: &[u8]| after_cut(&State::default(), &calls, 4, None, &tree(&[("f", bytes)]));
    let mut mixed = two.clone();
    mixed[PAGE_BYTES..2 * PAGE_BYTES].fill(3);
    assert!(judge(&two).is_ok() && judge(&three).is_ok() && judge(&mixed).is_ok());
    mixed[3 * PAGE_BYTES..4 * PAGE_BYTES].fill(1);
    assert!(judge(&mixed).is_err() && judge(&one).is_err() && judge(&two[1..]).is_err());
}

#[test]
fn a_call_that_returned_unsynced_may_be_there_in_part_beside_mixed_files() {
    let (old, new) = (vec![1; 100_000], vec![2; 100_000]);
    let calls = [create("f"), write("f", 0, &old), Call::Fsync("f".into()), write("f", 0, &new), create("g")];
    let more = [calls.to_vec(), vec![write("g", 0, b"abcd"), create("h"), write("h", 0, &new)]].concat();
    let mut mixed = old.clone();
    mixed[PAGE_BYTES..2 * PAGE_BYTES].fill(2);
    let judge = |found: &[(&str, &[u8])]| after_cut(&State::default(), &more, 3, None, &tree(found));
    assert!(judge(&[("f", &mixed), ("g", b"ab")]).is_ok());
    assert!(judge(&[("f", &mixed), ("g", b"abcd"), ("h", &new[..70_000])]).is_ok(), "a write in pieces");
    assert!(judge(&[("f", &mixed), ("g", b"ax")]).is_err());
    assert!(judge(&[("f", &mixed), ("g", b"abcd"), ("h", &old[..70_000])]).is_err());
}

#[test]
fn what_was_large_once_is_mixed_also_when_it_is_small() {
    let calls = [
        create("f"),
        write("f", 0, &[1; 100_000]),
        Call::Truncate("f".into(), 10),
        Call::Fsync("f".into()),
        write("f", 10, b"abc"),
    ];
    let judge = |bytes: &[u8]| after_cut(&State::default(), &calls, 4, None, &tree(&[("f", bytes)]));
    assert!(judge(&[&[1; 10][..], &[0; 3]].concat()).is_ok(), "the size came before the bytes");
    assert!(judge(&[&[1; 9][..], &[0; 4]].concat()).is_err());
}
