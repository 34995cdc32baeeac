//! Owns how a quota is written, and setting one.

use super::open_database;
use crate::service::{Failure, accounts};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

/// Units and their bytes.
const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// Bytes that an account may use; `None`: as many as there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quota(pub Option<u64>);

impl FromStr for Quota {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ADVICE: &str = "write it as 500MB, 20GiB, a number of bytes, or none";
        if text == "none" {
            return Ok(Self(None));
        }
        let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
        let (digits, bytes) = unit.unwrap_or((text, 1));
        let count: u64 = digits.parse().map_err(|_| ADVICE)?;
        count
            .checked_mul(bytes)
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .map(|bytes| Self(Some(bytes)))
            .ok_or(ADVICE)
    }
}

#[derive(Debug, Args)]
pub(super) struct QuotaArgs {
    /// The account's name.
    name: String,
    /// Bytes that its files may have together (500MB, 20GiB), or none.
    #[arg(value_name = "BYTES|none")]
    quota: Quota,
    /// The server's data directory.
    #[arg(long, value_name = "DIR", required_unless_present = "database")]
    data: Option<PathBuf>,
    /// The server's database.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

pub(super) async fn set(args: QuotaArgs) -> Result<ExitCode> {
    super::check_is_data(args.data.as_deref(), args.database.is_some())?;
    let db = open_database(args.data.as_deref(), args.database).await?;
    let set = accounts::set_quota(&db, &args.name, args.quota.0).await;
    db.close().await;
    match set {
        Ok(used) => {
            let quota = args.quota.0.map_or_else(|| "no quota".to_owned(), |bytes| format!("a quota of {bytes} bytes"));
            super::say(&format!("{} has {quota} and uses {used} bytes", args.name))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(Failure::Refused { detail, .. }) => anyhow::bail!(detail),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_bytes_with_or_without_a_unit_or_none() {
        let read = |text: &str| text.parse::<Quota>().ok().map(|quota| quota.0);
        assert_eq!(read("none"), Some(None));
        assert_eq!(read("0"), Some(Some(0)));
        assert_eq!(read("1500"), Some(Some(1_500)));
        assert_eq!(read("20GiB"), Some(Some(20 << 30)));
        assert_eq!(read("500MB"), Some(Some(500_000_000)));
        for wrong in ["", "-1", "many", "1.5GiB", "99999999TiB", "GiB"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
