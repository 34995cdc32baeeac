//! Owns the client's bounds. Sizes in bytes, times in milliseconds unless the name says otherwise.

use std::time::Duration;

/// Longest name in a mount (NAME_MAX).
pub const NAME_BYTES_MAX: usize = 255;
/// Contents up to this size live in the log and the slab; larger ones have a backing file.
pub const SMALL_CONTENT_BYTES_MAX: u64 = 64 << 10;
/// Small dirty contents held in memory before writers wait for the materialiser.
pub const UNMATERIALISED_BYTES_MAX: usize = 64 << 20;
/// One segment of the log.
pub const LOG_SEGMENT_BYTES: u64 = 32 << 20;
/// One record of the log; longer is damage.
pub const LOG_RECORD_BYTES_MAX: usize = 16 << 20;
/// Free space of the disk that only dirty content may use.
pub const FREE_FLOOR_BYTES: u64 = 256 << 20;
/// Default budget of clean content.
pub const CACHE_BYTES_DEFAULT: u64 = 10 << 30;
/// Default time that a read waits for the network.
pub const READ_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// First and last wait between attempts while anything is queued.
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest wait between attempts while anything is queued.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A write still uploading after this is overtaken by later operations.
pub const PARK_AFTER: Duration = Duration::from_secs(2);
/// Time to establish a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence after which a request is given up.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Silence after which a request with a large body is given up: what the kernel has taken of the body may
/// still be on its way over a slow line.
pub const UPLOAD_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Body of an answer with rows (push, pull, listing).
pub const ROWS_ANSWER_BYTES_MAX: usize = 128 << 20;
/// Body of any other answer.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Body of problem details.
pub const PROBLEM_BYTES_MAX: usize = 64 << 10;
/// One message of the notice socket.
pub const NOTICE_BYTES_MAX: usize = 64 << 10;
/// Ping over the notice socket.
pub const NOTIFY_PING: Duration = Duration::from_secs(14);
/// Pings without any sign of life after which the notice socket is dead: 42 s of silence.
pub const NOTIFY_PINGS_UNANSWERED_MAX: u32 = 2;
/// Bodies of requests from this size on are compressed.
pub const COMPRESS_BYTES_MIN: usize = 4 << 10;
