//! Owns the server's address and how the addresses of calls are made from it.

use reqwest::Url;
use std::fmt;

/// Where a server is: scheme, host, port, and a path if it lives below one.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerAddress(Url);

/// Why a text is not a server's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no URL at all.
    #[error("not an address: {0}")]
    NotAUrl(String),
    /// Anything but http and https.
    #[error("an address starts with https:// or http://")]
    Scheme,
    /// No host, or with a user, query or fragment.
    #[error("an address is a scheme, a host and perhaps a port and a path")]
    Parts,
}

impl ServerAddress {
    /// Reads an address. A text without a scheme counts as https.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim().trim_end_matches('/');
        let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&full).map_err(|e| AddressError::NotAUrl(e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(AddressError::Scheme);
        }
        let extra = url.query().is_some() || url.fragment().is_some() || !url.username().is_empty();
        if extra || url.password().is_some() || url.host_str().is_none() {
            return Err(AddressError::Parts);
        }
        Ok(Self(url))
    }

    /// Whether what is said is encrypted on the way.
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host, for people (`df` shows it).
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The address of a call; `path` comes without a leading slash.
    pub(super) fn call(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        let full = format!("{}/api/v1/{path}", self.0.path().trim_end_matches('/'));
        url.set_path(&full);
        url
    }

    /// The address of the notice socket.
    pub(super) fn notify(&self) -> String {
        let url = self.call("notify");
        format!("ws{}", url.as_str().trim_start_matches("http"))
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn calls_live_below_the_address() {
        let plain = ServerAddress::parse("http://localhost:8080/").unwrap();
        assert_eq!(plain.call("spaces").as_str(), "http://localhost:8080/api/v1/spaces");
        assert_eq!(plain.notify(), "ws://localhost:8080/api/v1/notify");
        let below = ServerAddress::parse("files.example.org/tarn").unwrap();
        assert_eq!(below.call("spaces").as_str(), "https://files.example.org/tarn/api/v1/spaces");
        assert_eq!(below.notify(), "wss://files.example.org/tarn/api/v1/notify");
        assert_eq!(below.to_string(), "https://files.example.org/tarn");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        assert_eq!(ServerAddress::parse("ftp://x"), Err(AddressError::Scheme));
        assert_eq!(ServerAddress::parse("https://u:p@x"), Err(AddressError::Parts));
        assert_eq!(ServerAddress::parse("https://x/?q"), Err(AddressError::Parts));
        assert!(matches!(ServerAddress::parse(""), Err(AddressError::NotAUrl(_))));
    }
}
