//! Owns how sizes, times and thresholds are written on the command line.

use crate::control::messages::RateChange;
use crate::control::parse_rfc3339;
use crate::daemon::HoldDeletes;
use crate::limits::FILES_IN_MEMORY_MIN;
use crate::tree::{LOCAL_ONLY_DEFAULT, LocalNames};
use crate::vfs::SCANNERS_DEFAULT;
use std::fmt;
use std::time::Duration;
use tarn_proto::node::Timestamp;

/// `10GiB`, `500MB`, `1.5G` (binary, as GiB), `4096` (bytes).
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let hint = || "write a size as 10GiB, 500MB or a number of bytes".to_owned();
    let (number, unit) = split(text).ok_or_else(hint)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(hint()),
    };
    let bytes = number * factor as f64;
    // 2^60 leaves room for sums and is exact enough in an f64.
    if bytes < (1u64 << 60) as f64 { Ok(bytes as u64) } else { Err("that is too large".to_owned()) }
}

/// Names of programs that scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scanners(pub Vec<String>);

impl fmt::Display for Scanners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&list_text(&self.0))
    }
}

/// Patterns of names of files that stay on this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LocalOnly(pub Vec<String>);

impl fmt::Display for LocalOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&list_text(&self.0))
    }
}

fn list_text(list: &[String]) -> String {
    if list.is_empty() { "none".to_owned() } else { list.join(",") }
}

/// `none`, or words with commas between them, of which `default` stands for a built-in list; `None` for an empty word and
/// for one that stands for everything.
fn parse_list(text: &str, built_in: &[&str]) -> Option<Vec<String>> {
    if text == "none" {
        return Some(Vec::new());
    }
    let mut words = Vec::new();
    for word in text.split(',').map(str::trim) {
        match word {
            "default" => words.extend(built_in.iter().map(ToString::to_string)),
            "" | "*" => return None,
            word => words.push(word.to_owned()),
        }
    }
    Some(words)
}

/// Names of programs as [`parse_list`] reads them.
pub(super) fn parse_scanners(text: &str) -> Result<Scanners, String> {
    let hint = "write names of programs with commas between them, or none";
    parse_list(text, &SCANNERS_DEFAULT).map(Scanners).ok_or_else(|| hint.to_owned())
}

/// Patterns as [`parse_list`] reads them.
pub(super) fn parse_local_only(text: &str) -> Result<LocalOnly, String> {
    let hint = "write patterns of names with commas between them, or none";
    let patterns = parse_list(text, &LOCAL_ONLY_DEFAULT).ok_or_else(|| hint.to_owned())?;
    LocalNames::matching(patterns.iter().map(String::as_str))?;
    Ok(LocalOnly(patterns))
}

/// `off`, or a size as [`parse_size`] reads it, a second: `500KiB`, `2MB/s`.
pub(super) fn parse_rate(text: &str) -> Result<RateChange, String> {
    if text == "off" {
        return Ok(RateChange::Off);
    }
    let size = parse_size(text.strip_suffix("/s").unwrap_or(text));
    size.map(RateChange::BytesPerS).map_err(|_| "write a rate as 500KiB, 2MB/s or off".to_owned())
}

/// `30s`, `500ms`, `2m`, `1h`, `30` (seconds).
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let hint = || "write a time as 30s, 500ms, 2m or 1h".to_owned();
    let (number, unit) = split(text).ok_or_else(hint)?;
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(hint()),
    };
    seconds(number * factor)
}

/// `30`, `0.5`, or with a unit as [`parse_duration`] reads it.
pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|_| "write a number of seconds".to_owned())
}

/// A number of files, not too small.
pub(super) fn parse_files_in_memory(text: &str) -> Result<usize, String> {
    let hint = || format!("write a number of files, at least {FILES_IN_MEMORY_MIN}");
    text.parse().ok().filter(|&count| count >= FILES_IN_MEMORY_MIN).ok_or_else(hint)
}

