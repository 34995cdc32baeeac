//! Owns `tarn limit`: how fast content may go up and come down.

use super::args::Limit;
use super::target::Mounted;
use super::{Context, format, status};
use crate::control::messages::{RateChange, RateLimits};
use crate::control::{Reply, Request};
use anyhow::{Result, bail};

pub(super) async fn run(context: &Context, args: &Limit) -> Result<()> {
    let mut mounted = Mounted::connect(context).await?;
    mounted.must_be_whole(args.mount.as_deref(), "limits are those of the mount")?;
    let change = |rate: Option<RateChange>| if args.off { RateChange::Off } else { rate.unwrap_or_default() };
    match mounted.client.ask(Request::Limit { up: change(args.up), down: change(args.down) }, |_| {}).await? {
        Reply::Limits(limits) if args.json => status::print_json(&limits),
        Reply::Limits(limits) => {
            println!("{}", describe(&limits));
            Ok(())
        }
        _ => bail!("the daemon gave an answer to something else"),
    }
}

/// The limits, in one line.
pub(super) fn describe(limits: &RateLimits) -> String {
    let rate =
        |rate: Option<u64>| rate.map_or_else(|| "no limit".to_owned(), |rate| format!("{}/s", format::bytes(rate)));
    format!("up: {}, down: {}", rate(limits.up_bytes_per_s), rate(limits.down_bytes_per_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_in_one_line() {
        let limits = RateLimits { up_bytes_per_s: Some(1 << 20), down_bytes_per_s: None };
        assert_eq!(describe(&limits), "up: 1.0 MiB/s, down: no limit");
    }
}
