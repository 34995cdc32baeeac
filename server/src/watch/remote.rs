//! Owns the way to other processes: PostgreSQL's LISTEN and NOTIFY, on connections of their own.
//!
//! NOTIFY inside a transaction would hold an instance-wide lock until commit, so signals are sent
//! afterwards, by one task, the latest of each space.

use super::{Signal, Watch};
use crate::env::Env;
use crate::store::db::Dialect;
use crate::store::{Database, StoreError, spaces};
use sqlx::postgres::PgListener;
use std::time::Duration;
use tarn_proto::ids::{DeviceId, SpaceId};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;

const RETRY: Duration = Duration::from_secs(1);

/// The channel's name in the database.
pub fn notify_channel() -> &'static str {
    "tarn_watch"
}

/// Joins this process's waiters with the other processes' over PostgreSQL. Over SQLite there is one
/// process, and nothing to do. The tasks end with the set.
pub fn link(watch: &Watch, db: &Database, env: &Env, tasks: &mut JoinSet<()>) {
    if db.dialect() != Dialect::Postgres {
        return;
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    *watch.0.others.lock() = Some(sender);
    let process: [u8; 8] = env.random();
    let process = process.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    tasks.spawn(send(db.clone(), process.clone(), receiver));
    tasks.spawn(listen(watch.clone(), db.clone(), process));
}

async fn send(db: Database, process: String, mut receiver: UnboundedReceiver<Signal>) {
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, 1_024).await > 0 {
        for signal in latest(std::mem::take(&mut batch)) {
            let payload = format!("{process} {}", signal.encode());
            if let Err(error) = notify(&db, &payload).await {
                tracing::warn!(%error, "a notice to other processes was lost");
            }
        }
    }
}

/// Of several signals of one space the furthest. Its author is spared only if it made all of them.
fn latest(signals: Vec<Signal>) -> Vec<Signal> {
    let mut kept: Vec<Signal> = Vec::new();
    for signal in signals {
        match kept.iter_mut().find_map(|earlier| same_space(earlier, &signal)) {
            Some((seq, author, later_seq, later_author)) => {
                *seq = later_seq.max(*seq);
                *author = author.filter(|author| later_author == Some(*author));
            }
            None => kept.push(signal),
        }
    }
    kept
}

type Merge<'a> = (&'a mut u64, &'a mut Option<DeviceId>, u64, Option<DeviceId>);

fn same_space<'a>(earlier: &'a mut Signal, later: &Signal) -> Option<Merge<'a>> {
    match (earlier, later) {
        (Signal::Changed { space, seq, author }, Signal::Changed { space: other, seq: later, author: by })
            if space == other =>
        {
            Some((seq, author, *later, *by))
        }
        _ => None,
    }
}

async fn notify(db: &Database, payload: &str) -> Result<(), StoreError> {
    let mut conn = db.reader().await?;
    sqlx::query("SELECT pg_notify($1, $2)").bind(notify_channel()).bind(payload).execute(&mut *conn).await?;
    Ok(())
}

async fn listen(watch: Watch, db: Database, process: String) {
    loop {
        if let Err(error) = listen_once(&watch, &db, &process).await {
            tracing::warn!(%error, "notices from other processes are interrupted");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn listen_once(watch: &Watch, db: &Database, process: &str) -> Result<(), StoreError> {
    let mut listener = PgListener::connect(db.url()).await?;
    listener.listen(notify_channel()).await?;
    catch_up(watch, db).await?;
    while let Some(notification) = listener.try_recv().await? {
        let from_other = notification.payload().split_once(' ').filter(|(sender, _)| *sender != process);
        if let Some(signal) = from_other.and_then(|(_, text)| Signal::decode(text)) {
            watch.here(signal);
        }
    }
    Ok(())
}

/// Tells who waits where the spaces stand: notices may have been missed.
async fn catch_up(watch: &Watch, db: &Database) -> Result<(), StoreError> {
    let waited_for: Vec<SpaceId> = watch.spaces();
    let mut conn = db.reader().await?;
    for space in waited_for {
        if let Some(row) = spaces::get(&mut conn, space).await? {
            watch.here(Signal::Changed { space, seq: row.cursor.seq, author: None });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_furthest_signal_of_a_space_travels() {
        let (space, one, two) = (SpaceId([1; 16]), DeviceId([1; 16]), DeviceId([2; 16]));
        let changed = |seq, author| Signal::Changed { space, seq, author: Some(author) };
        assert_eq!(latest(vec![changed(1, one), changed(2, one)]), [changed(2, one)]);
        let mixed = latest(vec![changed(1, one), Signal::Revoked(one), changed(2, two)]);
        assert_eq!(mixed, [Signal::Changed { space, seq: 2, author: None }, Signal::Revoked(one)]);
    }
}
