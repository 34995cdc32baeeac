//! Owns one HTTP exchange: deadlines, bounds, compression, counting. Knows no call by name.
//!
//! No exchange is unbounded in time (silence ends it) or memory (a body that outgrows its bound ends it).

use super::answer::{Head, error_of, message, no_answer, silent, too_long, unpack};
use super::line::{Lease, Line};
use super::{Rates, RemoteError, ServerAddress, TransferCounters, Urgency};
use crate::limits;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use parking_lot::RwLock;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName};
use reqwest::{Body, Client, Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tarn_proto::api::{MEDIA_BINARY, MEDIA_CHUNKS, MEDIA_PROBLEM, to_binary};
use tokio::time::timeout;

/// Bodies up to this size are handed over whole.
const PIECE_BYTES: usize = 64 << 10;
/// The slowest line for which messages are waited for; chunk bodies are watched by their progress.
const SLOWEST_BYTES_PER_SEC: u64 = 8 << 10;
/// Idle connections kept.
const IDLE_CONNECTIONS_MAX: usize = 8;
/// Media type of a file's bytes.
const MEDIA_BYTES: &str = "application/octet-stream";
/// zstd level of request bodies.
const COMPRESS_LEVEL: i32 = 1;

/// A client of one server, with or without a token.
#[derive(Debug, Clone)]
pub(super) struct HttpClient {
    /// Its connections end with it.
    client: Arc<RwLock<Client>>,
    pub line: Arc<Line>,
    pub address: ServerAddress,
    /// Shared by all clones: a device may go on as another one.
    token: Arc<RwLock<Option<Arc<str>>>>,
    pub counters: Arc<TransferCounters>,
    pub rates: Arc<Rates>,
}

/// Makes sure that TLS has its one provider. Safe to call again and again.
pub(super) fn install_crypto() {
    // The error says that there is one already, which is what is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Connections to a server, none of them open yet.
fn connections(address: &ServerAddress) -> Result<Client, RemoteError> {
    install_crypto();
    let mut builder = Client::builder()
        .user_agent(concat!("tarn/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(limits::CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(limits::NOTIFY_PING)
        .tcp_user_timeout(limits::IDLE_TIMEOUT)
        .pool_idle_timeout(Duration::from_secs(60))
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX);
    if !address.is_encrypted() {
        // Spares reading the system's certificates, and works where there are none.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|e| no_answer(&e))
}

impl HttpClient {
    /// A client; `token` is the device's.
    pub fn new(address: ServerAddress, token: Option<&str>) -> Result<Self, RemoteError> {
        let client = connections(&address)?;
        Ok(Self {
            client: Arc::new(RwLock::new(client)),
            line: Arc::default(),
            address,
            token: Arc::new(RwLock::new(token.map(Arc::from))),
            counters: Arc::default(),
            rates: Arc::default(),
        })
    }

    /// The device's token.
    pub fn token(&self) -> Option<Arc<str>> {
        self.token.read().clone()
    }

    /// Goes on with another token.
    pub fn set_token(&self, token: &str) {
        *self.token.write() = Some(Arc::from(token));
    }

    /// Ends every exchange at once, until [`Self::mend`].
    pub fn cut(&self) {
        self.line.cut();
    }

    /// Goes on, over new connections: nobody knows what became of the old ones.
    pub fn mend(&self) {
        match connections(&self.address) {
            Ok(client) => *self.client.write() = client,
            Err(error) => tracing::warn!(%error, "old connections are used again"),
        }
        self.line.mend();
    }

    fn client(&self) -> Client {
        self.client.read().clone()
    }

    /// A call without a body.
    pub async fn get<A: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        bytes_max: usize,
    ) -> Result<A, RemoteError> {
        let mut url = self.address.call(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.client().get(url).header(ACCEPT, MEDIA_BINARY).header(ACCEPT_ENCODING, "zstd");
        message(&self.exchange(request, limits::IDLE_TIMEOUT, bytes_max).await?)
    }

    /// A call whose answer is bytes as they are.
    pub async fn get_bytes(
        &self,
        path: &str,
        query: &[(&str, &str)],
        bytes_max: usize,
    ) -> Result<Vec<u8>, RemoteError> {
        let mut url = self.address.call(path);
        url.query_pairs_mut().extend_pairs(query);
        let request = self.client().get(url).header(ACCEPT_ENCODING, "identity");
        let (head, mut stream) = self.start(request, limits::IDLE_TIMEOUT).await?;
        if head.is_success() && head.media == MEDIA_BYTES {
            return stream.read(bytes_max).await;
        }
        Err(refusal(&head, &stream.read(limits::PROBLEM_BYTES_MAX).await?))
    }

    /// A call with a message.
    pub async fn post<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        bytes_max: usize,
    ) -> Result<A, RemoteError> {
        message(&self.send(Method::POST, path, Some(to_binary(body)), bytes_max).await?)
    }

    /// A call whose answer has no message.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        bytes_max: usize,
    ) -> Result<Vec<u8>, RemoteError> {
        let request = self.client().request(method, self.address.call(path));
        let request = request.header(ACCEPT, MEDIA_BINARY).header(ACCEPT_ENCODING, "zstd");
        let (request, patience) = match body {
            Some(body) => self.with_message(request, body),
            None => (request, limits::IDLE_TIMEOUT),
        };
        self.exchange(request, patience, bytes_max).await
    }

    /// Sends pieces as one chunk body.
    pub async fn post_chunks<A: DeserializeOwned>(&self, path: &str, pieces: Vec<Bytes>) -> Result<A, RemoteError> {
        let total: usize = pieces.iter().map(Bytes::len).sum();
        let progress = Arc::new(AtomicU64::new(0));
        let counters = Arc::clone(&self.counters);
        let seen = Arc::clone(&progress);
        let rates = Arc::clone(&self.rates);
        let pieces = stream::iter(pieces.into_iter().flat_map(split)).then(move |piece| {
            let (seen, counters, rates) = (Arc::clone(&seen), Arc::clone(&counters), Arc::clone(&rates));
            async move {
                rates.up.ready(&Urgency::default()).await;
                rates.up.spend(piece.len());
                seen.fetch_add(piece.len() as u64, Ordering::Relaxed);
                counters.add_sent(piece.len());
                Ok::<_, Infallible>(piece)
            }
        });
        let request = self.client().post(self.address.call(path));
        let request = request.header(ACCEPT, MEDIA_BINARY).header(CONTENT_TYPE, MEDIA_CHUNKS);
        let request = request.header(CONTENT_LENGTH, total).body(Body::wrap_stream(pieces));
        let whole = self.exchange(request, Duration::MAX, limits::ANSWER_BYTES_MAX);
        let answer = while_progressing(limits::UPLOAD_IDLE_TIMEOUT, &progress, whole).await;
        message(&answer.unwrap_or_else(|| Err(silent()))?)
    }

    /// Sends a message and returns the answer's body as it comes.
    pub async fn post_for_stream(&self, path: &str, body: &impl Serialize) -> Result<BodyStream, RemoteError> {
        let request = self.client().post(self.address.call(path)).header(ACCEPT, MEDIA_CHUNKS);
        let (request, patience) = self.with_message(request, to_binary(body));
        let (head, mut stream) = self.start(request, patience).await?;
        if head.is_success() && head.media == MEDIA_CHUNKS {
            return Ok(stream);
        }
        Err(refusal(&head, &stream.read(limits::PROBLEM_BYTES_MAX).await?))
    }

    /// Adds a message, and says how long its answer may take: the line may be slow.
    fn with_message(&self, request: RequestBuilder, body: Vec<u8>) -> (RequestBuilder, Duration) {
        let request = request.header(CONTENT_TYPE, MEDIA_BINARY);
        let packed = (body.len() >= limits::COMPRESS_BYTES_MIN)
            .then(|| zstd::bulk::compress(&body, COMPRESS_LEVEL).ok())
            .flatten()
            .filter(|packed| packed.len() < body.len());
        let length = packed.as_ref().map_or(body.len(), Vec::len);
        self.counters.add_sent(length);
        let patience = limits::IDLE_TIMEOUT + Duration::from_secs(length as u64 / SLOWEST_BYTES_PER_SEC);
        match packed {
            Some(packed) => (request.header(CONTENT_ENCODING, "zstd").body(packed), patience),
            None => (request.body(body), patience),
        }
    }

    /// One whole exchange; returns the body of a success.
    async fn exchange(
        &self,
        request: RequestBuilder,
        patience: Duration,
        bytes_max: usize,
    ) -> Result<Vec<u8>, RemoteError> {
        let (head, mut stream) = self.start(request, patience).await?;
        let bytes_max = if head.is_success() { bytes_max } else { limits::PROBLEM_BYTES_MAX };
        let body = unpack(stream.read(bytes_max).await?, head.is_zstd, bytes_max)?;
        let is_ours = head.media == MEDIA_BINARY || (head.status == 204 && body.is_empty());
        if head.is_success() && is_ours { Ok(body) } else { Err(refusal(&head, &body)) }
    }

    async fn start(&self, request: RequestBuilder, patience: Duration) -> Result<(Head, BodyStream), RemoteError> {
        let request = match self.token() {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        self.counters.add_request();
        let mut lease = self.line.lease()?;
        let response = lease.within(patience, silent, request.send()).await?.map_err(|e| no_answer(&e))?;
        let head = head_of(response.status().as_u16(), response.headers());
        Ok((head, BodyStream { response, lease, counters: Arc::clone(&self.counters) }))
    }
}

/// The error of an answer that is none: without success, or of a media type that this server never uses.
fn refusal(head: &Head, body: &[u8]) -> RemoteError {
    if head.is_success() && head.media != MEDIA_PROBLEM {
        return RemoteError::Unreachable(format!("something else answers at this address ({})", head.media));
    }
    error_of(head, body)
}

fn head_of(status: u16, headers: &HeaderMap) -> Head {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Head { status, media, is_zstd: text(CONTENT_ENCODING).eq_ignore_ascii_case("zstd") }
}

/// Cuts bytes into pieces small enough to show progress.
fn split(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(PIECE_BYTES))))
}

/// Runs `work` until it ends, or until `progress` has not moved for `idle`.
async fn while_progressing<T>(idle: Duration, progress: &AtomicU64, work: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(work);
    loop {
        let before = progress.load(Ordering::Relaxed);
        match timeout(idle, &mut work).await {
            Ok(done) => return Some(done),
            Err(_) if progress.load(Ordering::Relaxed) == before => return None,
            Err(_) => {}
        }
    }
}

/// A body as it comes.
pub(super) struct BodyStream {
    response: Response,
    lease: Lease,
    counters: Arc<TransferCounters>,
}

impl BodyStream {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RemoteError> {
        let piece = self.lease.within(limits::IDLE_TIMEOUT, silent, self.response.chunk()).await?;
        let piece = piece.map_err(|e| no_answer(&e))?;
        self.counters.add_received(piece.as_ref().map_or(0, Bytes::len));
        Ok(piece)
    }

    async fn read(&mut self, bytes_max: usize) -> Result<Vec<u8>, RemoteError> {
        let mut body = Vec::new();
        while let Some(piece) = self.next().await? {
            if body.len() + piece.len() > bytes_max {
                return Err(too_long(bytes_max));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}
