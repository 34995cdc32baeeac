//! Owns `tarn conflicts`: versions that two devices wrote without knowing of each other. Both are kept.

use super::Context;
use super::args::Look;
use super::status::print_json;
use super::target::Mounted;
use crate::control::messages::ConflictRow;
use crate::control::{Reply, Request};
use anyhow::{Result, bail};
use serde_json::json;

pub(super) async fn run(context: &Context, args: &Look) -> Result<()> {
    let mut mounted = Mounted::connect(context).await?;
    let path = mounted.below(args.path.as_deref())?;
    let Reply::Conflicts(rows) = mounted.client.ask(Request::Conflicts { path }, |_| {}).await? else {
        bail!("the daemon gave an answer to something else");
    };
    if args.json {
        return print_json(&json!({ "conflicts": rows }));
    }
    if rows.is_empty() {
        println!("no conflicts");
    }
    rows.iter().for_each(|row| println!("{}", describe(row)));
    Ok(())
}

fn describe(row: &ConflictRow) -> String {
    let ConflictRow { path, sibling, device, time, .. } = row;
    let other = sibling.as_ref().map(|name| format!("\n  the other version: {name}")).unwrap_or_default();
    format!("{path}: also written by {device}, {time}{other}")
}
