//! Owns `tarn unmount`: asks the daemon to take its mount away, and cleans up where there is no daemon any more.

use super::args::Unmount;
use super::progress::Display;
use super::target::Mounted;
use super::wait::{late, millis};
use super::{Context, format};
use crate::control::messages::QueueStatus;
use crate::control::{ClientError, Reply, Request};
use crate::daemon::{Marker, Place, release_killed};
use crate::env::mounts::{self, FS_TYPE, Pulse};
use crate::journal::StateLock;
use anyhow::{Context as _, Result, bail};
use std::time::Duration;

/// A daemon whose mount is gone ends within two seconds.
const END_WAIT: Duration = Duration::from_secs(5);

pub(super) async fn run(context: &Context, args: &Unmount) -> Result<()> {
    let place = Place::find(&args.dir)?;
    let dir = place.path.display();
    let mut mounted = match Mounted::connect_within(context, args.timeout).await {
        Ok(mounted) if mounted.mount == place.path => mounted,
        Ok(mounted) => bail!("{dir} is not the mount of this TARN_HOME, which is {}", mounted.mount.display()),
        Err(error) => return without_daemon(context, args, &place, error),
    };
    let mut display = Display::new(&context.env, "operations");
    let request = Request::Unmount { now: args.now, timeout_ms: args.timeout.map(millis) };
    let reply = mounted.client.ask(request, |progress| display.show(progress)).await;
    drop(display);
    match reply {
        Ok(Reply::Unmounted { left }) => {
            await_end(context);
            tell_left(context, left);
            Ok(())
        }
        Ok(_) => bail!("the daemon gave an answer to something else"),
        // It ended while it was asked, by a signal or somebody's umount: what was wanted is so.
        Err(ClientError::Ended) if !mounts::is_mount_point(&place.path)? => Ok(()),
        Err(ClientError::Silent) if args.now => by_force(context, &place),
        Err(error) => Err(late(error, args.timeout)),
    }
}

/// A dead mount point is cleaned up; one whose daemon hangs only when it must go now.
fn without_daemon(context: &Context, args: &Unmount, place: &Place, error: anyhow::Error) -> Result<()> {
    let dir = place.path.display();
    let Some(entry) = &place.mounted else { bail!("{dir} is not mounted") };
    if entry.fs_type != FS_TYPE {
        bail!("{dir} is not a Tarn mount but {}", entry.fs_type);
    }
    let marker = Marker::load(&context.env, &context.home);
    marker.iter().for_each(release_killed);
    if mounts::pulse(&place.path) == Pulse::Dead {
        Place::clear_dead(&place.path)?;
        println!("{dir} was a dead mount point and is cleaned up");
        return Ok(());
    }
    let is_own = marker.is_some_and(|marker| marker.mount.to_path() == place.path);
    if is_own && args.now { by_force(context, place) } else { Err(error) }
}

fn by_force(context: &Context, place: &Place) -> Result<()> {
    let dir = place.path.display();
    mounts::unmount(&place.path, true).with_context(|| format!("{dir} cannot be unmounted"))?;
    println!(
        "the daemon of {dir} did not answer; it is unmounted, and what was not uploaded yet stays in {}",
        context.home.state_dir().display()
    );
    Ok(())
}

/// The lock is free when the daemon has ended: a new mount need not wait then.
fn await_end(context: &Context) {
    if let Err(error) = StateLock::acquire(&context.env, &context.home.state_dir(), END_WAIT) {
        eprintln!("tarn: unmounted, but the daemon has not ended yet ({error})");
    }
}

fn tell_left(context: &Context, left: QueueStatus) {
    if left.operations > 0 {
        println!(
            "{} ({}) stay queued in {} and go up after the next mount",
            format::count(left.operations, "operation"),
            format::bytes(left.bytes),
            context.home.state_dir().display()
        );
    }
}
