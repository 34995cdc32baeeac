//! Owns the server's own bounds; those that both sides must agree on are in `tarn_proto::limits`.

use std::time::Duration;

/// How long a call may take, uploads and streams apart.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);
/// How long an upload's body may take.
pub const UPLOAD_TIME_MAX: Duration = Duration::from_secs(600);
/// How long in-flight calls may go on after the signal to end.
pub const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(4);
/// How long the database may take to close after that.
pub const CLOSE_TIME_MAX: Duration = Duration::from_millis(500);
/// How long a verified token is believed without asking the database (other processes' revocations).
pub const TOKEN_CACHE_TIME_MAX: Duration = Duration::from_secs(3);
/// Verified tokens kept in memory.
pub const TOKEN_CACHE_COUNT_MAX: usize = 10_000;
/// Failed logins of one user or address that are answered within [`LOGIN_WINDOW`].
pub const LOGIN_FAILURES_MAX: u32 = 10;
/// After this long without failures a user or address starts afresh.
pub const LOGIN_WINDOW: Duration = Duration::from_secs(60);
/// Users and addresses whose failures are remembered.
pub const LOGIN_KEYS_MAX: usize = 10_000;
/// Longest password in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// Devices of one account that are not revoked.
pub const DEVICES_PER_USER_MAX: usize = 256;
/// Ping over a notice socket.
pub const NOTIFY_PING: Duration = Duration::from_secs(15);
/// Silence after which a notice socket is closed.
pub const NOTIFY_SILENCE_MAX: Duration = Duration::from_secs(45);
/// Largest message a client may send over a notice socket.
pub const NOTIFY_MESSAGE_BYTES_MAX: usize = 16 << 10;
/// Memory for chunk index rows and headers.
pub const CHUNK_CACHE_BYTES_MAX: usize = 64 << 20;
/// Open pack files kept by a local store.
pub const OPEN_PACKS_MAX: usize = 256;
/// Gap between two wanted ranges of a pack below which they are read as one.
pub const COALESCE_GAP_BYTES: u64 = 4 << 10;
/// Bytes read from a pack at once.
pub const COALESCE_BYTES_MAX: u64 = 4 << 20;
/// Times a transaction is tried again after the database rolled it back for order's sake.
pub const TRANSACTION_TRIES_MAX: u32 = 20;
/// Uploads verified at once; each may hold a whole body in memory.
pub const UPLOADS_AT_ONCE_MAX: usize = 32;
/// How often measurements are summed up.
pub const METRICS_INTERVAL: Duration = Duration::from_secs(5);
