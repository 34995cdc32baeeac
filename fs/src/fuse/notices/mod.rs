//! Owns notices to the kernel that may have to wait: it drops pages and names under locks that calls of programs hold, and waits
//! for these without end, deaf to signals. A daemon that waited so itself could not end when it is killed: what the
//! call waits for is its own answer, and the next daemon would wait for its end.
//!
//! So they are written by a process of its own, the messenger (`process`): it has nothing but the connection to the kernel.
//! When the daemon is killed, the messenger is as well, and is gone once the next daemon has answered the call. What it
//! still writes then makes the kernel ask anew, which does no harm. A notice counts as told when the messenger says so.

mod process;

pub use process::serve_notices;

use crate::meta::rows::Ino;
use process::Running;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use tarn_proto::name::Name;

/// Kinds of notices, as the kernel numbers them.
const INVAL_INODE: i32 = 2;
const INVAL_ENTRY: i32 = 3;
const HEADER_BYTES: usize = 16;
/// What is given to the messenger at once: it says of all of them what became of each.
const PARCEL_BYTES_MAX: usize = 32 << 10;

/// What the kernel is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice<'a> {
    /// The attributes of an inode are no longer so.
    Attributes(Ino),
    /// Its pages are not, or what the kernel has of its listing.
    Content(Ino),
    /// A name in a folder, absent ones too.
    Entry(Ino, &'a Name),
}

impl Notice<'_> {
    /// As the kernel reads it.
    fn bytes(&self) -> Vec<u8> {
        match self {
            // A negative offset leaves the pages alone; length 0 is up to the end.
            Self::Attributes(ino) => inode(*ino, -1),
            Self::Content(ino) => inode(*ino, 0),
            Self::Entry(parent, name) => {
                let name = name.as_bytes();
                let mut body = parent.0.to_ne_bytes().to_vec();
                body.extend((name.len() as u32).to_ne_bytes());
                body.extend(0u32.to_ne_bytes());
                body.extend(name);
                body.push(0);
                message(INVAL_ENTRY, &body)
            }
        }
    }
}

fn inode(ino: Ino, offset: i64) -> Vec<u8> {
    let fields = [ino.0.to_ne_bytes(), offset.to_ne_bytes(), 0u64.to_ne_bytes()];
    message(INVAL_INODE, fields.as_flattened())
}

/// A notice: its length, its kind, no request, and what it is about.
fn message(kind: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(0u64.to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// The way of notices to the kernel.
#[derive(Debug)]
pub(super) struct Messenger {
    device: OwnedFd,
    /// This program, if notices are to have a process of their own.
    program: Option<PathBuf>,
    running: Option<Running>,
}

impl Messenger {
    /// One that has the process started when there is something to tell.
    pub fn new(device: OwnedFd, program: Option<PathBuf>) -> Self {
        Self { device, program, running: None }
    }

    /// Tells the kernel, in order; what became of each, once all are told.
    pub fn tell(&mut self, notices: &[Notice<'_>]) -> Vec<io::Result<()>> {
        let messages: Vec<Vec<u8>> = notices.iter().map(Notice::bytes).collect();
        let mut told = Vec::with_capacity(messages.len());
        while told.len() < messages.len() {
            let rest = &messages[told.len()..];
            let mut bytes = 0;
            let fits = |message: &&Vec<u8>| {
                bytes += message.len();
                bytes <= PARCEL_BYTES_MAX
            };
            let count = rest.iter().take_while(fits).count().max(1);
            told.extend(self.tell_parcel(&rest[..count]));
        }
        told
    }

    fn tell_parcel(&mut self, parcel: &[Vec<u8>]) -> Vec<io::Result<()>> {
        // Who has ended the messenger may do so once more; without one the kernel is told all the same.
        for _ in 0..2 {
            let Some(program) = &self.program else { break };
            let told = match &mut self.running {
                Some(running) => running.tell(parcel),
                none => Running::start(program, &self.device).and_then(|running| none.insert(running).tell(parcel)),
            };
            match told {
                Ok(told) => return told,
                Err(error) => {
                    tracing::warn!(%error, "the process that gives notices to the kernel is gone");
                    self.running = None;
                }
            }
        }
        if self.program.take().is_some() {
            tracing::warn!("notices have no process of their own any more: killed at a bad moment, this one may hang");
        }
        parcel.iter().map(|message| process::write_to(&self.device, message)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::env::message_pair;

    #[test]
    fn notices_are_laid_out_as_the_kernel_reads_them() {
        let name = Name::new(b"name".to_vec()).unwrap();
        let bytes = Notice::Entry(Ino(7), &name).bytes();
        let field = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((bytes.len(), field(0), field(4), field(16), field(24), field(28)), (37, 37, 3, 7, 4, 0));
        assert_eq!(&bytes[32..], b"name\0");
        let bytes = Notice::Attributes(Ino(9)).bytes();
        assert_eq!((bytes.len(), &bytes[24..32], &bytes[32..40]), (40, &(-1i64).to_ne_bytes()[..], &[0; 8][..]));
        assert_eq!(Notice::Content(Ino(9)).bytes()[24..32], [0; 8]);
    }

    #[test]
    fn without_a_process_of_its_own_the_kernel_is_told_all_the_same() {
        let (kernel, device) = message_pair().unwrap();
        let mut messenger = Messenger::new(device, Some("/nowhere/tarn".into()));
        let notices = [Notice::Content(Ino(3)), Notice::Attributes(Ino(4))];
        assert!(messenger.tell(&notices).iter().all(Result::is_ok));
        for notice in notices {
            let mut read = [0; 64];
            let count = rustix::io::read(&kernel, &mut read).unwrap();
            assert_eq!(read[..count], notice.bytes());
        }
    }
}
