//! Owns the list of open conflicts, and resolving them.

use super::Called;
use crate::middleware::{Accept, PathOf, Wire};
use crate::service::{Failure, Identity, conflicts};
use axum::response::Response;
use tarn_proto::api::{ConflictsResponse, ResolveRequest, ResolveResponse};
use tarn_proto::error::Problem;
use tarn_proto::ids::ConflictId;

/// Lists the user's open conflicts, the oldest first.
#[utoipa::path(get, path = "/conflicts", tag = "conflicts", security(("token" = [])),
    responses((status = 200, body = ConflictsResponse), (status = "default", body = Problem)))]
pub async fn list_conflicts(services: Called, who: Identity, accept: Accept) -> Result<Response, Failure> {
    Ok(accept.reply(&conflicts::conflicts(&services.db, who).await?))
}

/// Resolves a conflict, once: whoever comes later is told how it was resolved.
#[utoipa::path(post, path = "/conflicts/{conflict}/resolve", tag = "conflicts", security(("token" = [])),
    params(("conflict" = ConflictId, Path, description = "which conflict")), request_body = ResolveRequest,
    responses((status = 200, body = ResolveResponse), (status = "default", body = Problem)))]
pub async fn resolve_conflict(
    services: Called,
    who: Identity,
    PathOf(conflict): PathOf<ConflictId>,
    accept: Accept,
    Wire(request): Wire<ResolveRequest>,
) -> Result<Response, Failure> {
    let resolved = conflicts::resolve(&services.db, &services.env, who, conflict, &request).await?;
    if resolved.is_new {
        services.watch.changed(resolved.space, resolved.response.seq, None);
    }
    Ok(accept.reply(&resolved.response))
}
