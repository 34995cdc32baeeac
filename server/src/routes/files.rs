//! Owns a file's history and its plaintext.

use super::Called;
use super::range::{Asked, asked};
use crate::middleware::{Accept, PathOf, QueryOf};
use crate::service::{Failure, Identity, receipts, versions};
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tarn_proto::api::{Answer, ReceiptsResponse, VersionsResponse};
use tarn_proto::error::Problem;
use tarn_proto::ids::{NodeId, VersionId};

/// Lists a file's versions, the newest first.
#[utoipa::path(get, path = "/files/{node}/versions", tag = "files", security(("token" = [])),
    params(("node" = NodeId, Path, description = "which file")),
    responses((status = 200, body = VersionsResponse), (status = "default", body = Problem)))]
pub async fn list_versions(
    services: Called,
    who: Identity,
    PathOf(node): PathOf<NodeId>,
    accept: Accept,
) -> Result<Response, Failure> {
    Ok(accept.reply(&versions::versions(&services.db, who, node).await?))
}

/// Says which of the user's devices have a file's present version.
#[utoipa::path(get, path = "/files/{node}/receipts", tag = "files", security(("token" = [])),
    params(("node" = NodeId, Path, description = "which file")),
    responses((status = 200, body = ReceiptsResponse), (status = "default", body = Problem)))]
pub async fn list_receipts(
    services: Called,
    who: Identity,
    PathOf(node): PathOf<NodeId>,
    accept: Accept,
) -> Result<Response, Failure> {
    Ok(accept.reply(&receipts::of_file(&services.db, who, node).await?))
}

/// Makes an old content the present one, as a new version.
#[utoipa::path(post, path = "/files/{node}/versions/{version}/restore", tag = "files", security(("token" = [])),
    params(("node" = NodeId, Path, description = "which file"), ("version" = VersionId, Path, description = "which content")),
    responses((status = 200, body = Answer), (status = "default", body = Problem)))]
pub async fn restore_version(
    services: Called,
    who: Identity,
    PathOf((node, version)): PathOf<(NodeId, VersionId)>,
    accept: Accept,
) -> Result<Response, Failure> {
    let restored = versions::restore(&services.db, &services.env, who, node, version).await?;
    services.watch.changed(restored.space, restored.cursor.seq, None);
    Ok(accept.reply(&restored.answer))
}

/// Which content of a file.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ContentQuery {
    /// Another version than the present one.
    version: Option<VersionId>,
}

/// A file's bytes, whole or one range of them, for browsers and curl.
#[utoipa::path(get, path = "/files/{node}/content", tag = "files", security(("token" = [])),
    params(("node" = NodeId, Path, description = "which file"), ContentQuery),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>, description = "all bytes"),
        (status = 206, content_type = "application/octet-stream", body = Vec<u8>, description = "the range asked for"),
        (status = 304, description = "the caller has it"), (status = 416, description = "there is no such range"),
        (status = "default", body = Problem)))]
pub async fn get_content(
    services: Called,
    who: Identity,
    PathOf(node): PathOf<NodeId>,
    QueryOf(query): QueryOf<ContentQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let content = versions::content(&services.db, who, node, query.version).await?.file.content;
    let etag = format!("\"{}\"", content.version);
    let common = [
        (header::ETAG, etag.clone()),
        (header::ACCEPT_RANGES, "bytes".into()),
        (header::CACHE_CONTROL, "private, no-cache".into()),
    ];
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::IF_NONE_MATCH) == Some(etag.as_str()) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let current = text(header::IF_RANGE).is_none_or(|wanted| wanted == etag);
    let (status, range) = match asked(text(header::RANGE).filter(|_| current), content.size) {
        Asked::Whole => (StatusCode::OK, 0..content.size),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Unsatisfiable => {
            let whole = [(header::CONTENT_RANGE, format!("bytes */{}", content.size))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, common, whole).into_response());
        }
    };
    let body = services.chunks.content(who, &content.manifest, range.clone()).await?;
    let length = [
        (header::CONTENT_LENGTH, (range.end - range.start).to_string()),
        (header::CONTENT_TYPE, "application/octet-stream".into()),
    ];
    let mut response = (status, common, length, Body::from_stream(body)).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let value = format!("bytes {}-{}/{}", range.start, range.end - 1, content.size);
        response.headers_mut().insert(header::CONTENT_RANGE, value.parse().expect("digits are a header value"));
    }
    Ok(response)
}
