//! Looks at the server: does it answer, does it know this device, do the clocks agree.

use super::Finding;
use crate::cli::Context;
use crate::cli::account::{account_of, told};
use crate::control::days_before;
use crate::daemon::Credentials;
use anyhow::{Context as _, Result};
use reqwest::header::DATE;
use std::time::Duration;

/// Clocks that differ by more give confusing dates in conflict names.
const SKEW_SECS_MAX: i64 = 30;
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn look(context: &Context, credentials: &Credentials) -> Vec<Finding> {
    let server = match server_time(credentials).await {
        Ok(server) => server,
        Err(error) => {
            let says =
                format!("{} does not answer ({error:#}): is it running, is this machine online?", credentials.server);
            return vec![Finding::bad("server", says)];
        }
    };
    let mut all = vec![Finding::good("server", format_args!("{} answers", credentials.server))];
    let skew = server.map(|server| server - context.env.clock.wall().secs);
    all.extend(skew.map(clock));
    if credentials.token.is_some() {
        all.push(device(credentials).await);
    }
    all
}

fn clock(skew_secs: i64) -> Finding {
    if skew_secs.abs() <= SKEW_SECS_MAX {
        return Finding::good("clock", "agrees with the server's");
    }
    let which = if skew_secs > 0 { "behind" } else { "ahead of" };
    let says = format!(
        "this machine's clock is {} s {which} the server's: set the time (timedatectl set-ntp true)",
        skew_secs.abs()
    );
    Finding::note("clock", says)
}

async fn device(credentials: &Credentials) -> Finding {
    let asked = async { account_of(credentials)?.devices().await.map_err(told) };
    match asked.await {
        Ok(_) => Finding::good("device", format_args!("{} is known to the server", credentials.device_name)),
        Err(error) => Finding::bad("device", format_args!("{error:#}")),
    }
}

/// Seconds since 1970 by the server's clock, if it says so.
async fn server_time(credentials: &Credentials) -> Result<Option<i64>> {
    // Sets TLS up, and proves that the address can be read.
    account_of(credentials)?;
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let url = format!("{}/healthz", credentials.server.trim_end_matches('/'));
    let response = client.get(url).send().await.map_err(reqwest::Error::without_url)?.error_for_status()?;
    let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
    date.map(|date| parse_http_date(date).context("its date cannot be read")).transpose()
}

/// `Fri, 20 Nov 2026 18:15:16 GMT`.
fn parse_http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let fields: Vec<&str> = text.split([' ', ':']).filter(|field| !field.is_empty()).collect();
    let [_, day, month, year, hour, minute, second, "GMT"] = fields[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)?;
    let number = |text: &str| text.parse::<i64>().ok();
    let days = days_before(number(year)?, month as i64 + 1) + number(day)? - 1;
    Some(days * 86_400 + number(hour)? * 3600 + number(minute)? * 60 + number(second)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    #[test]
    fn dates_of_http_are_read() {
        let cases = [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Tue, 29 Feb 2000 23:59:59 GMT", Some(951_868_799)),
            ("Mon, 01 Mar 2100 00:00:00 GMT", Some(4_107_542_400)),
            ("Fri, 20 Nov 2026 22:25:45 GMT", Some(1_795_213_545)),
            ("yesterday", None),
            ("Fri, 20 Foo 2026 22:25:45 GMT", None),
        ];
        for (text, secs) in cases {
            assert_eq!(parse_http_date(text), secs, "{text}");
        }
    }

    #[test]
    fn only_clocks_far_apart_are_worth_a_word() {
        assert_eq!(clock(-30).verdict, Verdict::Good);
        assert!(clock(31).says.contains("31 s behind") && clock(-3600).says.contains("ahead"));
    }
}
