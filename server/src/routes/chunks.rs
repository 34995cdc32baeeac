//! Owns the calls that move content: which to send, sending, fetching.

use super::Called;
use crate::middleware::{Accept, BodyStream, PathOf, Wire, drain};
use crate::service::{Failure, Identity};
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tarn_proto::api::{FetchRequest, MEDIA_CHUNKS, MissingRequest, MissingResponse, UploadResponse};
use tarn_proto::error::{ErrorCode, Problem};
use tarn_proto::ids::{ChunkId, SpaceId};
use tarn_proto::limits::{CHUNKS_PER_CALL_MAX, FETCH_RANGES_MAX};

/// 16,384 ids in JSON.
const MISSING_BODY_BYTES_MAX: usize = CHUNKS_PER_CALL_MAX * 72 + 1_024;
/// 4,096 ranges in JSON.
const FETCH_BODY_BYTES_MAX: usize = FETCH_RANGES_MAX * 160 + 1_024;

/// Answers which chunks must be sent, and protects the others from collection for a day.
#[utoipa::path(post, path = "/spaces/{space}/chunks/missing", tag = "chunks", security(("token" = [])),
    params(("space" = SpaceId, Path, description = "which space")), request_body = MissingRequest,
    responses((status = 200, body = MissingResponse), (status = "default", body = Problem)))]
pub async fn missing(
    services: Called,
    who: Identity,
    PathOf(space): PathOf<SpaceId>,
    accept: Accept,
    Wire(request): Wire<MissingRequest, MISSING_BODY_BYTES_MAX>,
) -> Result<Response, Failure> {
    services.chunks.own(who, space).await?;
    Ok(accept.reply(&services.chunks.missing(who, request.ids).await?))
}

/// Takes many chunks in one framed body; they are durable together when it answers, or refused together. Of a body that is
/// cut off, those of contents that had come whole are kept.
#[utoipa::path(post, path = "/spaces/{space}/chunks", tag = "chunks", security(("token" = [])),
    params(("space" = SpaceId, Path, description = "which space")),
    request_body(content = Vec<u8>, content_type = "application/vnd.tarn.v1.chunks", description = "upload items"),
    responses((status = 200, body = UploadResponse), (status = "default", body = Problem)))]
pub async fn upload(
    services: Called,
    who: Identity,
    PathOf(space): PathOf<SpaceId>,
    accept: Accept,
    headers: HeaderMap,
    BodyStream(mut body): BodyStream,
) -> Result<Response, Failure> {
    let taken = async {
        is_chunks(&headers)?;
        services.chunks.own(who, space).await?;
        services.chunks.upload(who, &mut body).await
    };
    match taken.await {
        Ok(response) => Ok(accept.reply(&response)),
        Err(failure) => {
            drain(&mut body).await;
            Err(failure)
        }
    }
}

fn is_chunks(headers: &HeaderMap) -> Result<(), Failure> {
    match headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes()) {
        Some(media) if media == MEDIA_CHUNKS.as_bytes() => Ok(()),
        _ => Err(Failure::refused(ErrorCode::BadRequest, format!("an upload's body is {MEDIA_CHUNKS}"))),
    }
}

/// Streams chunks, or frames of them, in the order asked.
#[utoipa::path(post, path = "/spaces/{space}/chunks/fetch", tag = "chunks", security(("token" = [])),
    params(("space" = SpaceId, Path, description = "which space")), request_body = FetchRequest,
    responses((status = 200, content_type = "application/vnd.tarn.v1.chunks", body = Vec<u8>, description = "fetch items"),
        (status = "default", body = Problem)))]
pub async fn fetch(
    services: Called,
    who: Identity,
    PathOf(space): PathOf<SpaceId>,
    Wire(request): Wire<FetchRequest, FETCH_BODY_BYTES_MAX>,
) -> Result<Response, Failure> {
    services.chunks.own(who, space).await?;
    let body = services.chunks.fetch(who, request.ranges).await?;
    let headers = [(header::CONTENT_TYPE, MEDIA_CHUNKS), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// One chunk's stored form. It never changes.
#[utoipa::path(get, path = "/spaces/{space}/chunks/{chunk}", tag = "chunks", security(("token" = [])),
    params(("space" = SpaceId, Path, description = "which space"), ("chunk" = ChunkId, Path, description = "which chunk")),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>, description = "stored form"),
        (status = 304, description = "the caller has it"), (status = "default", body = Problem)))]
pub async fn get_chunk(
    services: Called,
    who: Identity,
    PathOf((space, chunk)): PathOf<(SpaceId, ChunkId)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    services.chunks.own(who, space).await?;
    let etag = format!("\"{chunk}\"");
    let cached = [(header::ETAG, etag.clone()), (header::CACHE_CONTROL, "private, max-age=31536000, immutable".into())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == etag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, cached).into_response());
    }
    let stored = services.chunks.stored(who, chunk).await?;
    Ok((cached, [(header::CONTENT_TYPE, "application/octet-stream")], stored).into_response())
}
