//! Owns page tokens: opaque to clients, checked when they come back.

use super::Failure;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tarn_proto::api::{from_binary, to_binary};
use tarn_proto::bytes64;
use tarn_proto::error::ErrorCode;

/// Makes a token.
pub(super) fn encode<T: Serialize>(token: &T) -> String {
    bytes64::encode(&to_binary(token))
}

/// Reads a token.
///
/// # Errors
/// It is none that this server made.
pub(super) fn decode<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    let bad = || Failure::refused(ErrorCode::BadRequest, "the page token is malformed");
    let bytes = bytes64::decode(text).ok_or_else(bad)?;
    from_binary(&bytes).map_err(|_| bad())
}
