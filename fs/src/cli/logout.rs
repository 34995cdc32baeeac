//! Owns `tarn logout`: makes the token void and forgets it. The state stays this account's.

use super::Context;
use super::account::{account_of, refuse_while_mounted, signed_in};
use crate::daemon::Credentials;
use anyhow::Result;

pub(super) async fn run(context: &Context) -> Result<()> {
    let credentials = signed_in(context)?;
    refuse_while_mounted(context, "sign out").await?;
    let told = account_of(&credentials)?.logout().await;
    let forgotten = Credentials { token: None, ..credentials };
    forgotten.save(&context.env, &context.home.credentials_file())?;
    let Credentials { user, server, device_name, .. } = &forgotten;
    println!("signed out of {server}; what is local stays in {}", context.home.dir().display());
    if let Err(error) = told {
        eprintln!(
            "tarn: the server could not be told ({error}): revoke this device from another one of {user} \
             (tarn devices revoke {device_name})"
        );
    }
    Ok(())
}
