//! Owns whether this device may use the network: while the line is cut no request is begun, and those that were on their way
//! end at once, whatever the connection does. After that nothing goes on over an old connection.

use super::RemoteError;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// The way to the server, of all clones of a client.
#[derive(Debug)]
pub(super) struct Line {
    /// How often it was cut or mended: odd while it is cut.
    turns: watch::Sender<u64>,
}

impl Default for Line {
    fn default() -> Self {
        Self { turns: watch::Sender::new(0) }
    }
}

/// The use of the line by one request or socket.
#[derive(Debug)]
pub(super) struct Lease {
    turns: watch::Receiver<u64>,
    since: u64,
}

fn is_cut(turns: u64) -> bool {
    !turns.is_multiple_of(2)
}

fn resting() -> RemoteError {
    RemoteError::Unreachable("this machine goes to sleep".into())
}

impl Line {
    /// Begins to use the line.
    pub fn lease(&self) -> Result<Lease, RemoteError> {
        let turns = self.turns.subscribe();
        let since = *turns.borrow();
        if is_cut(since) { Err(resting()) } else { Ok(Lease { turns, since }) }
    }

    /// Ends every use, until [`Self::mend`].
    pub fn cut(&self) {
        self.turns.send_if_modified(|turns| {
            let changes = !is_cut(*turns);
            *turns += u64::from(changes);
            changes
        });
    }

    /// Allows it again.
    pub fn mend(&self) {
        self.turns.send_if_modified(|turns| {
            let changes = is_cut(*turns);
            *turns += u64::from(changes);
            changes
        });
    }
}

impl Lease {
    /// Returns when the line has been cut since.
    pub async fn ended(&mut self) {
        let since = self.since;
        // An error says that the line is gone with its client: nobody can cut it any more.
        if self.turns.wait_for(|turns| *turns != since).await.is_err() {
            std::future::pending().await
        }
    }

    /// Does `work` unless it takes longer than `patience`, or the line is cut.
    pub async fn within<T>(
        &mut self,
        patience: Duration,
        late: impl FnOnce() -> RemoteError,
        work: impl Future<Output = T>,
    ) -> Result<T, RemoteError> {
        tokio::select! {
            biased;
            () = self.ended() => Err(resting()),
            done = timeout(patience, work) => done.map_err(|_| late()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    const LONG: Duration = Duration::from_secs(600);

    fn late() -> RemoteError {
        RemoteError::Unreachable("late".into())
    }

    #[tokio::test]
    async fn what_is_on_its_way_ends_when_the_line_is_cut_and_nothing_begins_before_it_is_mended() {
        let line = Line::default();
        let mut lease = line.lease().unwrap();
        assert_eq!(lease.within(LONG, late, ready(1)).await.unwrap(), 1);
        let waits = lease.within(LONG, late, pending::<()>());
        let (ended, ()) = tokio::join!(waits, async { line.cut() });
        assert!(ended.unwrap_err().is_retryable());
        assert!(line.lease().is_err());
        line.cut();
        line.mend();
        line.mend();
        assert!(line.lease().is_ok());
    }

    #[tokio::test]
    async fn what_began_before_a_cut_does_not_go_on_after_it() {
        let line = Line::default();
        let mut before = line.lease().unwrap();
        line.cut();
        line.mend();
        assert!(before.within(LONG, late, ready(1)).await.is_err(), "its connection may be dead");
        assert!(line.lease().unwrap().within(LONG, late, ready(1)).await.is_ok());
    }

    #[tokio::test]
    async fn without_a_cut_the_time_is_up_as_ever() {
        let line = Line::default();
        let ended = line.lease().unwrap().within(Duration::ZERO, late, pending::<()>()).await;
        assert!(matches!(ended, Err(RemoteError::Unreachable(why)) if why == "late"));
    }
}
