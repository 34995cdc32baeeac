//! Owns the daemon's end: accepts, greets, has one request answered for each connection, reports progress.

use super::PROTOCOL;
use super::messages::{Asked, Failure, Line, Progress, Reply};
use super::service::{ProgressSink, Service, dispatch};
use super::socket::check_peer;
use serde::Serialize;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A request is no longer than this: a few thousand paths.
const REQUEST_BYTES_MAX: u64 = 16 << 20;
/// A client that connects says what it wants within this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// While work goes on its client hears of it at least this often.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// Progress is not sent more often.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Serves the socket until it is told to stop.
#[derive(Debug)]
pub struct Server {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Begins to serve on the current runtime.
    pub fn start(listener: UnixListener, service: Arc<dyn Service>) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: tokio::spawn(accept(listener, service, stopped)) }
    }

    /// Accepts no more, and lets requests that are being answered end, for at most `patience`.
    pub async fn stop(self, patience: Duration) {
        self.stop.send_replace(true);
        if tokio::time::timeout(patience, self.task).await.is_err() {
            tracing::warn!("requests of the command line are cut off");
        }
    }
}

async fn accept(listener: UnixListener, service: Arc<dyn Service>, stopped: watch::Receiver<bool>) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(attend(stream, Arc::clone(&service), stopped.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection of the command line could not be accepted");
                    tokio::time::sleep(PROGRESS_EVERY).await;
                }
            },
            Some(_) = clients.join_next(), if !clients.is_empty() => {}
            () = told(stopped.clone()) => break,
        }
    }
    drop(listener);
    while clients.join_next().await.is_some() {}
}

/// Waits until the server is told to stop.
async fn told(mut stopped: watch::Receiver<bool>) {
    // Without a sender nobody holds the server any more, which says the same.
    let _stop = stopped.wait_for(|stop| *stop).await;
}

async fn attend(stream: UnixStream, service: Arc<dyn Service>, stopped: watch::Receiver<bool>) {
    if let Err(error) = check_peer(&stream) {
        tracing::warn!(%error, "a connection to the control socket is refused");
        return;
    }
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    // A client that asks nothing must not keep the daemon from ending.
    let asked = tokio::select! {
        asked = greet(&mut read, &mut write, &*service) => asked,
        () = told(stopped) => return,
    };
    let answered = match asked {
        Ok(asked) => answer(asked, &mut read, &mut write, &*service).await,
        Err(error) => Err(error),
    };
    if let Err(error) = answered {
        tracing::debug!(%error, "the command line went away");
    }
}

async fn greet(
    read: &mut BufReader<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
    service: &dyn Service,
) -> io::Result<Result<Asked, Failure>> {
    send(write, &service.hello()).await?;
    let mut line = Vec::new();
    let mut limited = read.take(REQUEST_BYTES_MAX);
    tokio::time::timeout(REQUEST_TIMEOUT, limited.read_until(b'\n', &mut line)).await??;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(read_request(&line))
}

fn read_request(line: &[u8]) -> Result<Asked, Failure> {
    // The version first: a request of another version may be unreadable.
    let value: serde_json::Value = serde_json::from_slice(line).map_err(bad_request)?;
    let protocol = value.get("protocol").and_then(serde_json::Value::as_u64);
    if protocol != Some(u64::from(PROTOCOL)) {
        return Err(Failure::failed(format_args!(
            "this command and the daemon are of different versions (protocol {}, the daemon's is {PROTOCOL}): \
             unmount and mount again with the same `tarn`",
            protocol.unwrap_or(0)
        )));
    }
    serde_json::from_value(value).map_err(bad_request)
}

fn bad_request(error: serde_json::Error) -> Failure {
    Failure::failed(format_args!("the request cannot be read: {error}"))
}

async fn answer(
    asked: Result<Asked, Failure>,
    read: &mut BufReader<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
    service: &dyn Service,
) -> io::Result<()> {
    let last = match asked {
        Ok(asked) => work(asked, read, write, service).await?,
        Err(failure) => Err(failure),
    };
    let line = match last {
        Ok(reply) => Line::Reply(reply),
        Err(failure) => Line::Failure(failure),
    };
    send(write, &line).await
}

/// Works on a request until it is answered or the client is gone, and says meanwhile how far it has come.
async fn work(
    asked: Asked,
    read: &mut BufReader<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
    service: &dyn Service,
) -> io::Result<Result<Reply, Failure>> {
    let (sink, mut progress) = ProgressSink::new();
    let work = dispatch(service, asked.request, &sink);
    tokio::pin!(work);
    let mut byte = [0];
    loop {
        tokio::select! {
            biased;
            reply = &mut work => return Ok(reply),
            gone = read.read(&mut byte) => {
                gone?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            () = news(&mut progress) => {
                let line = Line::Progress(progress.borrow_and_update().clone());
                send(write, &line).await?;
                // The work goes on meanwhile: a reply is not kept waiting for the next report.
                if let Ok(reply) = tokio::time::timeout(PROGRESS_EVERY, &mut work).await {
                    return Ok(reply);
                }
            }
        }
    }
}

/// Waits for progress, or until it is time for a sign of life.
async fn news(progress: &mut watch::Receiver<Progress>) {
    // The sink lives as long as the work; late or changed, the same is sent.
    let _late = tokio::time::timeout(SIGN_OF_LIFE, progress.changed()).await;
}

async fn send(write: &mut OwnedWriteHalf, line: &impl Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    write.write_all(&bytes).await
}
