//! Owns the one table from error codes to HTTP statuses, and what a failed call looks like on the wire.
//!
//! A fault of the server is told in constant words; its cause goes to the log, once, here.

use crate::service::Failure;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tarn_proto::api::MEDIA_PROBLEM;
use tarn_proto::error::{ErrorCode, Problem};

/// Status and title of each code.
pub fn status_of(code: ErrorCode) -> (StatusCode, &'static str) {
    use ErrorCode as E;
    match code {
        E::BadRequest => (StatusCode::BAD_REQUEST, "The request cannot be read"),
        E::Unauthenticated => (StatusCode::UNAUTHORIZED, "Sign in first"),
        E::BadCredentials => (StatusCode::UNAUTHORIZED, "Wrong name or password"),
        E::Forbidden => (StatusCode::FORBIDDEN, "This may not be done"),
        E::NotFound => (StatusCode::NOT_FOUND, "There is no such thing"),
        E::AlreadyExists => (StatusCode::CONFLICT, "The thing exists already"),
        E::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Too much at once"),
        E::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
        E::InsecureTransport => (StatusCode::FORBIDDEN, "Passwords are not taken over plain HTTP from another machine"),
        E::BadName => (StatusCode::UNPROCESSABLE_ENTITY, "A name breaks the rules of names"),
        E::BadManifest => (StatusCode::UNPROCESSABLE_ENTITY, "A manifest is malformed or does not add up"),
        E::BadChunk => (StatusCode::UNPROCESSABLE_ENTITY, "A chunk is malformed or does not match its id"),
        E::MissingChunks => (StatusCode::CONFLICT, "Chunks must be sent first"),
        E::DeviceRolledBack => (StatusCode::CONFLICT, "The device has fallen behind itself and needs a new id"),
        E::BadCounter => (StatusCode::UNPROCESSABLE_ENTITY, "The counters do not increase"),
        E::LaggingReplica => (StatusCode::SERVICE_UNAVAILABLE, "The server has not caught up with this cursor"),
        E::EpochChanged => (StatusCode::CONFLICT, "The journal has a new history: pull again from the start"),
        E::CursorExpired => (StatusCode::GONE, "The cursor is too old: pull again from the start"),
        E::UnknownParent => (StatusCode::UNPROCESSABLE_ENTITY, "The parent never existed"),
        E::ParentGone => (StatusCode::GONE, "The parent is gone for good"),
        E::NotADirectory => (StatusCode::UNPROCESSABLE_ENTITY, "The parent is no directory"),
        E::WrongKind => (StatusCode::UNPROCESSABLE_ENTITY, "The operation fits no node of this kind"),
        E::Cycle => (StatusCode::CONFLICT, "The move would close a cycle"),
        E::UnknownNode => (StatusCode::NOT_FOUND, "The node is unknown"),
        E::Stale => (StatusCode::CONFLICT, "It has changed since it was looked at"),
        E::NodeExists => (StatusCode::CONFLICT, "The node id is taken"),
        E::TooDeep => (StatusCode::UNPROCESSABLE_ENTITY, "The place is too deep"),
        E::BadAttributes => (StatusCode::UNPROCESSABLE_ENTITY, "Attributes exceed their limits"),
        E::QuotaExceeded => (StatusCode::INSUFFICIENT_STORAGE, "The quota is used up"),
        E::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "The server cannot answer now"),
        E::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "The server made a mistake; its log says more"),
    }
}

/// The answer for a code. `detail` is dropped for faults of the server.
pub fn problem(code: ErrorCode, detail: Option<String>) -> Response {
    let (status, title) = status_of(code);
    let is_fault = matches!(code, ErrorCode::Internal | ErrorCode::Unavailable);
    let problem = Problem {
        kind: "about:blank".into(),
        title: title.into(),
        status: status.as_u16(),
        code,
        retryable: code.is_retryable(),
        detail: detail.filter(|detail| !is_fault && !detail.is_empty()),
    };
    let body = serde_json::to_vec(&problem).expect("problem details serialise");
    let mut response = (status, [(header::CONTENT_TYPE, MEDIA_PROBLEM)], body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match code {
        ErrorCode::Unauthenticated => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        ErrorCode::TooManyRequests | ErrorCode::Unavailable | ErrorCode::LaggingReplica => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = self.code();
        match self {
            Self::Refused { detail, .. } => problem(code, Some(detail)),
            cause => {
                match code {
                    ErrorCode::Unavailable => tracing::warn!(%cause, "a call could not be answered"),
                    _ => tracing::error!(%cause, "a call failed"),
                }
                problem(code, None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_fault_says_nothing_of_its_cause() {
        let response = Failure::Internal("secret".into()).into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!((problem.code, problem.detail, problem.retryable), (ErrorCode::Internal, None, true));
    }

    #[test]
    fn what_may_be_tried_again_is_a_429_or_a_5xx() {
        for code in [ErrorCode::TooManyRequests, ErrorCode::LaggingReplica, ErrorCode::Unavailable, ErrorCode::Internal]
        {
            let (status, _) = status_of(code);
            assert!(code.is_retryable() && (status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS));
        }
    }
}
