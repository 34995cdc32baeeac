//! Owns `tarn status`: what goes on in the mount, or with one file.

use super::args::Status;
use super::target::Mounted;
use super::{Context, format, limit, programs};
use crate::control::findings::Verified;
use crate::control::messages::{
    CacheStatus, DeviceStatus, MountStatus, PassthroughStatus, PathStatus, QuotaStatus, RateLimits, StatusReply,
};
use crate::control::{Reply, Request};
use anyhow::{Result, bail};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

pub(super) async fn run(context: &Context, args: &Status) -> Result<()> {
    let (args, why) = (&args.look, args.why);
    if why {
        return programs::why(context, args.path.as_deref(), args.json).await;
    }
    let mut mounted = Mounted::connect(context).await?;
    let path = mounted.below(args.path.as_deref())?;
    let request = if path.as_bytes().is_empty() { Request::Status } else { Request::Look { path } };
    match mounted.client.ask(request, |_| {}).await? {
        Reply::Status(reply) if args.json => print_json(&reply.status),
        Reply::Status(reply) => {
            print!("{}", describe_mount(&mounted.mount, &reply));
            Ok(())
        }
        Reply::Look(status) if args.json => print_json(&status),
        Reply::Look(status) => {
            println!("{}", describe_path(&status));
            Ok(())
        }
        _ => bail!("the daemon gave an answer to something else"),
    }
}

/// One line of JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

fn describe_mount(mount: &Path, reply: &StatusReply) -> String {
    let MountStatus { pid, version, life, server, online, queue, cache, counters, held, last_error, .. } =
        &reply.status;
    let MountStatus { verified, damaged, passthrough, quota, .. } = &reply.status;
    let reach = if *online { "online" } else { "offline" };
    let queued = match queue.operations {
        0 => "nothing: the server has everything".to_owned(),
        operations => format!("{}, {}", format::count(operations, "operation"), format::bytes(queue.bytes)),
    };
    let rate = |per_s: u64, total: u64| format!("{}/s ({})", format::bytes(per_s), format::bytes(total));
    let mut rows = vec![
        ("server", format!("{server}, {reach}")),
        ("account", format!("{}, this device is {}", reply.user, reply.device)),
        ("queued", queued),
        ("cached", describe_cache(cache, reply.bookkeeping_bytes)),
        ("fetching", rate(reply.rates.fetched_bytes_per_s, counters.bytes_fetched)),
        ("sending", rate(reply.rates.sent_bytes_per_s, counters.bytes_sent)),
    ];
    if let Some(QuotaStatus { bytes, limit_bytes }) = quota {
        rows.push(("quota", format!("{} of {} used", format::bytes(*bytes), format::bytes(*limit_bytes))));
    }
    rows.push(("reads", describe_passthrough(passthrough)));
    if reply.limits != RateLimits::default() {
        rows.push(("limits", limit::describe(&reply.limits)));
    }
    if reply.conflicts > 0 {
        rows.push(("conflicts", format!("{}, see `tarn conflicts`", reply.conflicts)));
    }
    if *held > 0 {
        let why = reply.held_reason.as_deref().unwrap_or("see the log");
        rows.push(("held", format!("{}: {why}", format::count(*held, "operation"))));
    }
    if queue.local_only > 0 {
        let files = format::count(queue.local_only, "temporary file");
        rows.push(("local only", format!("{files}, which no other device sees")));
    }
    rows.extend(last_error.clone().map(|error| ("last error", error)));
    rows.extend(damaged.iter().map(|note| ("damaged", note.clone())));
    rows.extend(verified.as_ref().map(|verified| ("verified", describe_verified(verified))));
    let lives =
        if *life == 0 { String::new() } else { format!(", after {}", format::count(u64::from(*life), "other")) };
    rows.push(("daemon", format!("version {version}, pid {pid}{lives}")));
    let mut text = format!("{}\n", mount.display());
    for (name, value) in rows {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "  {name:10}  {value}");
    }
    text
}

/// Log and database count against the budget as well; they are not what a person asks for.
fn describe_cache(cache: &CacheStatus, bookkeeping_bytes: u64) -> String {
    let content_bytes = cache.bytes.saturating_sub(bookkeeping_bytes);
    let [content, bookkeeping, limit] = [content_bytes, bookkeeping_bytes, cache.limit_bytes].map(format::bytes);
    format!("{content} of {limit}, and {bookkeeping} for log and database")
}

fn describe_passthrough(passthrough: &PassthroughStatus) -> String {
    match &passthrough.why_not {
        None => "of complete files by the kernel itself (passthrough)".to_owned(),
        Some(why) => format!("all by the daemon, no passthrough: {why}"),
    }
}

fn describe_verified(verified: &Verified) -> String {
    let Verified { time, light, differences } = verified;
    let sample = if *light { ", a sample" } else { "" };
    match differences {
        0 => format!("{time}{sample}: no differences"),
        count => format!("{time}{sample}: {}, see the log, or run `tarn verify`", format::count(*count, "difference")),
    }
}

