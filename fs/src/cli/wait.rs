//! Owns `tarn wait`: returns when everything this device did before is durable on the server.

use super::Context;
use super::args::Wait;
use super::exit::NotInTime;
use super::progress::Display;
use super::target::Mounted;
use crate::control::{ClientError, Request};
use anyhow::Result;
use std::time::Duration;

pub(super) async fn run(context: &Context, args: &Wait) -> Result<()> {
    let mut mounted = Mounted::connect_within(context, args.timeout).await?;
    let path = mounted.below(args.path.as_deref())?;
    let mut display = Display::new(&context.env, "operations");
    let request = Request::Wait { path, timeout_ms: args.timeout.map(millis) };
    let reply = mounted.client.ask(request, |progress| display.show(progress)).await;
    drop(display);
    reply.map(drop).map_err(|error| late(error, args.timeout))
}

/// Whole milliseconds; more than a `u64` holds is for ever.
pub(super) fn millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
}

/// A daemon that says nothing until the time is over has not finished in time either.
pub(super) fn late(error: ClientError, timeout: Option<Duration>) -> anyhow::Error {
    match (error, timeout) {
        (ClientError::Silent, Some(_)) => NotInTime("not finished in time: the daemon does not answer".into()).into(),
        (error, _) => error.into(),
    }
}
