//! Owns what the client tells of itself: the names of its counters, rates, and the set-up of its log
//! lines. Decides nothing, opens no file: whoever starts it brings the writer.

mod counters;
mod logging;
mod rates;

pub use counters::{CounterValues, Counters};
pub use logging::{BadFilter, LogWriter, check_filter, init_logging};
pub use rates::{RateMeter, Rates};
