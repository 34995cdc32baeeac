//! Owns `tarn undo`: held deletes of this device come back, or the server takes back what any device of the account did.

use super::account::{account_of, signed_in, told};
use super::args::Undo;
use super::units::Since;
use super::{Context, format, mass_delete};
use crate::remote::Account;
use anyhow::{Result, bail};
use tarn_proto::api::{UndoRequest, UndoResponse};
use tarn_proto::ids::DeviceId;
use tarn_proto::node::Timestamp;

pub(super) async fn run(context: &Context, args: &Undo) -> Result<()> {
    let (Some(name), Some(since)) = (&args.device, args.since) else {
        return mass_delete::undo(context, args.mount.as_deref()).await;
    };
    let credentials = signed_in(context)?;
    let account = account_of(&credentials)?;
    let since = match since {
        Since::At(at) => at,
        Since::Ago(ago) => before(context.env.clock.wall(), ago.as_secs()),
    };
    let request = UndoRequest { device: device(&account, name).await?, since };
    let response = account.undo(credentials.home, &request).await.map_err(told)?;
    print!("{}", describe(&response));
    match response.left.len() {
        0 => Ok(()),
        count => bail!("{} not taken back", format::count(count as u64, "change")),
    }
}

fn before(now: Timestamp, secs: u64) -> Timestamp {
    Timestamp { secs: now.secs.saturating_sub(i64::try_from(secs).unwrap_or(i64::MAX)), ..now }
}

/// The device of a name; one that may still come in before one that was revoked.
async fn device(account: &Account, name: &str) -> Result<DeviceId> {
    let devices = account.devices().await.map_err(told)?;
    let named: Vec<_> = devices.iter().filter(|device| device.name == name).collect();
    match named.iter().find(|device| !device.revoked).or(named.first()) {
        Some(device) => Ok(device.device),
        None => bail!("no device is called {name} (see tarn devices)"),
    }
}

fn describe(response: &UndoResponse) -> String {
    let UndoResponse { undone, conflicts, left, .. } = response;
    let mut text = match undone {
        0 => "nothing to take back\n".to_owned(),
        1 => "1 file or folder as before\n".to_owned(),
        count => format!("{count} files and folders as before\n"),
    };
    if *conflicts > 0 {
        let files = format::count(*conflicts, "file");
        text.push_str(&format!("{files} written by others since: what was before is in `tarn conflicts`\n"));
    }
    for left in left {
        let name = left.name.as_ref().map_or_else(|| left.node.to_string(), ToString::to_string);
        text.push_str(&format!("{name}: {}\n", left.why));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tarn_proto::api::UndoLeft;
    use tarn_proto::ids::NodeId;
    use tarn_proto::name::Name;

    #[test]
    fn people_read_what_was_taken_back_and_what_was_not() {
        let left = UndoLeft { node: NodeId([1; 16]), name: Name::new("plan").ok(), why: "its name is taken".into() };
        let mut response = UndoResponse { undone: 3, conflicts: 1, left: vec![left], seq: 9 };
        assert_eq!(
            describe(&response),
            "3 files and folders as before\n1 file written by others since: what was before is in `tarn conflicts`\n\
             plan: its name is taken\n"
        );
        response = UndoResponse { undone: 0, conflicts: 0, left: Vec::new(), seq: 9 };
        assert_eq!(describe(&response), "nothing to take back\n");
    }

    #[test]
    fn an_age_is_counted_back_from_now() {
        assert_eq!(before(Timestamp { secs: 100, nanos: 5 }, 30), Timestamp { secs: 70, nanos: 5 });
    }
}
