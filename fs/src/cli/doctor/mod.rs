//! Owns `tarn doctor`: looks for what usually goes wrong, changes nothing, and says what to do. Only `--rebuild` changes
//! something: it makes a damaged database anew.

mod local;
mod rebuild;
mod remote;
mod system;

use super::Context;
use super::args::Doctor;
use crate::daemon::Credentials;
use anyhow::{Result, bail};
use std::fmt;

/// What a look at one thing came to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    says: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing; works without.
    Note,
    /// Something will not work.
    Bad,
}

impl Finding {
    fn good(what: &'static str, says: impl fmt::Display) -> Self {
        Self { what, verdict: Verdict::Good, says: says.to_string() }
    }

    fn note(what: &'static str, says: impl fmt::Display) -> Self {
        Self { what, verdict: Verdict::Note, says: says.to_string() }
    }

    fn bad(what: &'static str, says: impl fmt::Display) -> Self {
        Self { what, verdict: Verdict::Bad, says: says.to_string() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Bad => "BAD",
        };
        write!(f, "{mark:4}  {:12}  {}", self.what, self.says)
    }
}

pub(super) async fn run(context: &Context, args: &Doctor) -> Result<()> {
    if args.rebuild {
        return rebuild::run(context);
    }
    let mut bad = 0;
    let mut tell = |findings: Vec<Finding>| {
        bad += findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
        findings.iter().for_each(|finding| println!("{finding}"));
    };
    tell(system::look());
    let credentials = Credentials::load(&context.env, &context.home.credentials_file());
    tell(local::look(context, &credentials).await);
    if let Ok(Some(credentials)) = &credentials {
        tell(remote::look(context, credentials).await);
    }
    if bad > 0 {
        bail!("{}", super::format::count(bad as u64, "problem"));
    }
    Ok(())
}
