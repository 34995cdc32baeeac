//! Owns how the client tells of itself: the names of its counters and rates, and the set-up of its log lines.
//! Decides nothing, opens no file: whoever starts it brings the writer.

mod counters;
mod logging;

pub use counters::{CounterValues, Rates};
pub use logging::{BadFilter, LogWriter, check_filter, init_logging};
