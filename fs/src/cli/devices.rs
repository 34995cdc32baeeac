//! Owns `tarn devices`: who may come in, and `revoke`.

use super::Context;
use super::account::{account_of, signed_in, told};
use super::args::{DeviceAction, Devices};
use crate::control::rfc3339;
use crate::remote::Account;
use anyhow::{Result, bail};
use serde_json::json;
use tarn_proto::api::DeviceInfo;

pub(super) async fn run(context: &Context, args: Devices) -> Result<()> {
    let account = account_of(&signed_in(context)?)?;
    match args.action {
        Some(DeviceAction::Revoke { name }) => revoke(&account, &name).await,
        None => list(&account, args.json).await,
    }
}

async fn list(account: &Account, as_json: bool) -> Result<()> {
    let devices = account.devices().await.map_err(told)?;
    if as_json {
        let rows: Vec<_> = devices.iter().map(row).collect();
        println!("{}", json!({ "devices": rows }));
        return Ok(());
    }
    let width = devices.iter().map(|device| device.name.chars().count()).max().unwrap_or(0);
    for device in &devices {
        println!("{:width$}  {}", device.name, describe(device));
    }
    Ok(())
}

fn row(device: &DeviceInfo) -> serde_json::Value {
    json!({
        "id": device.device.to_string(),
        "name": device.name,
        "enrolled": rfc3339(device.enrolled),
        "last_seen": device.last_seen.map(rfc3339),
        "revoked": device.revoked,
        "current": device.current,
    })
}

fn describe(device: &DeviceInfo) -> String {
    let seen = device.last_seen.map_or_else(|| "never seen".to_owned(), |at| format!("seen {}", rfc3339(at)));
    let marks = [(device.current, ", this device"), (device.revoked, ", revoked")];
    let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, text)| *text).collect();
    format!("enrolled {}, {seen}{marks}", rfc3339(device.enrolled))
}

async fn revoke(account: &Account, name: &str) -> Result<()> {
    let devices = account.devices().await.map_err(told)?;
    let named: Vec<_> = devices.iter().filter(|device| device.name == name).collect();
    let Some(device) = named.iter().find(|device| !device.revoked).or(named.first()) else {
        bail!("no device is called {name} (see tarn devices)");
    };
    if device.revoked {
        println!("{name} was revoked before");
        return Ok(());
    }
    account.revoke(device.device).await.map_err(told)?;
    println!("{name} may no longer come in");
    Ok(())
}
