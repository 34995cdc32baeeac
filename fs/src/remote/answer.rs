//! Owns how an answer becomes a message or an error. What the server sends is hostile: every body is
//! bounded, compressed or not, and what some box in between says is never taken for the server's word.

use super::RemoteError;
use crate::limits;
use serde::de::DeserializeOwned;
use std::io::Read as _;
use tarn_proto::api::from_binary;
use tarn_proto::error::{ErrorCode, Problem};

/// What an answer's head says.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    /// HTTP status.
    pub status: u16,
    /// Media type without parameters.
    pub media: String,
    /// Whether the body is zstd.
    pub is_zstd: bool,
}

impl Head {
    /// Whether the call succeeded.
    pub fn is_success(&self) -> bool {
        matches!(self.status, 200 | 201 | 204)
    }
}

/// Undoes the compression of a body, never beyond `bytes_max`.
pub(super) fn unpack(body: Vec<u8>, is_zstd: bool, bytes_max: usize) -> Result<Vec<u8>, RemoteError> {
    if !is_zstd {
        return Ok(body);
    }
    let broken = |e: std::io::Error| RemoteError::Malformed(format!("a body does not decompress: {e}"));
    let mut plain = Vec::new();
    let decoder = zstd::stream::read::Decoder::new(body.as_slice()).map_err(broken)?;
    decoder.take(bytes_max as u64 + 1).read_to_end(&mut plain).map_err(broken)?;
    if plain.len() > bytes_max {
        return Err(too_long(bytes_max));
    }
    Ok(plain)
}

/// The error of a body that is longer than this call's answers may be.
pub(super) fn too_long(bytes_max: usize) -> RemoteError {
    RemoteError::Malformed(format!("an answer exceeds {bytes_max} bytes"))
}

/// Reads a message of the compact form.
pub(super) fn message<T: DeserializeOwned>(body: &[u8]) -> Result<T, RemoteError> {
    from_binary(body).map_err(|e| RemoteError::Malformed(e.to_string()))
}

/// The error that an answer without success stands for.
pub(super) fn error_of(head: &Head, body: &[u8]) -> RemoteError {
    if head.media == tarn_proto::api::MEDIA_PROBLEM
        && let Ok(problem) = serde_json::from_slice::<Problem>(body)
    {
        return error_of_problem(problem);
    }
    error_of_status(head.status)
}

fn error_of_problem(problem: Problem) -> RemoteError {
    let detail = problem.detail.unwrap_or(problem.title);
    if problem.code.is_retryable() || problem.retryable {
        RemoteError::Busy(detail)
    } else {
        RemoteError::Refused { code: problem.code, detail }
    }
}

/// An answer without problem details is hardly the server's own: a proxy or a hotel's login page must
/// not sign a device out or make it give something up.
fn error_of_status(status: u16) -> RemoteError {
    match status {
        413 => RemoteError::Refused { code: ErrorCode::TooLarge, detail: "refused on the way: too large".into() },
        408 | 429 | 500..=599 => RemoteError::Busy(format!("status {status}")),
        _ => RemoteError::Unreachable(format!("something else answers at this address (status {status})")),
    }
}

/// The error of a request that got no answer.
pub(super) fn no_answer(error: &reqwest::Error) -> RemoteError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    RemoteError::Unreachable(text)
}

/// The error of a request that fell silent.
pub(super) fn silent() -> RemoteError {
    RemoteError::Unreachable(format!("no answer for {} s", limits::IDLE_TIMEOUT.as_secs()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn head(status: u16, media: &str) -> Head {
        Head { status, media: media.into(), is_zstd: false }
    }

    fn problem(code: &str, retryable: bool) -> Vec<u8> {
        format!(r#"{{"type":"about:blank","title":"t","status":400,"code":"{code}","retryable":{retryable}}}"#).into()
    }

    #[test]
    fn problems_say_what_to_do_next() {
        let problem_head = head(401, tarn_proto::api::MEDIA_PROBLEM);
        let refused = error_of(&problem_head, &problem("unauthenticated", false));
        assert!(matches!(refused, RemoteError::Refused { code: ErrorCode::Unauthenticated, .. }));
        assert!(error_of(&problem_head, &problem("lagging_replica", true)).is_retryable());
        assert!(error_of(&problem_head, &problem("unavailable", false)).is_retryable());
    }

    #[test]
    fn a_proxy_cannot_sign_a_device_out() {
        for status in [302, 401, 403, 404, 407, 511] {
            assert!(error_of(&head(status, "text/html"), b"<html>").is_retryable(), "{status}");
        }
        assert!(error_of(&head(401, tarn_proto::api::MEDIA_PROBLEM), b"{").is_retryable());
        assert!(matches!(error_of(&head(413, ""), b""), RemoteError::Refused { code: ErrorCode::TooLarge, .. }));
    }

    #[test]
    fn a_bomb_finds_no_room() {
        let bomb = zstd::bulk::compress(&vec![0; 1 << 20], 1).unwrap();
        assert!(matches!(unpack(bomb.clone(), true, 1 << 10), Err(RemoteError::Malformed(_))));
        assert_eq!(unpack(bomb, true, 1 << 20).unwrap().len(), 1 << 20);
        assert!(matches!(unpack(b"no zstd".to_vec(), true, 100), Err(RemoteError::Malformed(_))));
    }

    #[test]
    fn what_is_no_message_is_malformed() {
        let answer: Result<tarn_proto::api::SpacesResponse, _> = message(b"\xc1garbage");
        assert!(matches!(answer, Err(RemoteError::Malformed(_))));
    }
}
