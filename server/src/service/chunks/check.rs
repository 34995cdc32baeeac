//! Owns the check that index and packs agree and every chunk's bytes verify. Reads everything, repairs nothing.

use crate::packs::{PackError, PackId, PackStore};
use crate::service::Failure;
use crate::store::chunks::{self, ChunkRow};
use crate::store::{Conn, Database};
use std::collections::HashSet;
use tarn_proto::chunk::wire::ChunkKind;
use tarn_proto::chunk::{self, ContentKey, Header};
use tarn_proto::manifest::decode_node;

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Something is wrong.
    Finding(String),
    /// Something to know: a pack that nobody names, left by an upload that was never acknowledged.
    Info(String),
}

/// Reads all packs by their index rows. Beside a live server it sees packs that are newer than its
/// list, and so asks the database after listing.
///
/// # Errors
/// The database or the object store do not answer; what is damaged is reported, not an error.
pub async fn check(
    db: &Database,
    packs: &dyn PackStore,
    report: &mut (dyn FnMut(Report) + Send),
) -> Result<(), Failure> {
    let listed = packs.list().await?;
    let mut conn = db.reader().await?;
    let recorded = chunks::all_packs(&mut conn).await?;
    for &(pack, bytes) in &recorded {
        check_pack(&mut conn, packs, pack, bytes, report).await?;
    }
    let known: HashSet<PackId> = recorded.iter().map(|(pack, _)| *pack).collect();
    for (pack, bytes) in listed.into_iter().filter(|(pack, _)| !known.contains(pack)) {
        report(Report::Info(format!("pack {pack} ({bytes} bytes) is named by no chunk")));
    }
    Ok(())
}

async fn check_pack(
    conn: &mut Conn,
    packs: &dyn PackStore,
    pack: PackId,
    bytes: u64,
    report: &mut (dyn FnMut(Report) + Send),
) -> Result<(), Failure> {
    let rows = chunks::in_pack(conn, pack).await?;
    match packs.read(pack, 0..bytes).await {
        Ok(_) => {}
        Err(PackError::Damaged { detail, .. }) => {
            report(Report::Finding(format!("pack {pack} of {bytes} bytes cannot be read whole: {detail}")));
        }
        Err(error) => return Err(error.into()),
    }
    for row in rows {
        if let Some(why) = check_chunk(packs, row).await? {
            report(Report::Finding(format!("chunk {} in pack {pack} at {}: {why}", row.id, row.offset)));
        }
    }
    Ok(())
}

/// Why a chunk is not well, if it is not.
async fn check_chunk(packs: &dyn PackStore, row: ChunkRow) -> Result<Option<String>, Failure> {
    let stored = match packs.read(row.pack, row.offset..row.offset + u64::from(row.stored_bytes)).await {
        Ok(stored) => stored,
        Err(PackError::Damaged { detail, .. }) => return Ok(Some(detail)),
        Err(error) => return Err(error.into()),
    };
    let verdict = tokio::task::spawn_blocking(move || verify(&row, &stored)).await;
    verdict.map_err(|error| Failure::Internal(error.to_string()))
}

fn verify(row: &ChunkRow, stored: &[u8]) -> Option<String> {
    let plain = match chunk::decode(&ContentKey::Ordinary, row.id, stored) {
        Ok(plain) => plain,
        Err(error) => return Some(error.to_string()),
    };
    let header_bytes = Header::len_from_prefix(stored).unwrap_or_default();
    if plain.len() != row.plain_bytes as usize || header_bytes != row.header_bytes as usize {
        return Some("its row has other lengths than its bytes".into());
    }
    match (row.kind(), decode_node(&plain)) {
        (ChunkKind::Data, _) => None,
        (ChunkKind::Manifest, Err(error)) => Some(error.to_string()),
        (ChunkKind::Manifest, Ok(node)) => {
            let bytes: u64 = node.entries.iter().map(|entry| entry.length).sum();
            let said = row.node.map(|span| (span.level, span.bytes));
            (said != Some((node.level, bytes))).then(|| "its row says another span than its bytes".into())
        }
    }
}
