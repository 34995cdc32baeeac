//! Owns `tarn login`: signs this device in and remembers who it is.

use super::Context;
use super::account::{refuse_while_mounted, told};
use super::args::Login;
use super::exit::WrongUsage;
use crate::daemon::Credentials;
use crate::remote::{Account, ServerAddress};
use anyhow::{Context as _, Result, bail};
use std::io::{self, Read};
use std::net::IpAddr;
use tarn_proto::api::{LoginRequest, LoginResponse};
use tarn_proto::limits::LABEL_CHARS_MAX;

/// Longer is no password but a mistaken file.
const PASSWORD_BYTES_MAX: u64 = 4096;

pub(super) async fn run(context: &Context, args: Login) -> Result<()> {
    let address = address(&args.server)?;
    let device_name = match args.device {
        Some(name) => label("device", name)?,
        None => host_name(),
    };
    let user = label("user", args.user)?;
    let password = read_password(&mut io::stdin().lock())?;
    refuse_while_mounted(context, "sign in anew").await?;
    let before = Credentials::load(&context.env, &context.home.credentials_file())?;
    let before = before.map(|before| same_account(context, before, &address, &user)).transpose()?;
    let device = before.as_ref().map(|before| before.device);
    let account = Account::new(address.clone(), None).map_err(told)?;
    let request = LoginRequest { user: user.clone(), password, device_name: device_name.clone(), device };
    let response = account.login(&request).await.map_err(told)?;
    check_home(before.as_ref(), &response)?;
    let server = address.to_string();
    let LoginResponse { user: user_id, device, token, home } = response;
    let token = Some(token);
    let credentials =
        Credentials { server: server.clone(), user: user.clone(), user_id, device, device_name, home, token };
    credentials.save(&context.env, &context.home.credentials_file())?;
    println!("signed in as {user} at {server}; this device is called {}", credentials.device_name);
    Ok(())
}

/// The server's address, if a password may be sent there.
fn address(text: &str) -> Result<ServerAddress> {
    let address = ServerAddress::parse(text).map_err(|e| WrongUsage(format!("--server {text}: {e}")))?;
    if !address.is_encrypted() && !is_loopback(address.host()) {
        bail!("{address} would send the password unencrypted: use https (plain http only on this machine)");
    }
    Ok(address)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn label(what: &str, name: String) -> Result<String> {
    let chars = name.chars().count();
    if chars == 0 || chars > LABEL_CHARS_MAX {
        return Err(WrongUsage(format!("a {what} name has 1 to {LABEL_CHARS_MAX} characters")).into());
    }
    Ok(name)
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let short: String = name.trim().chars().take(LABEL_CHARS_MAX).collect();
    if short.is_empty() { "device".to_owned() } else { short }
}

/// The password: standard input up to its end or one newline.
fn read_password(input: &mut impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while input.read(&mut byte).context("the password cannot be read")? == 1 && byte != *b"\n" {
        bytes.push(byte[0]);
        if bytes.len() as u64 > PASSWORD_BYTES_MAX {
            bail!("the password is longer than {PASSWORD_BYTES_MAX} bytes");
        }
    }
    if bytes.is_empty() {
        bail!("no password on standard input");
    }
    String::from_utf8(bytes).ok().context("the password is not UTF-8 text")
}

/// This home belongs to one account for good: its state holds that account's files.
fn same_account(context: &Context, before: Credentials, address: &ServerAddress, user: &str) -> Result<Credentials> {
    if before.user != user {
        let (owner, server, dir) = (&before.user, &before.server, context.home.dir().display());
        bail!("{dir} holds files of {owner} at {server}: choose another TARN_HOME for {user} at {address}");
    }
    Ok(before)
}

/// The same name on another server is another account.
fn check_home(before: Option<&Credentials>, response: &LoginResponse) -> Result<()> {
    match before {
        Some(before) if before.home != response.home || before.user_id != response.user => bail!(
            "that is another account of the same name than the one at {}: choose another TARN_HOME for it",
            before.server
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_password_ends_at_the_end_or_one_newline() {
        let read = |text: &str| read_password(&mut text.as_bytes());
        assert_eq!(read("secret").unwrap(), "secret");
        assert_eq!(read("secret\n").unwrap(), "secret");
        assert_eq!(read(" two words \nrest").unwrap(), " two words ");
        assert_eq!(read("cr\r\n").unwrap(), "cr\r");
        assert!(read("").is_err() && read("\n").is_err());
        assert!(read(&"x".repeat(5000)).is_err());
    }

    #[test]
    fn passwords_go_over_https_or_stay_on_this_machine() {
        for good in ["https://tarn.example", "http://127.0.0.1:7420", "http://localhost:1", "http://[::1]:7420"] {
            assert!(address(good).is_ok(), "{good}");
        }
        assert!(address("http://tarn.example").unwrap_err().to_string().contains("unencrypted"));
        assert!(address("http://10.0.0.1").is_err());
        assert!(address("ftp://x").unwrap_err().is::<WrongUsage>());
    }

    #[test]
    fn names_have_a_length() {
        assert!(label("user", "é".repeat(64)).is_ok());
        assert!(label("user", "é".repeat(65)).is_err() && label("user", String::new()).is_err());
        assert!(!host_name().is_empty());
    }
}
