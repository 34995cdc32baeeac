//! Owns the local socket between command line and daemon: messages, server and client. Knows nothing of
//! what a request means; that is the [`Service`]'s.
//!
//! The daemon greets with one line of JSON ([`Hello`]), the client answers with one [`Request`], then
//! comes any number of [`Progress`] lines and one last line: the [`Reply`] or the [`Failure`]. One
//! request for each connection; closing it early gives the request up. Start reading at [`messages`].

mod client;
pub mod findings;
pub mod messages;
mod server;
mod service;
pub mod socket;
pub mod status;
mod time;

pub use client::{Client, ClientError, GREETING_TIMEOUT};
pub use messages::{Failure, FailureKind, Hello, MountPath, Progress, Reply, Request};
pub use server::Server;
pub use service::{ProgressSink, Service};
pub use time::{days_before, parse_rfc3339, rfc3339};

/// Version of the messages. A command and a daemon of different versions refuse each other.
pub const PROTOCOL: u32 = 1;
