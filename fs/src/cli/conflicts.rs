//! Owns `tarn conflicts`: versions that two devices wrote without knowing of each other. Both are kept until a person
//! says which of them is wanted; the other one stays in the history.

use super::Context;
use super::args::Conflicts;
use super::diff;
use super::exit::WrongUsage;
use super::status::print_json;
use super::target::Mounted;
use crate::control::messages::{Choice, ConflictRow, Resolved};
use crate::control::{MountPath, Reply, Request};
use crate::env::{Env, OpenMode};
use anyhow::{Context as _, Result, bail};
use serde_json::json;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use tarn_proto::api::Keep;

/// A merged content is copied in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

pub(super) async fn run(context: &Context, args: &Conflicts) -> Result<()> {
    let mut mounted = Mounted::connect(context).await?;
    let path = mounted.below(args.path.as_deref())?;
    match choice(args) {
        Some(choice) => resolve(context, mounted, args, path, choice).await,
        None => list(&mut mounted, args, path).await,
    }
}

fn choice(args: &Conflicts) -> Option<Choice> {
    let flags = [
        (args.mine, Choice::Mine),
        (args.theirs, Choice::Theirs),
        (args.both, Choice::Both),
        (args.merged.is_some(), Choice::Merged),
    ];
    flags.into_iter().find_map(|(is_set, choice)| is_set.then_some(choice))
}

async fn rows(mounted: &mut Mounted, path: MountPath) -> Result<Vec<ConflictRow>> {
    match mounted.client.ask(Request::Conflicts { path }, |_| {}).await? {
        Reply::Conflicts(rows) => Ok(rows),
        _ => bail!("the daemon gave an answer to something else"),
    }
}

async fn list(mounted: &mut Mounted, args: &Conflicts, path: MountPath) -> Result<()> {
    let rows = rows(mounted, path).await?;
    if args.json {
        return print_json(&json!({ "conflicts": rows }));
    }
    if rows.is_empty() {
        println!("no conflicts");
    }
    for row in &rows {
        println!("{}", describe(row));
        if args.diff {
            println!("{}", difference(&mounted.mount, row));
        }
    }
    Ok(())
}

fn describe(row: &ConflictRow) -> String {
    let ConflictRow { id, path, sibling, device, time } = row;
    let path = if path.is_empty() { format!("(a file that is gone, --id {id})") } else { path.clone() };
    let other = sibling.as_ref().map(|name| format!("\n  the other version: {name}")).unwrap_or_default();
    format!("{path}: also written by {device}, {time}{other}")
}

fn difference(mount: &Path, row: &ConflictRow) -> String {
    match &row.sibling {
        Some(sibling) if !row.path.is_empty() => diff::between(mount, &row.path, sibling),
        Some(_) => "  the other version is the only one that is left\n".to_owned(),
        None => "  the other version has no file of its own; --both gives it one\n".to_owned(),
    }
}

async fn resolve(
    context: &Context,
    mut mounted: Mounted,
    args: &Conflicts,
    path: MountPath,
    choice: Choice,
) -> Result<()> {
    if args.id.is_none() && path.as_bytes().is_empty() {
        return Err(WrongUsage("say which conflict: name the file, or use --id".to_owned()).into());
    }
    if let Some(merged) = &args.merged {
        // A connection is for one question.
        bring_in(context, args, &path, merged).await?;
    }
    let request = Request::Resolve { path, conflict: args.id.clone(), choice };
    let Reply::Resolved(resolved) = mounted.client.ask(request, |_| {}).await? else {
        bail!("the daemon gave an answer to something else");
    };
    let said = said(&resolved);
    if !resolved.is_as_wanted {
        bail!("{said}");
    }
    println!("{said}");
    Ok(())
}

fn said(resolved: &Resolved) -> String {
    let Resolved { path, keep, device, before_by, .. } = resolved;
    let kept = match keep {
        Keep::Stayed => format!("the version of {device} is not kept"),
        Keep::Theirs => format!("the version of {device} is kept"),
        Keep::Both => "both versions are kept".to_owned(),
        Keep::Merged => "what was made of both is kept".to_owned(),
    };
    match before_by {
        Some(by) => format!("{path}: {by} has resolved it before: {kept}"),
        None => format!("{path}: {kept}"),
    }
}

/// Writes the merged content into the contended file, as any program would.
async fn bring_in(context: &Context, args: &Conflicts, path: &MountPath, merged: &Path) -> Result<()> {
    let mut mounted = Mounted::connect(context).await?;
    let rows = rows(&mut mounted, path.clone()).await?;
    let wanted = path.to_string();
    let is_meant = |row: &&ConflictRow| match &args.id {
        Some(id) => row.id == *id,
        None => row.path == wanted || row.sibling.as_deref() == Some(wanted.as_str()),
    };
    let Some(row) = rows.iter().find(is_meant) else { bail!("{wanted} is in no open conflict: see `tarn conflicts`") };
    if row.path.is_empty() {
        bail!("the file is gone: `--both` keeps what is left of it");
    }
    let target = mounted.mount.join(&row.path);
    let from = File::open(merged).with_context(|| merged.display().to_string())?;
    copy(&context.env, from, &target).with_context(|| format!("copying {} to {}", merged.display(), target.display()))
}

fn copy(env: &Env, mut from: File, to: &Path) -> io::Result<()> {
    let to = env.disk.open(to, OpenMode::Existing)?;
    let (mut piece, mut at) = (vec![0; PIECE_BYTES], 0);
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            return to.set_len(at);
        }
        to.write_at(&piece[..count], at)?;
        at += count as u64;
    }
}
