//! Owns the two encodings of bodies: JSON by default, the binary form if the caller says so, by
//! `Content-Type` for requests and `Accept` for answers; and their bounds.

use crate::service::Failure;
use axum::body::BodyDataStream;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use tarn_proto::api::{MEDIA_BINARY, MEDIA_JSON, from_binary, to_binary};
use tarn_proto::error::ErrorCode;
use tarn_proto::limits::BODY_BYTES_MAX;

/// Bytes of a refused body that are read and dropped, so that the caller gets to read the answer.
const DRAIN_BYTES_MAX: usize = 64 << 20;

/// A message in either encoding, of at most `MAX` bytes after decompression.
#[derive(Debug)]
pub struct Wire<T, const MAX: usize = BODY_BYTES_MAX>(pub T);

impl<S: Send + Sync, T: DeserializeOwned, const MAX: usize> FromRequest<S> for Wire<T, MAX> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let binary = is_binary(request.headers())?;
        let body = read(request.into_body().into_data_stream(), MAX).await?;
        let bad = |error: String| Failure::refused(ErrorCode::BadRequest, format!("the body: {error}"));
        let message = match binary {
            true => from_binary(&body).map_err(|error| bad(error.to_string()))?,
            false => serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?,
        };
        Ok(Self(message))
    }
}

fn is_binary(headers: &HeaderMap) -> Result<bool, Failure> {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    match content_type.map(|value| value.split(';').next().unwrap_or_default().trim()) {
        None | Some(MEDIA_JSON) => Ok(false),
        Some(MEDIA_BINARY) => Ok(true),
        Some(other) => {
            let detail = format!("bodies are {MEDIA_JSON} or {MEDIA_BINARY}, not {other}");
            Err(Failure::refused(ErrorCode::BadRequest, detail))
        }
    }
}

async fn read(mut body: BodyDataStream, max: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| Failure::refused(ErrorCode::BadRequest, format!("the body: {error}")))?;
        if bytes.len() + piece.len() > max {
            drain(&mut body).await;
            return Err(Failure::refused(ErrorCode::TooLarge, format!("the body has more than {max} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Reads and drops the rest of a body, up to a bound.
pub async fn drain(body: &mut BodyDataStream) {
    let mut dropped = 0;
    while let Some(Ok(piece)) = body.next().await {
        dropped += piece.len();
        if dropped > DRAIN_BYTES_MAX {
            return;
        }
    }
}

/// A body piece by piece.
#[derive(Debug)]
pub struct BodyStream(pub BodyDataStream);

impl<S: Send + Sync> FromRequest<S> for BodyStream {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        Ok(Self(request.into_body().into_data_stream()))
    }
}

/// Which encoding the caller wants.
#[derive(Debug, Clone, Copy)]
pub struct Accept {
    binary: bool,
}

impl Accept {
    /// Answers with a message.
    pub fn reply<T: Serialize>(self, message: &T) -> Response {
        let (media, body) = match self.binary {
            true => (MEDIA_BINARY, to_binary(message)),
            false => (MEDIA_JSON, serde_json::to_vec(message).expect("wire types serialise")),
        };
        let headers = [(header::CONTENT_TYPE, media), (header::CACHE_CONTROL, "no-store"), (header::VARY, "accept")];
        (headers, Bytes::from(body)).into_response()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Accept {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let values = parts.headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
        let mut wanted =
            values.flat_map(|value| value.split(',')).map(|one| one.split(';').next().unwrap_or("").trim());
        Ok(Self { binary: wanted.any(|media| media == MEDIA_BINARY) })
    }
}
