//! Owns the route table: which call is answered where, and what stands around all of them.

use crate::error::problem;
use crate::middleware::guard;
use crate::routes::{account, chunks, conflicts, files, meta, notify, sync};
use crate::service::Services;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use std::sync::Arc;
use tarn_proto::api::MEDIA_CHUNKS;
use tarn_proto::error::ErrorCode;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate as _, SizeAbove};
use tower_http::decompression::RequestDecompressionLayer;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Where the calls are.
pub const PREFIX: &str = "/api/v1";
/// Answers below this are not worth compressing.
const COMPRESS_BYTES_MIN: u16 = 1_024;

/// All routes, ready to be served.
pub fn router(services: Arc<Services>) -> Router {
    let (router, openapi) = table().split_for_parts();
    let description: Arc<str> = openapi.to_json().expect("the description serialises").into();
    let describe = move || {
        let description = description.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], description.to_string()).into_response() }
    };
    router
        .route(&format!("{PREFIX}/openapi.json"), get(describe))
        .fallback(nowhere)
        .method_not_allowed_fallback(nowhere)
        .layer(DefaultBodyLimit::disable())
        .layer(RequestDecompressionLayer::new())
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worth_compressing()))
        .layer(axum::middleware::from_fn_with_state(services.clone(), guard))
        .with_state(services)
}

fn worth_compressing() -> impl tower_http::compression::Predicate {
    SizeAbove::new(COMPRESS_BYTES_MIN)
        .and(NotForContentType::const_new(MEDIA_CHUNKS))
        .and(NotForContentType::const_new("application/octet-stream"))
}

/// The calls and their description.
fn table() -> OpenApiRouter<Arc<Services>> {
    let api = OpenApiRouter::new()
        .routes(routes!(account::login))
        .routes(routes!(account::logout))
        .routes(routes!(account::list_devices, account::enrol_device))
        .routes(routes!(account::revoke_device))
        .routes(routes!(account::list_spaces))
        .routes(routes!(sync::push_ops))
        .routes(routes!(sync::pull_changes))
        .routes(routes!(sync::list_children))
        .routes(routes!(sync::undo_device))
        .routes(routes!(sync::recover_lost))
        .routes(routes!(chunks::missing))
        .routes(routes!(chunks::upload))
        .routes(routes!(chunks::fetch))
        .routes(routes!(chunks::get_chunk))
        .routes(routes!(files::list_versions))
        .routes(routes!(files::list_receipts))
        .routes(routes!(files::restore_version))
        .routes(routes!(files::get_content))
        .routes(routes!(conflicts::list_conflicts))
        .routes(routes!(conflicts::resolve_conflict))
        .routes(routes!(notify::notify));
    OpenApiRouter::with_openapi(description())
        .routes(routes!(meta::healthz))
        .routes(routes!(meta::readyz))
        .routes(routes!(meta::metrics))
        .nest(PREFIX, api)
}

fn description() -> OpenApi {
    let token = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let info = InfoBuilder::new().title("Tarn").version(env!("CARGO_PKG_VERSION")).description(Some(
        "Bodies are JSON, or MessagePack with named fields where Content-Type or Accept says \
         application/vnd.tarn.v1+msgpack. Errors are problem details with a stable code.",
    ));
    OpenApiBuilder::new()
        .info(info.build())
        .components(Some(ComponentsBuilder::new().security_scheme("token", token).build()))
        .build()
}

/// What stands in the description of the calls.
pub fn openapi() -> OpenApi {
    table().into_openapi()
}

async fn nowhere() -> Response {
    problem(ErrorCode::NotFound, Some("there is no such call".into()))
}
