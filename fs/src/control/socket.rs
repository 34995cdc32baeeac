//! Owns how the socket's file is reached. A socket's address holds 107 bytes; a longer path is reached
//! through a descriptor of its directory (`/proc/self/fd/N/NAME`), so that the file is where it belongs.

use rustix::fs::{Mode, OFlags};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};

/// Longest path in a socket's address (108 with the closing NUL).
const ADDRESS_BYTES_MAX: usize = 107;

/// A path that fits; the descriptor must live while it is used.
struct Reach {
    path: PathBuf,
    _dir: Option<OwnedFd>,
}

fn reach(path: &Path) -> io::Result<Reach> {
    if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return Ok(Reach { path: path.to_owned(), _dir: None });
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidFilename));
    };
    let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let through = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
    Ok(Reach { path: through, _dir: Some(dir) })
}

/// Listens at `path`. What lies there is replaced: only who holds the lock of the state may call this.
///
/// # Errors
/// What the system says.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match rustix::fs::unlink(path) {
        Err(e) if e != rustix::io::Errno::NOENT => return Err(e.into()),
        _ => {}
    }
    let reach = reach(path)?;
    let listener = StdListener::bind(&reach.path)?;
    rustix::fs::chmod(&reach.path, Mode::RUSR | Mode::WUSR)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Connects to the socket at `path`.
///
/// # Errors
/// `NotFound` or `ConnectionRefused` if nobody listens; `WouldBlock` if the one that listens has not accepted for
/// long; `PermissionDenied` if it is another user's.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let reach = reach(path)?;
    // Never waits for room in the queue of one that accepts no more.
    let stream = UnixStream::connect(&reach.path).await?;
    check_peer(&stream)?;
    Ok(stream)
}

/// Takes the socket's file away.
pub fn remove(path: &Path) {
    // Without the file or without permission there is nothing left to do: the next daemon replaces it.
    let _gone = rustix::fs::unlink(path);
}

/// The other end belongs to this user or to root.
///
/// # Errors
/// `PermissionDenied` otherwise.
pub fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if uid == 0 || uid == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("the other end belongs to user {uid}")))
}

/// The name of a socket in a directory that several states share.
pub fn shared_name(state: &Path) -> String {
    let hash = blake3::hash(OsStr::as_bytes(state.as_os_str()));
    format!("control-{}.sock", &hash.to_hex()[..16])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn speaks(path: &Path) {
        let listener = listen(path).unwrap();
        let (client, accepted) = tokio::join!(connect(path), listener.accept());
        let (mut client, (mut server, _)) = (client.unwrap(), accepted.unwrap());
        check_peer(&server).unwrap();
        server.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        assert!(path.exists());
        remove(path);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn sockets_work_at_paths_of_any_length() {
        let dir = tempfile::tempdir().unwrap();
        speaks(&dir.path().join("s")).await;
        let long = dir.path().join("x".repeat(150)).join("y".repeat(200));
        std::fs::create_dir_all(&long).unwrap();
        speaks(&long.join("control.sock")).await;
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        assert_eq!(connect(&path).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(listen(&path).unwrap());
        assert_eq!(connect(&path).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        speaks(&path).await;
    }

    #[test]
    fn states_that_share_a_directory_have_different_sockets() {
        assert_ne!(shared_name(Path::new("/a")), shared_name(Path::new("/b")));
        assert!(shared_name(Path::new("/a")).len() < 40);
    }
}
