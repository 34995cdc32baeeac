//! Owns the command line's end: connects, checks who answers, asks, hears progress and the last word.

use super::messages::{Asked, Failure, Hello, Line, Progress, Reply, Request};
use super::{PROTOCOL, socket};
use serde::de::DeserializeOwned;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// A daemon that does not greet within this time is stopped or stuck.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(3);
/// Short requests are answered from memory.
const SHORT_TIMEOUT: Duration = Duration::from_secs(10);
/// What the daemon gets beyond the time it was given.
const GRACE: Duration = Duration::from_secs(3);
/// A daemon that works says so at least every [`super::server::SIGN_OF_LIFE`].
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens: no daemon runs for this state.
    #[error("no daemon is running")]
    NoDaemon,
    /// Somebody listens but does not answer.
    #[error("the daemon does not answer")]
    Silent,
    /// The daemon ended, or was killed, before it replied.
    #[error("the daemon ended before it answered")]
    Ended,
    /// Another version.
    #[error(
        "the daemon (version {0}) speaks another protocol than this command: unmount and mount again with this `tarn`"
    )]
    OtherVersion(String),
    /// The daemon's answer cannot be read.
    #[error("the daemon's answer cannot be read: {0}")]
    Malformed(serde_json::Error),
    /// The daemon says that it failed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The socket failed.
    #[error("the control socket: {0}")]
    Io(io::Error),
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::NoDaemon,
            io::ErrorKind::WouldBlock => Self::Silent,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => Self::Ended,
            _ => Self::Io(error),
        }
    }
}

/// A connection to the daemon, for one request.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    hello: Hello,
}

impl Client {
    /// Connects to the socket at `path` and hears the greeting.
    ///
    /// # Errors
    /// Says why there is nobody to talk to.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        Self::connect_within(path, GREETING_TIMEOUT).await
    }

    /// The same with less patience.
    ///
    /// # Errors
    /// Says why there is nobody to talk to.
    pub async fn connect_within(path: &Path, patience: Duration) -> Result<Self, ClientError> {
        let mut stream = BufReader::new(socket::connect(path).await?);
        let greeting = read_line::<serde_json::Value>(&mut stream);
        let greeting = tokio::time::timeout(patience.min(GREETING_TIMEOUT), greeting).await;
        let greeting = greeting.map_err(|_| ClientError::Silent)??;
        if greeting["protocol"].as_u64() != Some(u64::from(PROTOCOL)) {
            let version = greeting["version"].as_str().unwrap_or("unknown");
            return Err(ClientError::OtherVersion(version.to_owned()));
        }
        let hello = serde_json::from_value(greeting).map_err(ClientError::Malformed)?;
        Ok(Self { stream, hello })
    }

    /// The process that listens at `path`, whatever version it is of.
    ///
    /// # Errors
    /// Nobody does.
    pub async fn listener(path: &Path) -> Result<u32, ClientError> {
        let pid = socket::connect(path).await?.peer_cred()?.pid();
        pid.and_then(|pid| u32::try_from(pid).ok()).ok_or(ClientError::NoDaemon)
    }

    /// Who answers.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Asks, and calls `on_progress` with each report until the last word.
    ///
    /// # Errors
    /// The daemon's failure, or why there is no answer.
    pub async fn ask(
        &mut self,
        request: Request,
        mut on_progress: impl FnMut(&Progress),
    ) -> Result<Reply, ClientError> {
        let patience = patience(&request);
        let mut bytes = serde_json::to_vec(&Asked { protocol: PROTOCOL, request }).map_err(ClientError::Malformed)?;
        bytes.push(b'\n');
        self.stream.write_all(&bytes).await?;
        let hear = async {
            loop {
                let line = tokio::time::timeout(SILENCE_MAX, read_line(&mut self.stream)).await;
                match line.map_err(|_| ClientError::Silent)?? {
                    Line::Progress(progress) => on_progress(&progress),
                    Line::Reply(reply) => return Ok(reply),
                    Line::Failure(failure) => return Err(failure.into()),
                }
            }
        };
        match patience {
            Some(patience) => tokio::time::timeout(patience, hear).await.map_err(|_| ClientError::Silent)?,
            None => hear.await,
        }
    }
}

/// How long an answer may take; `None` for work of unknown length, which shows signs of life.
fn patience(request: &Request) -> Option<Duration> {
    match request {
        Request::Wait { timeout_ms, .. } | Request::Unmount { timeout_ms, now: false } => {
            timeout_ms.map(|millis| Duration::from_millis(millis) + GRACE)
        }
        Request::Unmount { now: true, .. } => Some(SHORT_TIMEOUT),
        request => (!request.is_long()).then_some(SHORT_TIMEOUT),
    }
}

async fn read_line<T: DeserializeOwned>(stream: &mut BufReader<UnixStream>) -> Result<T, ClientError> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        return Err(ClientError::Ended);
    }
    serde_json::from_slice(&line).map_err(ClientError::Malformed)
}

#[cfg(test)]
mod tests;
