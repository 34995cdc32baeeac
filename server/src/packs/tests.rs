//! Holds packs to what they promise.

#![allow(clippy::unwrap_used)]
use super::*;

mod bucket;

const PACK: PackId = PackId([7; 16]);

/// What every store of packs does; each implementation runs it.
async fn behaves(store: &dyn PackStore) {
    store.ping().await.unwrap();
    assert_eq!(store.list().await.unwrap(), []);
    store.put(PACK, vec![Bytes::from_static(b"hello "), Bytes::from_static(b"world")]).await.unwrap();
    assert_eq!(store.read(PACK, 0..11).await.unwrap(), "hello world");
    assert_eq!(store.read(PACK, 6..9).await.unwrap(), "wor");
    assert_eq!(store.list().await.unwrap(), [(PACK, 11)]);
    assert!(matches!(store.read(PackId([8; 16]), 0..1).await, Err(PackError::Damaged { .. })));
    assert!(matches!(store.read(PACK, 6..12).await, Err(PackError::Damaged { .. })));
    assert!(matches!(store.read(PACK, 20..22).await, Err(PackError::Damaged { .. })));
}

#[tokio::test]
async fn a_local_folder_keeps_packs() {
    let dir = tempfile::tempdir().unwrap();
    let url = crate::config::default_objects(dir.path());
    behaves(&*open(&url).await.unwrap()).await;
    let left = dir.path().join("objects/tmp/unfinished");
    std::fs::write(&left, "x").unwrap();
    clear_local(&dir.path().join("objects")).unwrap();
    assert!(!left.exists());
    assert_eq!(open(&url).await.unwrap().read(PACK, 0..5).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_bucket_keeps_packs() {
    let bucket = bucket::serve().await;
    let builder = object_store::aws::AmazonS3Builder::new()
        .with_endpoint(&bucket)
        .with_allow_http(true)
        .with_region("here")
        .with_access_key_id("id")
        .with_secret_access_key("secret");
    behaves(&remote::RemotePacks::build(builder, "s3://bucket/some/prefix").unwrap()).await;
}

#[tokio::test]
async fn a_buckets_address_is_taken_without_asking_it() {
    assert!(open("s3://bucket/prefix").await.is_ok());
}

#[tokio::test]
async fn other_addresses_are_refused() {
    assert!(matches!(open("ftp://x/y").await, Err(PackError::BadUrl(_))));
}

#[test]
fn a_pack_id_survives_its_text() {
    assert_eq!(PackId::parse(&PACK.to_string()), Some(PACK));
    assert_eq!(PackId::parse("nonsense"), None);
}