fn describe_path(status: &PathStatus) -> String {
    let PathStatus { path, state, size_bytes, local_bytes, pinned, devices } = status;
    let pinned = if *pinned { ", pinned" } else { "" };
    let mut text =
        format!("{path}: {state}, {}, {} here{pinned}", format::bytes(*size_bytes), format::bytes(*local_bytes));
    for DeviceStatus { name, has_version, heard } in devices.iter().flatten() {
        let has = if *has_version { "knows this version" } else { "does not know this version yet" };
        let heard = heard.as_ref().map_or_else(|| "never heard of".to_owned(), |at| format!("heard of {at}"));
        // Writing to a String cannot fail.
        let _infallible = write!(text, "\n  {name}: {has}, {heard}");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::control::messages::QueueStatus;

    fn reply() -> StatusReply {
        let status = MountStatus {
            pid: 42,
            version: "0.1.0".into(),
            life: 2,
            server: "http://127.0.0.1:7420".into(),
            online: true,
            queue: QueueStatus { operations: 2, bytes: 2048, local_only: 1 },
            cache: CacheStatus { bytes: 1 << 20, limit_bytes: 10 << 30 },
            counters: Default::default(),
            held: 0,
            last_error: None,
            damaged: vec!["the local log was damaged".into()],
            verified: None,
            passthrough: PassthroughStatus { why_not: Some("only a mount by root can".into()), ..Default::default() },
            inodes: Default::default(),
            quota: Some(QuotaStatus { bytes: 1 << 30, limit_bytes: 2 << 30 }),
        };
        let (user, device) = ("ada".into(), "desk".into());
        let (rates, bookkeeping_bytes) = (Default::default(), 256 << 10);
        let limits = RateLimits::default();
        StatusReply { status, user, device, limits, rates, bookkeeping_bytes, conflicts: 0, held_reason: None }
    }

    #[test]
    fn the_json_of_a_mount_is_that_of_the_contract() {
        let json = serde_json::to_value(reply().status).unwrap();
        let expected = serde_json::json!({
            "pid": 42,
            "version": "0.1.0",
            "life": 2,
            "server": "http://127.0.0.1:7420",
            "online": true,
            "queue": {"operations": 2, "bytes": 2048, "local_only": 1},
            "cache": {"bytes": 1_048_576, "limit_bytes": 10_737_418_240u64},
            "counters": {
                "chunks_fetched": 0, "frames_fetched": 0, "bytes_fetched": 0, "bytes_copied": 0,
                "chunks_sent": 0, "bytes_sent": 0
            },
            "held": 0,
            "last_error": null,
            "damaged": ["the local log was damaged"],
            "verified": null,
            "passthrough": {"active": false, "why_not": "only a mount by root can", "read_requests": 0},
            "inodes": {"in_memory": 0, "in_database": 0},
            "quota": {"bytes": 1_073_741_824, "limit_bytes": 2_147_483_648u64},
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn people_read_what_needs_them() {
        let quiet = describe_mount(Path::new("/m"), &reply());
        assert!(quiet.contains("version 0.1.0, pid 42, after 2 others"), "{quiet}");
        assert!(quiet.contains("2 operations, 2.0 KiB") && !quiet.contains("held"), "{quiet}");
        assert!(quiet.contains("768.0 KiB of 10.0 GiB, and 256.0 KiB for log and database"), "{quiet}");
        assert!(quiet.contains("1.0 GiB of 2.0 GiB used"), "{quiet}");
        assert!(quiet.contains("damaged     the local log was damaged"), "{quiet}");
        assert!(quiet.contains("1 temporary file, which no other device sees"), "{quiet}");
        assert!(quiet.contains("no passthrough: only a mount by root can"), "{quiet}");
        let mut reply = reply();
        reply.status.passthrough = PassthroughStatus { active: true, ..Default::default() };
        reply.status.held = 1;
        reply.limits.down_bytes_per_s = Some(512 << 10);
        reply.held_reason = Some("the quota is used up".into());
        reply.status.last_error = Some("no route".into());
        let loud = describe_mount(Path::new("/m"), &reply);
        assert!(!loud.contains("verified") && loud.contains("by the kernel itself"), "{loud}");
        assert!(loud.contains("down: 512.0 KiB/s") && !quiet.contains("limits"), "{loud}");
        reply.status.verified = Some(Verified { time: "2026-11-20T22:25:45Z".into(), light: true, differences: 2 });
        let verified = describe_mount(Path::new("/m"), &reply);
        assert!(verified.contains("2026-11-20T22:25:45Z, a sample: 2 differences"), "{verified}");
        assert!(loud.contains("1 operation: the quota is used up") && loud.contains("no route"), "{loud}");
    }
}
