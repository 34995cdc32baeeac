//! Owns the requests that devices and files share: of a file, those for the flags of `chattr`, in both their forms.

use super::runner::Runner;
use crate::meta::rows::Ino;
use crate::tree::{APPEND_ONLY, IMMUTABLE, TreeError};
use crate::vfs::{Answer, Stop, Vfs, VfsError};
use fuser::{ReplyIoctl, Request};

const GET_FLAGS: u32 = 0x8008_6601;
const SET_FLAGS: u32 = 0x4008_6602;
const GET_EXTENDED: u32 = 0x801c_581f;
const SET_EXTENDED: u32 = 0x401c_5820;
/// Bytes of `struct fsxattr`; the flags are its first four.
const EXTENDED_BYTES: usize = 28;
/// What each flag is called in the extended form.
const EXTENDED: [(u32, u32); 5] = [(IMMUTABLE, 0x08), (APPEND_ONLY, 0x10), (0x08, 0x20), (0x80, 0x40), (0x40, 0x80)];

/// Answers a request.
pub(super) fn answer(runner: &Runner, request: &Request, ino: Ino, command: u32, data: &[u8], reply: ReplyIoctl) {
    let data = data.to_vec();
    runner.call("ioctl", request, reply, move |vfs, _| perform(vfs, ino, command, &data));
}

fn perform(vfs: &Vfs, ino: Ino, command: u32, data: &[u8]) -> Answer<Vec<u8>> {
    match command {
        GET_FLAGS => Ok(vfs.flags(ino)?.to_le_bytes().to_vec()),
        SET_FLAGS => vfs.set_flags(ino, first(data)?).map(|()| Vec::new()),
        GET_EXTENDED => {
            let mut answer = extended(vfs.flags(ino)?).to_le_bytes().to_vec();
            answer.resize(EXTENDED_BYTES, 0);
            Ok(answer)
        }
        SET_EXTENDED => vfs.set_flags(ino, plain(data)?).map(|()| Vec::new()),
        _ => Err(VfsError::NotADevice.into()),
    }
}

fn first(data: &[u8]) -> Answer<u32> {
    let (flags, _) = data.split_first_chunk().ok_or(TreeError::Invalid)?;
    Ok(u32::from_le_bytes(*flags))
}

fn extended(flags: u32) -> u32 {
    EXTENDED.iter().filter(|(plain, _)| flags & plain != 0).fold(0, |all, (_, extended)| all | extended)
}

/// The flags of a `struct fsxattr`; projects and hints of size mean nothing here.
fn plain(data: &[u8]) -> Answer<u32> {
    let wanted = first(data)?;
    let known = EXTENDED.iter().fold(0, |all, (_, extended)| all | extended);
    if wanted & !known != 0 || data.len() != EXTENDED_BYTES || data[4..].iter().any(|byte| *byte != 0) {
        return Err(Stop::from(TreeError::NotSupported));
    }
    Ok(EXTENDED.iter().filter(|(_, extended)| wanted & extended != 0).fold(0, |all, (plain, _)| all | plain))
}
