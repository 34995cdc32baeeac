//! Owns `tarn hydrate`, `evict`, `pin` and `unpin`: four words for one kind of request.

use super::args::Evict;
use super::exit::WrongUsage;
use super::progress::Display;
use super::target::Mounted;
use super::{Context, format};
use crate::control::messages::Work;
use crate::control::{MountPath, Reply, Request};
use anyhow::{Result, bail};
use std::path::PathBuf;

pub(super) async fn hydrate(context: &Context, paths: &[PathBuf]) -> Result<()> {
    let work = ask(context, paths, |paths| Request::Hydrate { paths }).await?;
    println!("{} local, {} fetched", format::count(work.files, "file"), format::bytes(work.bytes));
    Ok(())
}

pub(super) async fn evict(context: &Context, args: &Evict) -> Result<()> {
    if args.all && args.paths.len() > 1 {
        return Err(WrongUsage("--all takes at most one path: the mount".into()).into());
    }
    let work =
        ask(context, &args.paths, |paths| Request::Evict { paths: if args.all { root() } else { paths } }).await?;
    let kept = match work.kept {
        0 => String::new(),
        kept => format!("; {} kept: not uploaded yet, pinned or in use", format::count(kept, "file")),
    };
    println!("{} freed in {}{kept}", format::bytes(work.bytes), format::count(work.files, "file"));
    Ok(())
}

pub(super) async fn pin(context: &Context, paths: &[PathBuf]) -> Result<()> {
    let work = ask(context, paths, |paths| Request::Pin { paths }).await?;
    println!("{} pinned, {} fetched", format::count(work.files, "file"), format::bytes(work.bytes));
    Ok(())
}

pub(super) async fn unpin(context: &Context, paths: &[PathBuf]) -> Result<()> {
    ask(context, paths, |paths| Request::Unpin { paths }).await?;
    Ok(())
}

/// Everything.
fn root() -> Vec<MountPath> {
    vec![MountPath::new(std::path::Path::new(""))]
}

async fn ask(context: &Context, paths: &[PathBuf], request: impl FnOnce(Vec<MountPath>) -> Request) -> Result<Work> {
    let mut mounted = Mounted::connect(context).await?;
    let request = request(mounted.all_below(paths)?);
    let mut display = Display::new(&context.env, "files");
    match mounted.client.ask(request, |progress| display.show(progress)).await? {
        Reply::Done(work) => Ok(work),
        _ => bail!("the daemon gave an answer to something else"),
    }
}
