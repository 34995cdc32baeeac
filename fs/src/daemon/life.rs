//! Owns a daemon's life: takes the lock, makes the place ready, has the house built, listens, says that it is
//! ready, serves until the mount is gone, and ends in time whatever hangs.
//!
//! What is dirty is on the local disk by promise 1, so ending needs no upload, and cutting an end short loses nothing.

use super::ending::Ending;
use super::{Bond, Credentials, Heritage, Home, Marker, MountOptions, Place};
use crate::control::{Client, Server, Service, socket};
use crate::env::Env;
use crate::env::mounts::{self, Pulse};
use crate::fuse::Agreed;
use crate::journal::{LockError, StateLock};
use crate::vfs::OpenTable;
use anyhow::{Context, Result, bail};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Answers to the command line get this long once the mount is gone.
const ANSWERS_WAIT: Duration = Duration::from_millis(500);
/// The parts of the house get this long to end in order.
const PARTS_WAIT: Duration = Duration::from_millis(1000);
/// What is logged gets this long to come into the database before the next daemon begins.
const REST_WAIT: Duration = Duration::from_secs(10);
/// The exit status of a daemon that has made room for the next one.
pub(super) const ROOM_STATUS: i32 = 75;
/// Threads that still hang get this long.
const THREADS_WAIT: Duration = Duration::from_millis(100);
/// One try for the lock, between looks at who holds it.
const LOCK_TRY: Duration = Duration::from_millis(100);

/// What a house is built on.
#[derive(Debug)]
pub struct Ground {
    /// The outside world.
    pub env: Env,
    /// Where the state lies.
    pub home: Home,
    /// Who this device is.
    pub credentials: Credentials,
    /// How the mount is wanted; `dir` is resolved and free.
    pub options: MountOptions,
    /// The process that starts the next daemon should this one crash.
    pub bond: Option<Bond>,
}

impl Ground {
    /// The so-many-th daemon of this mount.
    pub fn life(&self) -> u32 {
        self.bond.as_ref().map_or(0, |bond| bond.life)
    }

    /// What an earlier daemon of this mount left.
    pub fn heritage(&self) -> Option<&Heritage> {
        self.bond.as_ref()?.heritage.as_ref()
    }
}

