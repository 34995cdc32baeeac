//! Owns what stands around every call: a request id, a time limit, panics caught, one access line, one measurement.

use crate::error::problem;
use crate::limits;
use crate::service::Services;
use crate::telemetry;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::error::ErrorCode;
use tracing::Instrument as _;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Runs a call within its bounds.
pub async fn guard(State(services): State<Arc<Services>>, request: Request, next: Next) -> Response {
    let started = services.env.instant();
    let id = request_id(&services, &request);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
    let mut response = run(request, next, time_limit(&route)).instrument(span.clone()).await;
    let seconds = services.env.instant().duration_since(started).as_secs_f64();
    let status = response.status().as_u16();
    span.in_scope(|| {
        tracing::info!(target: "tarn::access", %method, path, status, ms = seconds * 1_000.0, "request");
    });
    let labels = [("route", route), ("method", known(&method).to_owned()), ("status", status.to_string())];
    metrics::histogram!(telemetry::REQUEST_SECONDS, &labels).record(seconds);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The caller's own id if it is a sane one, else a new one.
fn request_id(services: &Services, request: &Request) -> HeaderValue {
    let is_sane = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    let random = || {
        let id = u64::from_le_bytes(services.env.random());
        HeaderValue::from_str(&format!("{id:016x}")).expect("hexadecimal digits are a header value")
    };
    request.headers().get(REQUEST_ID).filter(is_sane).cloned().unwrap_or_else(random)
}

/// The method, if it is one that is served: a caller must not be able to make up labels.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::DELETE => method.as_str(),
        _ => "other",
    }
}

fn time_limit(route: &str) -> Duration {
    if route.ends_with("/chunks") { limits::UPLOAD_TIME_MAX } else { limits::REQUEST_TIME_MAX }
}

async fn run(request: Request, next: Next, limit: Duration) -> Response {
    let call = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
            let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            tracing::error!(panic = words, "a call panicked");
            problem(ErrorCode::Internal, None)
        }
        Err(_) => {
            tracing::warn!(limit_s = limit.as_secs(), "a call took too long");
            problem(ErrorCode::Unavailable, None)
        }
    }
}
