//! Owns packs in an S3-compatible bucket. A put that was answered is durable by the service's word.

use super::{PackError, PackId, PackStore};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutPayload};
use std::ops::Range;

/// Packs under a prefix of a bucket.
#[derive(Debug)]
pub(super) struct RemotePacks {
    store: Box<dyn ObjectStore>,
    prefix: Path,
}

impl RemotePacks {
    pub(super) fn open(url: &str) -> Result<Self, PackError> {
        Self::build(AmazonS3Builder::from_env(), url)
    }

    pub(super) fn build(builder: AmazonS3Builder, url: &str) -> Result<Self, PackError> {
        let bad = |detail: String| PackError::BadUrl(format!("{url}: {detail}"));
        let rest = url.strip_prefix("s3://").ok_or_else(|| bad("only file:// and s3:// are known".into()))?;
        // Installed already is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let store = builder.with_bucket_name(bucket).build().map_err(|error| bad(error.to_string()))?;
        Ok(Self { store: Box::new(store), prefix: Path::from(prefix) })
    }

    fn path(&self, pack: PackId) -> Path {
        let name = pack.to_string();
        self.prefix.clone().join(&name[..2]).join(format!("{name}.pack"))
    }
}

fn failed(pack: PackId, error: &Error) -> PackError {
    match error {
        Error::NotFound { .. } => PackError::Damaged { pack, detail: "there is no such object".into() },
        _ => PackError::Unavailable(error.to_string()),
    }
}

#[async_trait]
impl PackStore for RemotePacks {
    async fn put(&self, pack: PackId, pieces: Vec<Bytes>) -> Result<(), PackError> {
        let payload: PutPayload = pieces.into_iter().collect();
        self.store.put(&self.path(pack), payload).await.map(drop).map_err(|error| failed(pack, &error))
    }

    async fn read(&self, pack: PackId, range: Range<u64>) -> Result<Bytes, PackError> {
        let wanted = range.end.saturating_sub(range.start);
        match self.store.get_range(&self.path(pack), range.clone()).await {
            Ok(bytes) if bytes.len() as u64 == wanted => Ok(bytes),
            Ok(bytes) => Err(PackError::Damaged { pack, detail: format!("{} of {wanted} bytes", bytes.len()) }),
            // A range past the end is refused by some services and cut short by others.
            Err(error) => match self.store.head(&self.path(pack)).await {
                Ok(object) if object.size < range.end => {
                    Err(PackError::Damaged { pack, detail: format!("it has {} bytes", object.size) })
                }
                _ => Err(failed(pack, &error)),
            },
        }
    }

    async fn list(&self) -> Result<Vec<(PackId, u64)>, PackError> {
        let all = self.store.list(Some(&self.prefix)).map_ok(|object| {
            let name = object.location.filename().and_then(|name| name.strip_suffix(".pack"));
            name.and_then(PackId::parse).map(|pack| (pack, object.size))
        });
        let all: Vec<_> = all.try_collect().await.map_err(|error| PackError::Unavailable(error.to_string()))?;
        Ok(all.into_iter().flatten().collect())
    }

    async fn ping(&self) -> Result<(), PackError> {
        match self.store.list(Some(&self.prefix)).next().await {
            Some(Err(error)) => Err(PackError::Unavailable(error.to_string())),
            _ => Ok(()),
        }
    }
}
