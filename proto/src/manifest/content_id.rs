//! Owns the id of a whole content, the one thing that the server compares between two versions.
//!
//! It is the keyed hash of the content's list of chunks (id and length, in order), not of its
//! plaintext: cuts depend on the bytes alone, so equal bytes give equal lists, and a device that changed
//! 4 KiB of a file of which it has nothing else can name the result without fetching the rest.

use super::ManifestEntry;
use crate::chunk::{ContentHasher, ContentKey};
use crate::ids::ContentId;

/// The id of the content that consists of these chunks. `stored` does not matter.
pub fn content_id(key: &ContentKey, chunks: &[ManifestEntry]) -> ContentId {
    let mut hasher = ContentHasher::new(key);
    for chunk in chunks {
        hasher.update(&chunk.id.0);
        hasher.update(&chunk.length.to_le_bytes());
    }
    hasher.finish()
}