/// `off` or `COUNT,PERCENT`.
pub(super) fn parse_hold_deletes(text: &str) -> Result<HoldDeletes, String> {
    let hint = "write off, or a count of files and a percentage: 1000,30";
    if text == "off" {
        return Ok(HoldDeletes::Off);
    }
    let (count, percent) = text.split_once(',').ok_or(hint)?;
    let count = count.trim().parse().map_err(|_| hint)?;
    let percent = percent.trim().trim_end_matches('%').parse().map_err(|_| hint)?;
    if percent > 100 { Err(hint.to_owned()) } else { Ok(HoldDeletes::Beyond { count, percent }) }
}

/// As `parse_hold_deletes` reads it.
pub(super) fn hold_deletes_text(hold: HoldDeletes) -> String {
    match hold {
        HoldDeletes::Off => "off".to_owned(),
        HoldDeletes::Beyond { count, percent } => format!("{count},{percent}"),
    }
}

/// A moment that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// So long ago.
    Ago(Duration),
    /// Then.
    At(Timestamp),
}

/// `90m`, `2h`, `3d` (ago), `2026-11-20`, `2026-11-20T22:25:45Z`.
pub(super) fn parse_since(text: &str) -> Result<Since, String> {
    if let Some(at) = parse_rfc3339(text) {
        return Ok(Since::At(at));
    }
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let ago = match days {
        Some(days) => seconds(f64::from(days) * 86_400.0),
        None => parse_duration(text),
    };
    ago.map(Since::Ago).map_err(|_| "write 90m, 2h or 3d (ago), 2026-11-20, or 2026-11-20T22:25:45Z".to_owned())
}

/// A level or filters, as the log understands them.
pub(super) fn parse_log_level(text: &str) -> Result<String, String> {
    crate::telemetry::check_filter(text).map_err(|e| e.to_string())?;
    Ok(text.to_owned())
}

fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    number.is_finite().then(|| (number, text[end..].trim()))
}

fn seconds(number: f64) -> Result<Duration, String> {
    let longest = 10.0 * 365.0 * 86_400.0;
    if number <= longest { Ok(Duration::from_secs_f64(number)) } else { Err("that is too long".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_sizes_a_second_or_off() {
        assert_eq!(parse_rate("off"), Ok(RateChange::Off));
        assert_eq!(parse_rate("500KiB"), Ok(RateChange::BytesPerS(500 << 10)));
        assert_eq!(parse_rate("2MB/s"), Ok(RateChange::BytesPerS(2_000_000)));
        assert!(parse_rate("fast").is_err());
    }

    #[test]
    fn sizes_are_read_in_both_systems_of_units() {
        let good = [
            ("10GiB", 10 << 30),
            ("10G", 10 << 30),
            ("256 MiB", 256 << 20),
            ("1.5k", 1536),
            ("500MB", 500_000_000),
            ("4096", 4096),
            ("0", 0),
        ];
        for (text, bytes) in good {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "GiB", "-1", "10Gib/s", "1e3", "9999999TiB", "1.2.3G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_read() {
        let good = [("30s", 30_000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000), ("0.25", 250), ("0", 0)];
        for (text, millis) in good {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "s", "-3s", "3 days", "99999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_are_read_as_ages_and_as_times() {
        assert_eq!(parse_since("3d"), Ok(Since::Ago(Duration::from_secs(3 * 86_400))));
        assert_eq!(parse_since("90m"), Ok(Since::Ago(Duration::from_secs(5400))));
        let at = |secs| Ok(Since::At(Timestamp { secs, nanos: 0 }));
        assert_eq!(parse_since("2026-11-20T22:25:45Z"), at(1_795_213_545));
        assert_eq!(parse_since("1970-01-02"), at(86_400));
        for bad in ["", "yesterday", "-3d", "2026-11-31"] {
            assert!(parse_since(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn thresholds_of_deletes_are_read_and_written() {
        for text in ["off", "1000,30", "0,100"] {
            assert_eq!(parse_hold_deletes(text).map(hold_deletes_text), Ok(text.to_owned()));
        }
        for bad in ["", "on", "10", "10,101", "-1,5", "a,b"] {
            assert!(parse_hold_deletes(bad).is_err(), "{bad}");
        }
    }
}
