//! Times log, journal and database on the disk that holds the given folder (default: a temporary one):
//! `cargo run --release -p tarn --example journal -- /some/folder`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tarn::env::Env;
use tarn::journal::{Journal, JournalOptions, NoContents};
use tarn::log::{Log, LogOptions, Lsn};
use tarn::meta::rows::{EntryRow, Ino, InodeRow, LocalNode, LocalOp, QueuedOp, ROOT, RowChange, Ticket, Verdict};
use tarn::meta::{Check, FILE_NAME, RemoteWork, Staged, Writer};
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::NodeId;
use tarn_proto::name::Name;
use tarn_proto::node::{Attrs, NodeKind, NodeState, Timestamp};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let dir = std::env::args_os()
        .nth(1)
        .map_or_else(|| std::env::temp_dir().join(format!("tarn-journal-{}", std::process::id())), PathBuf::from);
    let env = Env::real();
    time_log(&env, &dir.join("a"))?;
    time_journal(&env, &dir.join("b"))?;
    time_pull(&env, &dir.join("c"))?;
    println!("left behind: {}", dir.display());
    Ok(())
}

fn report(what: &str, count: u64, took: Duration) {
    let each = took.as_secs_f64() / count as f64;
    println!(
        "{what:<44} {count:>9} in {:>7.3} s, {:>8.2} us each, {:>9.0}/s",
        took.as_secs_f64(),
        each * 1e6,
        1.0 / each
    );
}

fn timed<T>(env: &Env, what: &str, count: u64, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let start = env.clock.monotonic();
    let done = work()?;
    report(what, count, env.clock.monotonic().saturating_sub(start));
    Ok(done)
}

fn time_log(env: &Env, dir: &Path) -> Outcome<()> {
    let log = Log::scan(env, dir, LogOptions::default())?.start(Lsn(1))?;
    let payload = [7; 200];
    timed(env, "log: append and flush, 200 bytes", 300_000, || {
        for n in 1..=300_000 {
            let lsn = log.append(&payload)?;
            log.flush(lsn)?;
            if n % 10_000 == 0 {
                log.truncate_before(Lsn(n))?;
            }
        }
        Ok(())
    })?;
    timed(env, "log: append and sync, one caller", 500, || {
        for _ in 0..500 {
            log.sync(log.append(&payload)?)?;
        }
        Ok(())
    })?;
    timed(env, "log: append and sync, 16 callers", 16 * 500, || {
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| (0..500).try_for_each(|_| log.append(&payload).and_then(|lsn| log.sync(lsn)))))
                .collect();
            callers.into_iter().try_for_each(|caller| caller.join().unwrap_or(Ok(())))
        })?;
        Ok(())
    })
}

fn create(n: u64) -> Outcome<Vec<RowChange>> {
    let name = Name::new(format!("file-{n:08}.txt"))?;
    let (ino, ticket) = (Ino(n + 1), Ticket(n));
    let local = LocalNode { kind: NodeKind::File, attrs: Attrs { mode: 0o644, ..Attrs::default() }, ticket };
    let node = NodeId(u128::from(n).to_be_bytes());
    let op = LocalOp::Create { ino, parent: ROOT, name: name.clone() };
    Ok(vec![
        RowChange::Inode(ino, Some(InodeRow { node: Some(node), local: Some(Box::new(local)), ..InodeRow::default() })),
        RowChange::Entry(ROOT, name, Some(EntryRow { ino: Some(ino), ticket })),
        RowChange::Queue(
            ticket,
            Some(Box::new(QueuedOp {
                op,
                time: Timestamp::default(),
                frozen: None,
                name_tries: 0,
                verdict: Verdict::Open,
            })),
        ),
    ])
}

fn time_journal(env: &Env, dir: &Path) -> Outcome<()> {
    const COUNT: u64 = 100_000;
    let (journal, _) = Journal::prepare(env, dir, JournalOptions::default())?.recover(Box::new(NoContents))?;
    let units = (1..=COUNT).map(create).collect::<Outcome<Vec<_>>>()?;
    timed(env, "journal: creates until all is in the database", COUNT, || {
        timed(env, "journal: creates, committed and flushed", COUNT, || {
            for rows in units {
                journal.wait_room()?;
                journal.flush(journal.commit(rows, Vec::new())?)?;
            }
            Ok(())
        })?;
        Ok(journal.drain()?)
    })?;
    println!("log after that: {} MiB", journal.log_bytes() >> 20);
    let readers = journal.readers();
    timed(env, "database: point reads of inodes", COUNT, || {
        for n in 1..=COUNT {
            readers.get()?.inode(Ino(1 + n * 7919 % COUNT))?;
        }
        Ok(())
    })?;
    timed(env, "database: point reads of entries", COUNT, || {
        for n in 1..=COUNT {
            let name = Name::new(format!("file-{:08}.txt", 1 + n * 7919 % COUNT))?;
            readers.get()?.local_entry(ROOT, &name)?;
        }
        Ok(())
    })
}

fn rows_of(n: u64) -> Outcome<[Change; 2]> {
    let node = NodeId(u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes());
    let parent = NodeId(u128::from(n / 200).wrapping_mul(0xD1B5_4A32_D192_ED03_9E37_79B9_7F4A_7C15).to_be_bytes());
    let state = NodeState { kind: NodeKind::Dir, attrs: Attrs { mode: 0o755, ..Attrs::default() }, file: None };
    let name = Name::new(format!("file-{n:08}.txt"))?;
    Ok([
        Change { seq: n, row: Row::Node { node, state: Some(Arc::new(state)) } },
        Change { seq: n, row: Row::Entry { parent, name, node: Some(node) } },
    ])
}

fn time_pull(env: &Env, dir: &Path) -> Outcome<()> {
    const COUNT: u64 = 500_000;
    env.disk.create_dir_all(dir)?;
    let (mut writer, _readers) = Writer::open(env.disk.as_ref(), &dir.join(FILE_NAME), Check::Quick)?;
    let changes = (1..=COUNT).map(rows_of).collect::<Outcome<Vec<_>>>()?.concat();
    let pages: Vec<RemoteWork> =
        changes.chunks(5_000).map(|page| RemoteWork { changes: page.to_vec(), ..RemoteWork::default() }).collect();
    timed(env, "database: rows of a pull, in pages of 5,000", COUNT * 2, || {
        for page in &pages {
            let mut unit = writer.unit()?;
            unit.apply_remote(page)?;
            unit.commit(0)?;
        }
        Ok(())
    })?;
    timed(env, "database: the same rows staged", COUNT * 2, || {
        for page in &pages {
            let mut unit = writer.unit()?;
            unit.stage(&page.changes)?;
            unit.commit(0)?;
        }
        Ok(())
    })?;
    timed(env, "database: the same rows swapped in", COUNT * 2, || {
        let mut unit = writer.unit()?;
        unit.apply_remote(&RemoteWork { staged: Staged::Replace, ..RemoteWork::default() })?;
        Ok(unit.commit(0)?)
    })
}
