//! Owns the messenger's process: how the daemon starts it and speaks to it, and what it does. A parcel is one message on its
//! standard input, notices as the kernel reads them one after the other; its standard output is the connection to the kernel.
//! It answers each parcel with the error numbers of all, 0 for none, and ends with the daemon's thread that started it.

use crate::env::{MESSENGER, close_on_exec, end_with_parent, message_pair};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A parcel, with room to spare.
const READ_BYTES: usize = 64 << 10;

/// A messenger that runs.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    socket: OwnedFd,
}

impl Running {
    pub fn start(program: &Path, device: &OwnedFd) -> io::Result<Self> {
        let (socket, theirs) = message_pair()?;
        let mut command = Command::new(program);
        command.arg(MESSENGER).current_dir("/");
        command.stdin(Stdio::from(theirs)).stdout(Stdio::from(device.try_clone()?)).stderr(Stdio::null());
        // SAFETY: between fork and exec only system calls are made.
        unsafe { command.pre_exec(end_with_parent).pre_exec(close_on_exec) };
        Ok(Self { child: command.spawn()?, socket })
    }

    /// What became of each notice of a parcel.
    ///
    /// # Errors
    /// There is no messenger any more; the kernel may have been told of some.
    pub fn tell(&mut self, parcel: &[Vec<u8>]) -> io::Result<Vec<io::Result<()>>> {
        let bytes = parcel.concat();
        if retried(|| rustix::net::send(&self.socket, &bytes, rustix::net::SendFlags::NOSIGNAL))? != bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let mut answer = vec![0; parcel.len() * 4 + 1];
        let count = retried(|| rustix::io::read(&self.socket, &mut answer[..]))?;
        if count != parcel.len() * 4 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let errors = answer.as_chunks::<4>().0.iter().map(|error| i32::from_ne_bytes(*error));
        Ok(errors.take(parcel.len()).map(of_errno).collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that cannot end now is not waited for.
        let _ = self.child.kill();
        let _ = self.child.try_wait();
    }
}

/// Is a messenger, until the daemon lets go of it.
///
/// # Errors
/// What the system says of the daemon's end.
pub fn serve_notices() -> io::Result<()> {
    let (input, output) = (io::stdin(), io::stdout());
    let mut parcel = vec![0; READ_BYTES];
    loop {
        let count = retried(|| rustix::io::read(&input, &mut parcel[..]))?;
        if count == 0 {
            return Ok(());
        }
        let answer = told(&output.as_fd(), &parcel[..count])?;
        retried(|| rustix::net::send(&input, &answer, rustix::net::SendFlags::NOSIGNAL))?;
    }
}

/// Gives a parcel to the kernel, notice by notice; the answer.
fn told(kernel: &impl AsFd, mut parcel: &[u8]) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    while let Some(length) = parcel.first_chunk::<4>() {
        let length = u32::from_ne_bytes(*length) as usize;
        let Some((message, rest)) = parcel.split_at_checked(length).filter(|_| length >= 4) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let error = write_to(kernel, message).err();
        answer.extend(error.map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO)).to_ne_bytes());
        parcel = rest;
    }
    Ok(answer)
}

/// Gives one notice to the kernel.
pub(super) fn write_to(kernel: &impl AsFd, message: &[u8]) -> io::Result<()> {
    retried(|| rustix::io::write(kernel, message)).map(drop)
}

fn of_errno(error: i32) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

fn retried(mut call: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_notice_of_a_parcel_is_one_message_and_has_one_answer() {
        let (kernel, device) = message_pair().unwrap();
        let parcel = [&8u32.to_ne_bytes()[..], b"one!", &6u32.to_ne_bytes()[..], b"no"].concat();
        assert_eq!(told(&device, &parcel).unwrap(), [0; 8]);
        let mut read = [0; 64];
        assert_eq!((rustix::io::read(&kernel, &mut read).unwrap(), &read[4..8]), (8, &b"one!"[..]));
        assert_eq!((rustix::io::read(&kernel, &mut read).unwrap(), &read[4..6]), (6, &b"no"[..]));
        drop(kernel);
        assert_eq!(told(&device, &parcel[..8]).unwrap(), libc::EPIPE.to_ne_bytes());
        for odd in [&3u32.to_ne_bytes()[..], &9u32.to_ne_bytes()[..]] {
            assert_eq!(told(&device, odd).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
