//! Owns the list of open conflicts.

use super::Called;
use crate::middleware::Accept;
use crate::service::{Failure, Identity, conflicts};
use axum::response::Response;
use tarn_proto::api::ConflictsResponse;
use tarn_proto::error::Problem;

/// Lists the user's open conflicts, the oldest first.
#[utoipa::path(get, path = "/conflicts", tag = "conflicts", security(("token" = [])),
    responses((status = 200, body = ConflictsResponse), (status = "default", body = Problem)))]
pub async fn list_conflicts(services: Called, who: Identity, accept: Accept) -> Result<Response, Failure> {
    Ok(accept.reply(&conflicts::conflicts(&services.db, who).await?))
}
