//! Looks at what lies on the local disk: credentials, database, space.

use super::Finding;
use crate::cli::{Context, format};
use crate::control::{Client, Request};
use crate::daemon::{Credentials, CredentialsError, Marker};
use crate::journal::{LockError, StateLock};
use crate::limits::FREE_FLOOR_BYTES;
use crate::meta::{self, Check};
use crate::tree::damage_notes;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

type Loaded = Result<Option<Credentials>, CredentialsError>;

pub(super) async fn look(context: &Context, credentials: &Loaded) -> Vec<Finding> {
    let mut all = vec![signed_in(credentials), readable(context), space(context), database(context).await];
    let notes = damage_notes(&context.env, &context.home.state_dir()).unwrap_or_default();
    all.extend(notes.iter().filter_map(|note| Some(Finding::bad("local log", note.lines().next()?))));
    all
}

fn signed_in(credentials: &Loaded) -> Finding {
    match credentials {
        Ok(Some(who)) if who.token.is_some() => {
            Finding::good("signed in", format_args!("{} at {}", who.user, who.server))
        }
        Ok(Some(who)) => Finding::bad("signed in", format_args!("{} is signed out: run `tarn login`", who.user)),
        Ok(None) => Finding::bad("signed in", "nobody: run `tarn login`"),
        Err(error) => Finding::bad("signed in", error),
    }
}

/// The token opens the whole account.
fn readable(context: &Context) -> Finding {
    let file = context.home.credentials_file();
    let mode = std::fs::metadata(&file).map(|meta| meta.permissions().mode() & 0o777);
    match mode {
        Ok(mode) if mode & 0o077 != 0 => {
            let file = file.display();
            Finding::bad("credentials", format_args!("{file} can be read by others ({mode:o}): chmod 600 {file}"))
        }
        Ok(_) => Finding::good("credentials", file.display()),
        Err(_) => Finding::note("credentials", "none yet"),
    }
}

fn space(context: &Context) -> Finding {
    let dir = context.home.dir();
    let existing = dir.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    match context.env.disk.free_bytes(existing) {
        Ok(free) if free < FREE_FLOOR_BYTES => Finding::bad(
            "disk space",
            format_args!(
                "{} free in {}, and the last {} are for what is not uploaded yet: make room",
                format::bytes(free),
                dir.display(),
                format::bytes(FREE_FLOOR_BYTES)
            ),
        ),
        Ok(free) => Finding::good("disk space", format_args!("{} free in {}", format::bytes(free), dir.display())),
        Err(error) => Finding::bad("disk space", format_args!("{}: {error}", dir.display())),
    }
}

/// A daemon that answers has its database open; without one it is looked at page by page.
async fn database(context: &Context) -> Finding {
    let dir = context.home.state_dir();
    let file = dir.join(meta::FILE_NAME);
    if !file.exists() {
        return Finding::note("database", "none yet: the first mount makes it");
    }
    match StateLock::acquire(&context.env, &dir, Duration::ZERO) {
        Ok(_lock) => match meta::Writer::open(context.env.disk.as_ref(), &file, Check::Pages) {
            Ok(_) => Finding::good("database", file.display()),
            Err(error) => Finding::bad("database", error),
        },
        Err(LockError::Held(_)) => answers(context).await,
        Err(error) => Finding::bad("database", error),
    }
}

async fn answers(context: &Context) -> Finding {
    let asked = async {
        let marker = Marker::load(&context.env, &context.home)?;
        Client::connect(&marker.socket.to_path()).await.ok()?.ask(Request::Status, |_| {}).await.ok()
    };
    match asked.await {
        Some(_) => Finding::good("database", "in use by the daemon, which answers"),
        None => Finding::bad("database", "in use by a daemon that does not answer: see its log, end it, mount again"),
    }
}
