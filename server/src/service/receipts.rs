//! Owns receipts: a device's word that it has applied a space up to a cursor.

use super::versions::{find, no_file, time_of};
use super::{Failure, Identity, spaces};
use crate::env::Env;
use crate::store::{Database, devices, receipts};
use tarn_proto::api::{DeviceReceipt, Receipt, ReceiptsResponse};
use tarn_proto::ids::NodeId;

/// Writes a receipt down, if the space is one of the caller's.
///
/// # Errors
/// It is not, or the database fails.
pub async fn record(db: &Database, env: &Env, who: Identity, receipt: &Receipt) -> Result<(), Failure> {
    let now_ms = env.now_ms();
    db.retry(|| async {
        let mut tx = db.begin().await?;
        spaces::own(&mut tx, who, receipt.space).await?;
        receipts::record(&mut tx, who.device, receipt, now_ms).await?;
        tx.commit().await?;
        Ok(())
    })
    .await
}

/// Which of the caller's devices have a file's present version.
///
/// # Errors
/// There is no such file in the caller's spaces, or the database fails.
pub async fn of_file(db: &Database, who: Identity, node: NodeId) -> Result<ReceiptsResponse, Failure> {
    let mut tx = db.begin_read().await?;
    let found = find(&mut tx, who, node).await?;
    let row = Some(found.row).filter(|_| found.seq_to.is_none()).ok_or_else(no_file)?;
    let file = row.file().ok_or_else(no_file)?;
    let epoch = spaces::own(&mut tx, who, found.space).await?.cursor.epoch;
    let said = receipts::of_space(&mut tx, found.space).await?;
    let enrolled = devices::of_user(&mut tx, who.user).await?;
    let of_device = |device: devices::Device| {
        let said = said.iter().find(|receipt| receipt.device == device.device && receipt.epoch == epoch);
        let has_applied = said.is_some_and(|receipt| receipt.seq >= row.content_seq);
        DeviceReceipt {
            device: device.device,
            name: device.name,
            has_version: has_applied || file.author == device.device,
            seq: said.map(|receipt| receipt.seq),
            time: said.map(|receipt| time_of(receipt.time_ms)),
        }
    };
    let devices = enrolled.into_iter().filter(|device| !device.revoked).map(of_device).collect();
    Ok(ReceiptsResponse { version: file.content.version, seq: row.content_seq, devices })
}
