//! Owns what a record of the log says. One byte of kind, then a fixed form for contents (fast, no
//! copies of the data) or MessagePack for rows.

use crate::meta::RemoteWork;
use crate::meta::rows::{ContentNo, RowChange};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A unit of work of the local side.
    Work {
        /// What changes.
        rows: Vec<RowChange>,
        /// Backing files that it speaks of before they were synced, with the size each must have:
        /// where one is shorter, this record and all later ones never happened - unless a later record asks for less of it,
        /// which is logged when all of it was synced and it is about to be shortened.
        unsynced: Vec<(ContentNo, u64)>,
    },
    /// Bytes of a small content.
    Write {
        /// Which content.
        content: ContentNo,
        /// Where the bytes go.
        offset: u64,
        /// The bytes.
        data: Vec<u8>,
    },
    /// A new size of a small content.
    Resize {
        /// Which content.
        content: ContentNo,
        /// Its size.
        size_bytes: u64,
    },
    /// What came from the server, as one unit.
    Remote(Box<RemoteWork>),
}

const WORK: u8 = 1;
const WRITE: u8 = 2;
const RESIZE: u8 = 3;
const REMOTE: u8 = 4;

/// Encodes [`Record::Work`].
pub(super) fn encode_work(rows: &[RowChange], unsynced: &[(ContentNo, u64)]) -> Result<Vec<u8>, String> {
    encode(WORK, &(rows, unsynced))
}

/// Encodes [`Record::Remote`].
pub(super) fn encode_remote(work: &RemoteWork) -> Result<Vec<u8>, String> {
    encode(REMOTE, work)
}

/// Encodes [`Record::Write`].
pub(super) fn encode_write(content: ContentNo, offset: u64, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(17 + data.len());
    out.push(WRITE);
    out.extend_from_slice(&content.0.to_le_bytes());
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(data);
    out
}

/// Encodes [`Record::Resize`].
pub(super) fn encode_resize(content: ContentNo, size_bytes: u64) -> Vec<u8> {
    let mut out = encode_write(content, size_bytes, &[]);
    out[0] = RESIZE;
    out
}

fn encode<T: Serialize>(kind: u8, value: &T) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(256);
    out.push(kind);
    rmp_serde::encode::write(&mut out, value).map_err(|e| e.to_string())?;
    Ok(out)
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(payload: &[u8]) -> Result<Self, String> {
        let (&kind, body) = payload.split_first().ok_or("empty")?;
        match kind {
            WORK => from_body(body).map(|(rows, unsynced)| Self::Work { rows, unsynced }),
            REMOTE => from_body(body).map(Self::Remote),
            WRITE => {
                let (content, offset, data) = content_body(body)?;
                Ok(Self::Write { content, offset, data: data.to_vec() })
            }
            RESIZE => {
                let (content, size_bytes, _) = content_body(body)?;
                Ok(Self::Resize { content, size_bytes })
            }
            kind => Err(format!("unknown kind {kind}")),
        }
    }
}

fn from_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(body).map_err(|e| e.to_string())
}

fn content_body(body: &[u8]) -> Result<(ContentNo, u64, &[u8]), String> {
    let (no, rest) = body.split_first_chunk().ok_or("too short")?;
    let (number, data) = rest.split_first_chunk().ok_or("too short")?;
    Ok((ContentNo(u64::from_le_bytes(*no)), u64::from_le_bytes(*number), data))
}
