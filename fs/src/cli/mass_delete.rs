//! Owns `tarn confirm` and `tarn undo`: what becomes of deletes that are held because they are unusually many.

use super::args::WholeMount;
use super::exit::WrongUsage;
use super::target::Mounted;
use super::{Context, format};
use crate::control::{Reply, Request};
use anyhow::{Result, bail};
use std::path::Path;

pub(super) async fn confirm(context: &Context, args: &WholeMount) -> Result<()> {
    match ask(context, args.mount.as_deref(), Request::Confirm).await? {
        0 => println!("nothing is held"),
        count => println!("{} may go to the server now", format::count(count, "held operation")),
    }
    Ok(())
}

pub(super) async fn undo(context: &Context, mount: Option<&Path>) -> Result<()> {
    match ask(context, mount, Request::Undo).await? {
        0 => println!("nothing is held"),
        count => println!("{} taken back", format::count(count, "delete")),
    }
    Ok(())
}

/// How many operations it was about.
async fn ask(context: &Context, mount: Option<&Path>, request: Request) -> Result<u64> {
    let mut mounted = Mounted::connect(context).await?;
    let path = mounted.below(mount)?;
    if !path.as_bytes().is_empty() {
        return Err(WrongUsage(format!("{path} is not the mount point: what is held is decided as a whole")).into());
    }
    match mounted.client.ask(request, |_| {}).await? {
        Reply::Done(work) => Ok(work.files),
        _ => bail!("the daemon gave an answer to something else"),
    }
}