/// A house that stands: it is mounted.
pub struct Standing {
    /// What the command line's requests mean.
    pub service: Arc<dyn Service>,
    /// The mount, and how it goes away.
    pub ending: Arc<Ending>,
    /// The connection to the kernel, if the next daemon can go on with it.
    pub connection: Option<(OwnedFd, Agreed)>,
    /// The record of what is open, for the next daemon.
    pub table: Option<Arc<OpenTable>>,
    /// Brings what is only logged into the database, so that the next daemon begins at once.
    pub rest: Arc<dyn Fn() + Send + Sync>,
    /// Ends all parts in order, once the mount is gone.
    pub stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Runs a daemon until its mount is gone. Calls `ready` with the mount's path when it answers. With a `bond` the mount may be
/// an earlier daemon's, and a next one can go on with it.
///
/// # Errors
/// Why it could not be mounted, or what `ready` failed with (then the mount is taken away again).
pub fn run<B, F>(env: &Env, home: &Home, options: MountOptions, bond: Option<Bond>, build: B, ready: F) -> Result<()>
where
    B: AsyncFnOnce(&Ground) -> Result<Standing>,
    F: FnOnce(&Path) -> io::Result<()>,
{
    let credentials = signed_in(env, home)?;
    Place::find(&options.dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("tarn").build()?;
    let outcome = runtime.block_on(async {
        // From the start, or the signal would end this process.
        let mut asked = signal(SignalKind::user_defined1())?;
        let handed_on = bond.as_ref().and_then(|bond| bond.heritage.as_ref());
        let lock = match handed_on {
            Some(heritage) => StateLock::inherited(heritage.lock.try_clone()?),
            None => take_lock(env, home).await?,
        };
        let ground = ground(env, home, credentials, options, bond)?;
        let standing = build(&ground).await?;
        serve(&ground, &lock, standing, ready, &mut asked).await
    });
    runtime.shutdown_timeout(THREADS_WAIT);
    outcome
}

fn signed_in(env: &Env, home: &Home) -> Result<Credentials> {
    let credentials = Credentials::load(env, &home.credentials_file())?;
    let signed_in = credentials.filter(|credentials| credentials.token.is_some());
    signed_in.context("this device is not signed in: run `tarn login` first")
}

fn ground(
    env: &Env,
    home: &Home,
    credentials: Credentials,
    options: MountOptions,
    bond: Option<Bond>,
) -> Result<Ground> {
    let stands = bond.as_ref().is_some_and(|bond| bond.heritage.is_some());
    let dir = if stands { Place::find(&options.dir)?.path } else { free_place(env, home, &options.dir)? };
    let options = MountOptions { dir, ..options };
    Ok(Ground { env: env.clone(), home: home.clone(), credentials, options, bond })
}

fn free_place(env: &Env, home: &Home, dir: &Path) -> Result<PathBuf> {
    if let Some(marker) = Marker::load(env, home) {
        release_killed(&marker);
        // Where the last daemon of this state was killed; what it left there is of use to nobody.
        Place::clear_dead(&marker.mount.to_path())?;
    }
    Ok(Place::prepare(env, home, dir)?)
}

/// Programs that wait in the mount of a daemon that was killed, and the daemon itself if it cannot end, are told. Where
/// this process may not do that, the mount's place is made free at least.
pub fn release_killed(marker: &Marker) {
    let Some(entry) = marker.left_behind() else { return };
    let place = &entry.mount_point;
    if mounts::pulse(place) != Pulse::Silent {
        return;
    }
    let released = mounts::abort(&entry).or_else(|error| {
        tracing::warn!(%error, mount = %place.display(), "programs that wait in a killed daemon's mount cannot be told");
        mounts::unmount(place, true)
    });
    if let Err(error) = released {
        tracing::warn!(%error, mount = %place.display(), "the mount of a killed daemon could not be ended");
    }
}

/// Takes the lock of the state. A daemon that ends is waited for, one that serves is not.
async fn take_lock(env: &Env, home: &Home) -> Result<StateLock> {
    let deadline = env.clock.monotonic() + super::place::ENDING_WAIT;
    loop {
        match StateLock::acquire(env, &home.state_dir(), LOCK_TRY) {
            Err(LockError::Held(_)) => {}
            outcome => return Ok(outcome?),
        }
        let marker = Marker::load(env, home);
        if let Some(mount) = serving(marker.as_ref()).await {
            bail!(
                "this device is mounted at {} already, and one device has one mount: unmount that first, or sign in \
                 another device with a TARN_HOME of its own",
                mount.display()
            );
        }
        marker.iter().for_each(release_killed);
        if env.clock.monotonic() >= deadline {
            let pid = marker.map(|marker| format!(" (pid {})", marker.pid)).unwrap_or_default();
            let dir = home.dir().display();
            bail!("the state in {dir} is in use by a daemon{pid} that does not answer: end that process first");
        }
    }
}

/// Where the daemon that greets is mounted; `None` if none does, or its mount is gone already.
async fn serving(marker: Option<&Marker>) -> Option<PathBuf> {
    let client = Client::connect(&marker?.socket.to_path()).await.ok()?;
    let mount = client.hello().mount.to_path();
    mounts::is_mount_point(&mount).unwrap_or(true).then_some(mount)
}

async fn serve(
    ground: &Ground,
    lock: &StateLock,
    standing: Standing,
    ready: impl FnOnce(&Path) -> io::Result<()>,
    asked: &mut Signal,
) -> Result<()> {
    let mount = &ground.options.dir;
    let opened = open(ground, lock, &standing, ready).await;
    let can_leave = standing.connection.is_some();
    let server = match opened {
        Ok(server) => server,
        // The supervisor tries again, or another program: the mount stays.
        Err(error) if ground.heritage().is_some() => return Err(error),
        Err(error) => {
            standing.ending.take_away_now();
            end(ground, None, standing).await;
            return Err(error);
        }
    };
    tracing::info!(mount = %mount.display(), pid = std::process::id(), "mounted");
    while until_gone(&standing.ending, asked).await == Why::Asked {
        match ground.bond.as_ref().filter(|_| can_leave).and_then(Bond::supervisor) {
            Some(_) => leave(&standing.rest).await,
            None => tracing::warn!("asked to make room for the next daemon, but nobody would start it"),
        }
    }
    tracing::info!("the mount is gone, the daemon ends");
    end(ground, Some(server), standing).await;
    Ok(())
}

/// Listens and says that it is ready.
async fn open(
    ground: &Ground,
    lock: &StateLock,
    standing: &Standing,
    ready: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<Server> {
    let (listener, path) = listen(&ground.env, &ground.home).context("the control socket cannot be made")?;
    let server = Server::start(listener, Arc::clone(&standing.service));
    let heritage = heritage(lock, standing)?;
    let supervisor = ground.bond.as_ref().filter(|_| heritage.is_some()).and_then(Bond::supervisor);
    Marker::of_this_process(&ground.options.dir, &path, supervisor).save(&ground.env, &ground.home)?;
    if let Some(bond) = &ground.bond {
        bond.mounted(heritage);
    }
    ready(&ground.options.dir).context("whoever ran `tarn mount` is gone")?;
    Ok(server)
}

/// What the next daemon needs.
fn heritage(lock: &StateLock, standing: &Standing) -> io::Result<Option<Heritage>> {
    let (Some((device, agreed)), Some(lock)) = (&standing.connection, lock.fd()) else { return Ok(None) };
    let (device, lock) = (device.try_clone()?, lock.try_clone_to_owned()?);
    let table = standing.table.as_ref().map(|table| table.fd().try_clone_to_owned()).transpose()?;
    Ok(Some(Heritage { device, lock, table, agreed: *agreed }))
}

/// Listens at the home's socket, or inside the home if the runtime directory will not do.
fn listen(env: &Env, home: &Home) -> io::Result<(UnixListener, PathBuf)> {
    let at = |path: &Path| {
        env.disk.create_dir_all(path.parent().unwrap_or(path))?;
        Ok((socket::listen(path)?, path.to_owned()))
    };
    at(home.socket()).or_else(|error: io::Error| {
        let inside = Home::at(home.dir());
        tracing::debug!(%error, "the runtime directory cannot hold the socket");
        at(inside.socket())
    })
}

/// Why a daemon does not serve on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The mount is gone.
    Gone,
    /// It was asked to make room for the next one.
    Asked,
}

/// Waits until the mount is gone, or is to go on with the next daemon; a signal that asks for the end takes it away.
async fn until_gone(ending: &Arc<Ending>, asked: &mut Signal) -> Why {
    let (Ok(mut term), Ok(mut int), Ok(mut hangup)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
    else {
        ending.gone().await;
        return Why::Gone;
    };
    loop {
        tokio::select! {
            () = ending.gone() => return Why::Gone,
            _ = asked.recv() => return Why::Asked,
            _ = term.recv() => asked_to_end(ending),
            _ = int.recv() => asked_to_end(ending),
            // The terminal it was started from is closed: that is no reason to end.
            _ = hangup.recv() => {}
        }
    }
}

fn asked_to_end(ending: &Arc<Ending>) {
    tracing::info!("asked to end by a signal");
    let ending = Arc::clone(ending);
    // fusermount3 may take its time; the loop goes on and sees the mount go.
    tokio::task::spawn_blocking(move || ending.take_away_now());
}

/// Ends this process, not the mount: what is under way in the kernel is asked again of the next daemon, as after a crash. All that is
/// left to do before that is done while calls are answered still.
async fn leave(rest: &Arc<dyn Fn() + Send + Sync>) {
    tracing::info!("asked to make room for the next daemon");
    let rest = Arc::clone(rest);
    let rested = tokio::task::spawn_blocking(move || rest());
    if tokio::time::timeout(REST_WAIT, rested).await.is_err() {
        tracing::warn!("the log could not be brought into the database in time; the next daemon replays it");
    }
    // SAFETY: ends the process without running anything more of it: an end in order would take the mount along.
    unsafe { libc::_exit(ROOM_STATUS) }
}

async fn end(ground: &Ground, server: Option<Server>, standing: Standing) {
    ground.bond.iter().for_each(Bond::ended);
    if let Some(server) = server {
        server.stop(ANSWERS_WAIT).await;
    }
    if tokio::time::timeout(PARTS_WAIT, standing.stop).await.is_err() {
        tracing::warn!("not all parts ended in time; the next mount replays the log");
    }
    if let Some(marker) = Marker::load(&ground.env, &ground.home) {
        socket::remove(&marker.socket.to_path());
    }
    if let Err(error) = Marker::remove(&ground.env, &ground.home) {
        tracing::warn!(%error, "the daemon's marker stays");
    }
}

#[cfg(test)]
mod tests;
