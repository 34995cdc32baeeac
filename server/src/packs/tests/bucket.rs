//! A bucket of one process: as much of S3's protocol as packs need, without signatures.

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

const MODIFIED: [(header::HeaderName, &str); 2] =
    [(header::LAST_MODIFIED, "Fri, 20 Nov 2026 18:00:00 GMT"), (header::ETAG, "\"1\"")];

/// Serves an empty bucket named `bucket`, until the test ends.
pub(super) async fn serve() -> String {
    let router = Router::new().fallback(answer).route("/bucket/{*key}", axum::routing::any(object));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router.with_state(Objects::default())).into_future());
    format!("http://{address}")
}

/// The list of objects below a prefix.
async fn answer(State(objects): State<Objects>, Query(query): Query<HashMap<String, String>>) -> String {
    let prefix = query.get("prefix").cloned().unwrap_or_default();
    let contents: String = objects
        .lock()
        .iter()
        .filter(|(key, _)| key.starts_with(&prefix))
        .map(|(key, body)| {
            let size = body.len();
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-11-20T18:00:00.000Z</LastModified>\
                 <ETag>1</ETag><Size>{size}</Size></Contents>"
            )
        })
        .collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>")
}

async fn object(
    State(objects): State<Objects>,
    Path(key): Path<String>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if method == Method::PUT {
        objects.lock().insert(key, body);
        return MODIFIED.into_response();
    }
    let Some(object) = objects.lock().get(&key).cloned() else { return StatusCode::NOT_FOUND.into_response() };
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().unwrap().strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        return (MODIFIED, object).into_response();
    };
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    if first >= object.len() {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    }
    let end = (last + 1).min(object.len());
    let span = [(header::CONTENT_RANGE, format!("bytes {first}-{}/{}", end - 1, object.len()))];
    (StatusCode::PARTIAL_CONTENT, MODIFIED, span, object.slice(first..end)).into_response()
}
