//! Tests of chunk bodies: any split of the bytes, limits, hostile lengths.
#![allow(clippy::unwrap_used)]

use super::super::frame::encode;
use super::super::hash::chunk_id;
use super::*;
use crate::testdata::noise;
use proptest::prelude::*;

const KEY: ContentKey = ContentKey::Ordinary;

fn upload_items(count: u64) -> Vec<UploadItem> {
    let kind_of = |seed| if seed % 3 == 0 { ChunkKind::Manifest } else { ChunkKind::Data };
    let item = |seed| {
        let plain = noise(seed, 100 * seed as usize);
        let stored = encode(&KEY, &plain, 3).unwrap().into();
        UploadItem { kind: kind_of(seed), id: chunk_id(&KEY, &plain), stored }
    };
    (1..=count).map(item).collect()
}

fn fetch_items() -> Vec<FetchItem> {
    let plain = noise(1, 5 * FRAME_BYTES + 9);
    let stored = Bytes::from(encode(&KEY, &plain, 3).unwrap());
    let header = Header::parse(&stored).unwrap();
    let item = |first_frame, frame_count| FetchItem {
        id: chunk_id(&KEY, &plain),
        status: FetchStatus::Ok,
        first_frame,
        frame_count,
        header: stored.slice(..header.header_len()),
        frames: stored.slice(header.frames_stored_range(first_frame, frame_count).unwrap()),
    };
    let absent = |status| FetchItem {
        status,
        first_frame: 0,
        frame_count: 0,
        header: Bytes::new(),
        frames: Bytes::new(),
        ..item(0, 1)
    };
    vec![item(0, 6), absent(FetchStatus::Unknown), item(5, 1), absent(FetchStatus::Damaged), item(2, 2)]
}

fn pieces<'a>(body: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = body;
    sizes.iter().cycle().map_while(move |&size| {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn an_upload_survives_any_split(sizes in prop::collection::vec(1usize..5_000, 1..8)) {
        let items = upload_items(12);
        let mut body = Vec::new();
        items.iter().for_each(|item| put_upload_item(&mut body, item.kind, item.id, &item.stored));
        let (mut decoder, mut decoded) = (UploadDecoder::new(), Vec::new());
        for piece in pieces(&body, &sizes) {
            decoder.push(piece).unwrap();
            while let Some(item) = decoder.next_item().unwrap() {
                decoded.push(item);
            }
        }
        prop_assert_eq!(decoder.finish(), Ok(()));
        prop_assert_eq!(decoded, items);
    }

    #[test]
    fn a_fetch_survives_any_split(sizes in prop::collection::vec(1usize..90_000, 1..8)) {
        let items = fetch_items();
        let mut body = BytesMut::new();
        items.iter().for_each(|item| put_fetch_item(&mut body, item));
        let (mut decoder, mut decoded) = (FetchDecoder::new(), Vec::new());
        for piece in pieces(&body, &sizes) {
            decoder.push(piece);
            while let Some(item) = decoder.next_item().unwrap() {
                decoded.push(item);
            }
        }
        prop_assert_eq!(decoder.finish(), Ok(()));
        prop_assert!(decoded == items);
    }

    #[test]
    fn arbitrary_bodies_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let mut upload = UploadDecoder::new();
        upload.push(&bytes).unwrap();
        while let Ok(Some(_)) = upload.next_item() {}
        let mut fetch = FetchDecoder::new();
        fetch.push(&bytes);
        while let Ok(Some(item)) = fetch.next_item() {
            prop_assert!(item.open(&KEY).is_err());
        }
    }
}

#[test]
fn fetched_frames_open_to_verified_plaintext() {
    let plain = noise(1, 5 * FRAME_BYTES + 9);
    for item in fetch_items().iter().filter(|item| item.status == FetchStatus::Ok) {
        let start = item.first_frame as usize * FRAME_BYTES;
        let (header, opened) = item.open(&KEY).unwrap();
        assert_eq!(header.plain_len(), plain.len());
        assert!(opened == plain[start..start + opened.len()]);
        let other = FetchItem { id: ChunkId([1; 32]), ..item.clone() };
        assert_eq!(other.open(&KEY), Err(ChunkError::HeaderMismatch));
    }
}

#[test]
fn bodies_that_end_inside_an_item_are_refused() {
    let item = &upload_items(1)[0];
    let mut body = Vec::new();
    put_upload_item(&mut body, item.kind, item.id, &item.stored);
    let mut decoder = UploadDecoder::new();
    decoder.push(&body[..body.len() - 1]).unwrap();
    assert_eq!((decoder.next_item(), decoder.finish()), (Ok(None), Err(WireError::Truncated)));
}

#[test]
fn impossible_lengths_are_refused_before_their_bytes_arrive() {
    let mut upload = UploadDecoder::new();
    upload.push(&upload_head(ChunkKind::Data, ChunkId([0; 32]), u32::MAX)).unwrap();
    assert_eq!(upload.next_item(), Err(WireError::Length));
    let good = FetchHead {
        frame_count: 1,
        header_len: 10,
        frames_len: 9,
        ..FetchHead::without_bytes(ChunkId([0; 32]), FetchStatus::Ok)
    };
    let bad = [
        FetchHead { frames_len: u32::MAX, ..good },
        FetchHead { frames_len: FRAME_BYTES as u32 + 1, ..good },
        FetchHead { header_len: u32::MAX, ..good },
        FetchHead { header_len: 0, ..good },
        FetchHead { frame_count: 0, ..good },
        FetchHead { first_frame: u32::MAX, ..good },
        FetchHead { first_frame: 64, ..good },
        FetchHead { status: FetchStatus::Unknown, ..good },
    ];
    for head in bad {
        let mut fetch = FetchDecoder::new();
        fetch.push(&head.to_bytes());
        assert_eq!(fetch.next_item(), Err(WireError::Length), "{head:?}");
    }
}

#[test]
fn unknown_kinds_and_statuses_are_refused() {
    let mut upload = UploadDecoder::new();
    upload.push(&[2; UPLOAD_HEAD_BYTES]).unwrap();
    assert_eq!(upload.next_item(), Err(WireError::Unknown(2)));
    let mut fetch = FetchDecoder::new();
    fetch.push(&[3; FETCH_HEAD_BYTES]);
    assert_eq!(fetch.next_item(), Err(WireError::Unknown(3)));
}

#[test]
fn bodies_and_item_counts_are_bounded() {
    let mut decoder = UploadDecoder::new();
    decoder.push(&vec![0; UPLOAD_BODY_BYTES_MAX]).unwrap();
    assert_eq!(decoder.push(&[0]), Err(WireError::TooLong));
    let head = FetchHead::without_bytes(ChunkId([0; 32]), FetchStatus::Unknown).to_bytes();
    let mut fetch = FetchDecoder::new();
    fetch.push(&head.repeat(FETCH_RANGES_MAX + 1));
    assert_eq!((0..FETCH_RANGES_MAX).filter(|_| fetch.next_item().unwrap().is_some()).count(), FETCH_RANGES_MAX);
    assert_eq!(fetch.next_item(), Err(WireError::TooMany));
}
