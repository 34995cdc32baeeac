//! Owns `tarn restart`: the daemon makes room for the next one, of the program that is installed now. A signal asks for it, so that
//! a daemon of any version understands.

use super::Context;
use super::args::WholeMount;
use super::exit::{NotInTime, WrongUsage};
use super::target::absolute;
use crate::control::{Client, ClientError, Hello};
use crate::daemon::Marker;
use crate::env::mounts;
use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::time::Duration;

/// Recovery of a large log takes a while, and a program that does not begin is tried before the old one is.
const NEXT_WAIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) async fn run(context: &Context, args: &WholeMount) -> Result<()> {
    let Some(marker) = Marker::load(&context.env, &context.home) else {
        bail!("nothing is mounted for {}: run `tarn mount DIR`", context.home.dir().display());
    };
    let (mount, socket) = (marker.mount.to_path(), marker.socket.to_path());
    if let Some(path) = &args.mount
        && absolute(path)?.canonicalize().unwrap_or_else(|_| path.clone()) != mount
    {
        let why = format!("{} is not the mount of this TARN_HOME, which is {}", path.display(), mount.display());
        return Err(WrongUsage(why).into());
    }
    let before = Client::listener(&socket).await?;
    if marker.supervisor.is_none() || marker.supervisor != parent_of(before) {
        bail!(
            "{} has no supervisor that would start the next daemon (--no-supervisor, --foreground, or a kernel before \
             Linux 6.16): unmount, then mount again",
            mount.display()
        );
    }
    let pid = i32::try_from(before).ok().and_then(Pid::from_raw);
    pid.map_or(Ok(()), |pid| kill_process(pid, Signal::USR1))?;
    tell(&mount, next(context, &socket, &mount, before).await?)
}

/// The greeting of the daemon after `before`; `None` if it is of another version than this command.
async fn next(context: &Context, socket: &Path, mount: &Path, before: u32) -> Result<Option<Hello>> {
    let deadline = context.env.clock.monotonic() + NEXT_WAIT;
    while context.env.clock.monotonic() < deadline {
        if Client::listener(socket).await.is_ok_and(|pid| pid != before) {
            match Client::connect(socket).await {
                Ok(client) => return Ok(Some(client.hello().clone())),
                Err(ClientError::OtherVersion(_)) => return Ok(None),
                Err(_) => {}
            }
        }
        if !mounts::is_mount_point(mount)? {
            bail!(
                "no daemon could go on with {}: it is unmounted, and the log says why; nothing is lost",
                mount.display()
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let wait = NEXT_WAIT.as_secs();
    let why = format!("the next daemon of {} did not answer within {wait} s; the log says why", mount.display());
    Err(NotInTime(why).into())
}

fn tell(mount: &Path, next: Option<Hello>) -> Result<()> {
    let mount = mount.display();
    match next {
        Some(hello) if hello.fell_back => bail!(
            "the version that is installed could not go on with {mount} (the log says why): the one before does, version {}. \
             Nothing is lost; unmount, then mount again, or install another version",
            hello.version
        ),
        Some(hello) => println!("{mount} goes on under version {}", hello.version),
        None => println!("{mount} goes on under another version than this `tarn` is of"),
    }
    Ok(())
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name may hold blanks and parentheses.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
