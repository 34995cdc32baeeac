//! Owns where things are: data directory, database and object store addresses, listening address.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where the server listens by default.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:7420";

/// Everything that `serve` is told.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The data directory: default database and objects, the address file.
    pub data: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The database's URL.
    pub database: String,
    /// Where packs are: an `s3://` URL, or a local folder's `file://` URL.
    pub objects: String,
    /// Whether passwords are taken over plain HTTP from other machines.
    pub insecure: bool,
    /// A file to which every acknowledged chunk upload is appended, one JSON line per body.
    pub put_log: Option<PathBuf>,
}

/// The file of the embedded database of a data directory.
pub fn default_database_path(data: &Path) -> PathBuf {
    data.join("tarn.db")
}

/// The URL of the embedded database of a data directory.
pub fn default_database(data: &Path) -> String {
    format!("sqlite://{}?mode=rwc", escape_path(&default_database_path(data)))
}

/// The local object store of a data directory.
pub fn default_objects(data: &Path) -> String {
    format!("file://{}", escape_path(&data.join("objects")))
}

fn escape_path(path: &Path) -> String {
    path.to_string_lossy().chars().fold(String::new(), |mut out, c| {
        match c {
            '%' | '?' | '#' => out.push_str(&format!("%{:02X}", c as u32)),
            c => out.push(c),
        }
        out
    })
}

/// Undoes the escaping of [`default_objects`]; `None` for another kind of URL.
pub fn local_objects_path(url: &str) -> Option<PathBuf> {
    let escaped = url.strip_prefix("file://")?;
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = (byte == b'%').then(|| tail.get(..2)).flatten().and_then(|d| std::str::from_utf8(d).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_local_path_survives_its_url() {
        let dir = Path::new("/tmp/a b#c?d%25/é");
        assert_eq!(local_objects_path(&default_objects(dir)).unwrap(), dir.join("objects"));
    }
}
