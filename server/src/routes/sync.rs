//! Owns push, pull and the listing of folders.

use super::Called;
use crate::middleware::{Accept, PathOf, QueryOf, Wire};
use crate::service::{Failure, Identity, children, pull, push, recover, undo};
use axum::response::Response;
use serde::Deserialize;
use tarn_proto::api::{ChildrenResponse, PullResponse, PushRequest, PushResponse, UndoRequest, UndoResponse};
use tarn_proto::change::Cursor;
use tarn_proto::error::Problem;
use tarn_proto::ids::{EpochId, JournalHash, NodeId, SpaceId};
use tarn_proto::limits::PUSH_BODY_BYTES_MAX;
use tarn_proto::lost::{RecoverRequest, RecoverResponse};

/// Takes an ordered batch of operations in one transaction, and answers each.
#[utoipa::path(post, path = "/spaces/{space}/push", tag = "sync", security(("token" = [])),
    params(("space" = SpaceId, Path, description = "which space")), request_body = PushRequest,
    responses((status = 200, body = PushResponse), (status = "default", body = Problem)))]
pub async fn push_ops(
    services: Called,
    who: Identity,
    PathOf(space): PathOf<SpaceId>,
    accept: Accept,
    Wire(request): Wire<PushRequest, PUSH_BODY_BYTES_MAX>,
) -> Result<Response, Failure> {
    let response = push::push(&services.db, &services.env, who, space, request).await?;
    if response.after.seq != response.before.seq {
        services.watch.changed(space, response.after.seq, Some(who.device));
    }
    Ok(accept.reply(&response))
}

/// Takes back what one of the account's devices did since a moment, all of it at once.
#[utoipa::path(post, path = "/spaces/{space}/undo", tag = "sync", security(("token" = [])),
    params(("space" = SpaceId, Path, description = "which space")), request_body = UndoRequest,
    responses((status = 200, body = UndoResponse), (status = "default", body = Problem)))]
pub async fn undo_device(
    services: Called,
    who: Identity,
    PathOf(space): PathOf<SpaceId>,
    accept: Accept,
    Wire(request): Wire<UndoRequest>,
) -> Result<Response, Failure> {
    let undone = undo::undo(&services.db, &services.env, who, space, &request).await?;
    if undone.is_news {
        services.watch.changed(space, undone.response.seq, None);
    }
    Ok(accept.reply(&undone.response))
}

/// Takes back in what a device has of a history that the server lost, in one transaction, and answers each row.
#[utoipa::path(post, path = "/spaces/{space}/recover", tag = "sync", security(("token" = [])),
    params(("space" = SpaceId, Path, description = "which space")), request_body = RecoverRequest,
    responses((status = 200, body = RecoverResponse), (status = "default", body = Problem)))]
pub async fn recover_lost(
    services: Called,
    who: Identity,
    PathOf(space): PathOf<SpaceId>,
    accept: Accept,
    Wire(request): Wire<RecoverRequest, PUSH_BODY_BYTES_MAX>,
) -> Result<Response, Failure> {
    let brought = recover::recover(&services.db, &services.env, who, space, &request).await?;
    if brought.is_news {
        services.watch.changed(space, brought.response.seq, None);
    }
    Ok(accept.reply(&brought.response))
}

/// Where a pull goes on from.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PullQuery {
    /// The cursor's epoch.
    epoch: EpochId,
    /// The cursor's seq.
    seq: u64,
    /// The cursor's hash.
    hash: JournalHash,
    /// `next` of the page before.
    page: Option<String>,
}

/// Answers the changes after a cursor, as of one cut, in pages.
#[utoipa::path(get, path = "/spaces/{space}/pull", tag = "sync", security(("token" = [])),
    params(("space" = SpaceId, Path, description = "which space"), PullQuery),
    responses((status = 200, body = PullResponse), (status = "default", body = Problem)))]
pub async fn pull_changes(
    services: Called,
    who: Identity,
    PathOf(space): PathOf<SpaceId>,
    QueryOf(query): QueryOf<PullQuery>,
    accept: Accept,
) -> Result<Response, Failure> {
    let cursor = Cursor { epoch: query.epoch, seq: query.seq, hash: query.hash };
    let response = pull::pull(&services.db, who, space, cursor, query.page.as_deref()).await?;
    Ok(accept.reply(&response))
}

/// Where a listing goes on from.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ChildrenQuery {
    /// `next` of the page before.
    after: Option<String>,
}

/// Lists one folder by name, in pages that all show one moment.
#[utoipa::path(get, path = "/spaces/{space}/nodes/{node}/children", tag = "sync", security(("token" = [])),
    params(("space" = SpaceId, Path, description = "which space"), ("node" = NodeId, Path, description = "which folder"),
        ChildrenQuery),
    responses((status = 200, body = ChildrenResponse), (status = "default", body = Problem)))]
pub async fn list_children(
    services: Called,
    who: Identity,
    PathOf((space, node)): PathOf<(SpaceId, NodeId)>,
    QueryOf(query): QueryOf<ChildrenQuery>,
    accept: Accept,
) -> Result<Response, Failure> {
    let response = children::children(&services.db, who, space, node, query.after.as_deref()).await?;
    Ok(accept.reply(&response))
}
