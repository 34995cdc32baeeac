//! Owns what stays of the last verification, over restarts of the daemon too.

use crate::control::findings::{Verified, VerifyReport};
use crate::control::rfc3339;
use crate::daemon::disk_file;
use crate::env::Env;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use tarn_proto::node::Timestamp;

/// The last result of the whole mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    /// When it ended, in seconds since 1970.
    pub at_secs: i64,
    pub result: Verified,
}

impl Saved {
    pub fn of(report: &VerifyReport, now: Timestamp) -> Self {
        let result = Verified { time: rfc3339(now), light: report.light, differences: report.difference_count };
        Self { at_secs: now.secs, result }
    }

    /// What is kept; `None` if there is nothing, or nothing that can be read.
    pub fn load(env: &Env, file: &Path) -> Option<Self> {
        disk_file::read_json(env, file).ok()?
    }

    /// Keeps it.
    pub fn save(&self, env: &Env, file: &Path) -> io::Result<()> {
        disk_file::replace_json(env, file, self)
    }
}
