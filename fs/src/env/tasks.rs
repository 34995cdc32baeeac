//! Owns letting time pass and running what blocks. Under the mount that is tokio's timer and its threads for blocking
//! work; under the simulation a clock of its own, and the one thread that there is.

use super::Env;
use futures_util::future::{BoxFuture, Either, select};
use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::oneshot;

/// Lets time pass and runs what blocks.
pub trait Tasks: Send + Sync + Debug {
    /// Ends when this much time has passed.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
    /// Runs work that may block on the local disk or the processor. It may begin before the future is first polled, and
    /// goes on when that is dropped.
    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
}

/// Blocking work ended in a panic, or was dropped unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("blocking work was broken off")]
pub struct BrokenOff;

/// The time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time is up")]
pub struct Elapsed;

impl Env {
    /// Runs work that may block on the local disk or the processor; begins now.
    pub fn blocking<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, BrokenOff>> + Send + use<T, W> {
        let (sender, result) = oneshot::channel();
        // Whoever asked may be gone.
        let running = self.tasks.block(Box::new(move || drop(sender.send(work()))));
        async move {
            running.await;
            result.await.map_err(|_| BrokenOff)
        }
    }

    /// Lets time pass.
    pub fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.tasks.sleep(time)
    }

    /// Waits for `work` no longer than this.
    ///
    /// # Errors
    /// The time was up first; `work` is dropped.
    pub async fn timeout<T>(&self, time: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        match select(pin!(work), self.tasks.sleep(time)).await {
            Either::Left((result, _)) => Ok(result),
            Either::Right(((), _)) => Err(Elapsed),
        }
    }
}

/// Tokio's timer and threads.
#[derive(Debug)]
pub struct RealTasks;

impl Tasks for RealTasks {
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let running = tokio::task::spawn_blocking(work);
        // A panic was reported where it happened; who waits sees that there is no result.
        Box::pin(async move { drop(running.await) })
    }
}
