//! Owns the exit status: the one table from what went wrong to a number, and the one line on standard error.

use crate::control::{ClientError, FailureKind};
use std::process::ExitCode;

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const NOT_IN_TIME: u8 = 3;

/// The command makes no sense in a way that its grammar cannot say.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct WrongUsage(pub String);

/// It was not finished in time.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotInTime(pub String);

/// Says what went wrong, and gives the status.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("tarn: {error:#}");
    ExitCode::from(status(error))
}

fn status(error: &anyhow::Error) -> u8 {
    if error.is::<WrongUsage>() {
        return WRONG_USAGE;
    }
    if error.is::<NotInTime>() {
        return NOT_IN_TIME;
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Failed(failure)) if failure.kind == FailureKind::TimedOut => NOT_IN_TIME,
        _ => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Failure;
    use anyhow::{Context, anyhow};

    #[test]
    fn each_kind_has_its_status() {
        let late = ClientError::from(Failure::timed_out("x"));
        let cases = [
            (anyhow!("x"), FAILED),
            (WrongUsage("x".into()).into(), WRONG_USAGE),
            (NotInTime("x".into()).into(), NOT_IN_TIME),
            (late.into(), NOT_IN_TIME),
            (ClientError::from(Failure::failed("x")).into(), FAILED),
            (ClientError::NoDaemon.into(), FAILED),
        ];
        for (error, code) in cases {
            assert_eq!(status(&error), code, "{error}");
            assert_eq!(status(&Err::<(), _>(error).context("while").unwrap_err()), code);
        }
    }
}
