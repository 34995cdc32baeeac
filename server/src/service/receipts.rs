//! Owns receipts: a device's word that it has applied a space up to a cursor.

use super::{Failure, Identity, spaces};
use crate::env::Env;
use crate::store::{Database, receipts};
use tarn_proto::api::Receipt;

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
