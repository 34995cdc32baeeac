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
/// The smallest segment: a log takes this part of a small budget, and a segment of it at least.
pub const LOG_SEGMENT_BYTES_MIN: u64 = 256 << 10;
/// The database's write-ahead log before it is brought into the database.
pub const WAL_BYTES: u64 = 32 << 20;
/// Of a budget, one segment of the log, and the database's write-ahead log, take this part each.
pub const LOG_SHARE: u64 = 128;
/// Of a budget, what waits for the materialiser (it is in the log) takes this part.
pub const UNMATERIALISED_SHARE: u64 = 16;
/// Of a budget, what one reader fetches ahead takes this part.
pub const READ_AHEAD_SHARE: u64 = 64;
/// Furthest that is fetched ahead of one reader.
pub const READ_AHEAD_BYTES_MAX: u64 = 16 << 20;
/// A sequential reader is always fetched this much ahead of.
pub const READ_AHEAD_BYTES_MIN: u64 = 1 << 20;
/// One record of the log; longer is damage.
pub const LOG_RECORD_BYTES_MAX: usize = 16 << 20;
/// Free space of the disk that only dirty content may use.
pub const FREE_FLOOR_BYTES: u64 = 256 << 20;
/// Default budget of clean content.
pub const CACHE_BYTES_DEFAULT: u64 = 10 << 30;
/// Default number of files and folders that are kept in memory: about 60 MB.
pub const FILES_IN_MEMORY_DEFAULT: usize = 20_000;
/// Fewer would be read from the database again and again.
pub const FILES_IN_MEMORY_MIN: usize = 100;
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
/// A pull at least this often, whatever notices say: one may be lost.
pub const PULL_EVERY: Duration = Duration::from_secs(300);
/// A page of the whole tree waits so long for folders that somebody lists: who lists one after the other must not hold it up for ever.
pub const LISTING_AHEAD_MAX: Duration = Duration::from_secs(5);
/// Longest wait between attempts to open the notice socket while nothing is queued.
pub const LINK_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A file that programs still write is sent once it has been quiet this long.
pub const OPEN_QUIET_MIN: Duration = Duration::from_secs(2);
/// A file that programs never stop writing is sent at least this often.
pub const OPEN_AGE_MAX: Duration = Duration::from_secs(30);
/// A rename, a removal or a temporary file waits this long for what may follow it when a program saves a file.
pub const SECOND_HALF_WAIT: Duration = Duration::from_secs(2);
/// The same for a temporary file that programs still write.
pub const SECOND_HALF_WAIT_OPEN: Duration = Duration::from_secs(600);
/// Such waits end at multiples of this.
pub const SECOND_HALF_STEP: Duration = Duration::from_millis(200);
/// Queued operations that the engine looks at.
pub const QUEUE_WINDOW: usize = 4_096;
/// Operations that may be overtaken at a time; beyond it the queue stands still.
pub const PARKED_MAX: usize = 1_024;
/// Contents up to this size are sent many to a request.
pub const GROUPED_CONTENT_BYTES_MAX: u64 = 1 << 20;
/// Contents of one group of small ones.
pub const GROUP_BYTES_MAX: u64 = 16 << 20;
/// A second group is not started for less than this, or [`GROUP_COUNT_MIN`] contents.
pub const GROUP_BYTES_MIN: u64 = 4 << 20;
/// See [`GROUP_BYTES_MIN`].
pub const GROUP_COUNT_MIN: usize = 256;
/// Groups of small contents sent at once.
pub const GROUPS_MAX: usize = 2;
/// Further ones, when those take long; of contents up to [`BESIDE_CONTENT_BYTES_MAX`] alone.
pub const BESIDE_GROUPS_MAX: usize = 2;
/// See [`BESIDE_GROUPS_MAX`].
pub const BESIDE_CONTENT_BYTES_MAX: u64 = 64 << 10;
/// Large contents sent at once.
pub const LARGE_UPLOADS_MAX: usize = 2;
/// Bodies of one large content sent at once.
pub const BODIES_PER_UPLOAD_MAX: usize = 3;
/// Stored chunks in one body, unless one alone is larger.
pub const UPLOAD_BODY_BYTES: usize = 8 << 20;
/// Encoded chunks in memory.
pub const UPLOAD_MEMORY_BYTES_MAX: usize = 64 << 20;

/// What was fetched on a guess and not read yet may be this part of the budget when room is made: one in so many.
pub const GUESSED_SHARE: u64 = 256;
