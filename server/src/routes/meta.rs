//! Owns what is said of the server itself: alive, ready, measurements.

use super::Called;
use crate::service::Failure;
use crate::telemetry;
use axum::http::header;
use axum::response::IntoResponse;

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "server", responses((status = 200, body = String)))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether database and object store answer.
#[utoipa::path(get, path = "/readyz", tag = "server",
    responses((status = 200, body = String), (status = 503, body = tarn_proto::error::Problem)))]
pub async fn readyz(services: Called) -> Result<&'static str, Failure> {
    services.db.ping().await?;
    services.chunks.ping().await?;
    Ok("ready\n")
}

/// Counts for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "server", responses((status = 200, body = String)))]
pub async fn metrics() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], telemetry::render_metrics())
}
