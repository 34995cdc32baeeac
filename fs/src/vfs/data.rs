//! Owns the calls on bytes: read, write, lseek, fallocate, copy_file_range.

use super::files::OpenFile;
use super::ports::FileContent;
use super::programs::{Caused, SCANNED_BYTES};
use super::{Answer, Caller, Stop, Vfs, VfsError, WaitFor};
use crate::content::Read;
use crate::meta::rows::Ino;
use crate::tree::TreeError;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use tarn_proto::limits::FILE_BYTES_MAX;

/// Most bytes that one `copy_file_range` call copies; programs call again for the rest.
const COPY_BYTES_MAX: u64 = 8 << 20;
const COPY_STEP_BYTES: u64 = 1 << 20;
/// Most bytes that one call says it has shared: the answer has 32 bits, and the kernel asks for less at once.
const SHARED_BYTES_MAX: u64 = 1 << 31;

impl Vfs {
    /// Reads `len` bytes; fewer only at the end of the file. Whoever reads is not named.
    ///
    /// # Errors
    /// `BadHandle`; waits for what is not here.
    pub fn read(&self, handle: u64, offset: u64, len: usize) -> Answer<Bytes> {
        self.read_as(None, handle, offset, len)
    }

    /// The same for a program, which is put down as the cause of what is fetched.
    ///
    /// # Errors
    /// As [`Self::read`]; `NotPermitted` for a program that only scans, of what is neither here nor the head of the file.
    pub fn read_for(&self, caller: Caller, handle: u64, offset: u64, len: usize) -> Answer<Bytes> {
        self.read_as(Some(caller), handle, offset, len)
    }

    fn read_as(&self, caller: Option<Caller>, handle: u64, offset: u64, len: usize) -> Answer<Bytes> {
        let file = self.file(handle)?;
        let content = self.content(&file)?;
        let found = content.read(offset, len)?;
        let ahead = missing_ahead(&file, content.as_ref(), offset, len);
        if ahead.is_empty()
            && let Read::Bytes(bytes) = found
        {
            return Ok(bytes);
        }
        let program = caller.map(|caller| self.programs.of(caller.tid));
        let alone = program.as_ref().is_some_and(|program| program.scans);
        let note = |change: &dyn Fn(&mut Caused)| {
            program.iter().for_each(|program| self.programs.note(program, file.ino, change));
        };
        if !ahead.is_empty() && !alone {
            note(&|caused| caused.ahead_bytes += bytes_in(&ahead));
            content.soon(ahead.clone());
        }
        match found {
            Read::Bytes(bytes) => Ok(bytes),
            Read::Missing(_) if alone && offset >= SCANNED_BYTES => {
                note(&|caused| caused.refused_count += 1);
                Err(TreeError::NotPermitted.into())
            }
            Read::Missing(ranges) => {
                note(&|caused| caused.asked_bytes += bytes_in(&ranges));
                Err(Stop::Wait(WaitFor::Bytes { content: Arc::clone(content), ranges, alone }))
            }
        }
    }

    /// Reads for the kernel's page cache, which gets nothing of a file that is passed through: `sendfile` and `splice` from a
    /// handle that writes would find there what the file was before a map wrote to it. Programs copy otherwise then.
    ///
    /// # Errors
    /// As [`Self::read_for`]; `Invalid` where the file is passed through.
    pub fn read_for_cache(&self, caller: Caller, handle: u64, offset: u64, len: usize) -> Answer<Bytes> {
        if self.file(handle)?.is_passed_through() {
            return Err(TreeError::Invalid.into());
        }
        self.read_for(caller, handle, offset, len)
    }

    /// Writes all of `data`. A handle that appends writes at the end wherever the caller believes that is, but for
    /// what comes from a map (`from_map`): that has its place, and its handle is the kernel's guess.
    ///
    /// # Errors
    /// `BadHandle`, `FileTooLarge`; else as the tree says.
    pub fn write(&self, caller: Caller, handle: u64, offset: u64, data: &[u8], from_map: bool) -> Answer<()> {
        let file = self.file(handle)?;
        if !file.flags.write {
            return Err(VfsError::BadHandle.into());
        }
        range_of(offset, data.len() as u64)?;
        match file.flags.append && !from_map {
            true if caller.is_again => self.append_again(file.ino, offset, data)?,
            true => self.tree.append(file.ino, data)?,
            false => self.tree.write(file.ino, offset, data)?,
        }
        self.drop_privileges_once(caller, &file)?;
        if file.flags.sync {
            self.tree.fsync(file.ino)?;
        }
        Ok(())
    }

    /// Finds data (SEEK_DATA) or a hole (SEEK_HOLE). All up to the end counts as data: what is not local is not
    /// a hole, or `cp` would write zeros for it.
    ///
    /// # Errors
    /// `BeyondEnd` from the end on, `Invalid` for another `whence`.
    pub fn lseek(&self, handle: u64, offset: i64, whence: i32) -> Answer<i64> {
        let file = self.file(handle)?;
        let size = i64::try_from(self.content(&file)?.size_bytes()).unwrap_or(i64::MAX);
        match whence {
            libc::SEEK_DATA | libc::SEEK_HOLE if !(0..size).contains(&offset) => Err(VfsError::BeyondEnd.into()),
            libc::SEEK_DATA => Ok(offset),
            libc::SEEK_HOLE => Ok(size),
            _ => Err(TreeError::Invalid.into()),
        }
    }

    /// Allocates, zeroes or punches a range.
    ///
    /// # Errors
    /// `NotSupported` for modes that shift or unshare; `Invalid` for an empty range; `NotPermitted` for zeros in what is
    /// append-only; else as the tree says.
    pub fn fallocate(&self, caller: Caller, handle: u64, offset: u64, len_bytes: u64, mode: i32) -> Answer<()> {
        let file = self.file(handle)?;
        if !file.flags.write {
            return Err(VfsError::BadHandle.into());
        }
        if mode & !libc::FALLOC_FL_KEEP_SIZE != 0 {
            Self::changeable(self.tree.flags(file.ino)?)?;
        }
        let range = range_of(offset, len_bytes)?;
        if range.is_empty() {
            return Err(TreeError::Invalid.into());
        }
        let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        match mode & !libc::FALLOC_FL_KEEP_SIZE {
            0 => self.tree.allocate(file.ino, range, keep_size)?,
            libc::FALLOC_FL_ZERO_RANGE => self.tree.zero(file.ino, range, keep_size)?,
            libc::FALLOC_FL_PUNCH_HOLE if keep_size => self.tree.punch(file.ino, range)?,
            _ => return Err(TreeError::NotSupported.into()),
        }
        self.drop_privileges_once(caller, &file)
    }

    /// Copies bytes between open files; how many. What is not here is shared where it can be; else at most
    /// `COPY_BYTES_MAX` are copied.
    ///
    /// # Errors
    /// Of the first byte; later ones end the copy early. Waits for what is not here.
    pub fn copy_file_range(&self, caller: Caller, from: (u64, u64), to: (u64, u64), len_bytes: u64) -> Answer<u64> {
        if let Some(shared) = self.share(caller, from, to, len_bytes)? {
            return Ok(shared);
        }
        let mut copied = 0;
        while copied < len_bytes.min(COPY_BYTES_MAX) {
            let want = (len_bytes - copied).min(COPY_STEP_BYTES);
            match self.copy_step(caller, (from.0, from.1 + copied), (to.0, to.1 + copied), want) {
                Ok(0) => break,
                Ok(count) => copied += count,
                Err(_) if copied > 0 => break,
                Err(stop) => return Err(stop),
            }
        }
        Ok(copied)
    }

    /// Has a file go on with another's bytes without moving any; how many, if it can.
    fn share(&self, caller: Caller, from: (u64, u64), to: (u64, u64), len_bytes: u64) -> Answer<Option<u64>> {
        let (source, target) = (self.file(from.0)?, self.file(to.0)?);
        if !source.flags.read || !target.flags.write {
            return Err(VfsError::BadHandle.into());
        }
        if from.1 != to.1 || source.ino == target.ino || target.flags.append {
            return Ok(None);
        }
        let range = range_of(from.1, len_bytes.min(SHARED_BYTES_MAX))?;
        let Some(end) = self.tree.share(source.ino, target.ino, range)? else { return Ok(None) };
        self.drop_privileges_once(caller, &target)?;
        if target.flags.sync {
            self.tree.fsync(target.ino)?;
        }
        Ok(Some(end - from.1))
    }

    fn copy_step(&self, caller: Caller, from: (u64, u64), to: (u64, u64), len_bytes: u64) -> Answer<u64> {
        let bytes = self.read(from.0, from.1, len_bytes as usize)?;
        if !bytes.is_empty() {
            self.write(caller, to.0, to.1, &bytes, false)?;
        }
        Ok(bytes.len() as u64)
    }

    /// How much of a file is here, in a word.
    pub(super) fn presence(&self, ino: Ino) -> Answer<&'static str> {
        let content = self.tree.content(ino)?;
        Ok(match (content.present_bytes(), content.size_bytes()) {
            (0, size) if size > 0 => "online-only",
            (present, size) if present < size => "partial",
            _ => "hydrated",
        })
    }
}

/// What is missing of what the next reads will want. Where all is here this is one lock of the handle.
fn missing_ahead(file: &OpenFile, content: &dyn FileContent, offset: u64, len: usize) -> Vec<Range<u64>> {
    let ahead = file.reading.lock().note(offset, len, content.size_bytes());
    ahead.into_iter().flat_map(|ahead| content.missing(ahead)).collect()
}

fn bytes_in(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// A range that lies in what a file can hold.
fn range_of(offset: u64, len_bytes: u64) -> Result<Range<u64>, Stop> {
    match offset.checked_add(len_bytes) {
        Some(end) if end <= FILE_BYTES_MAX => Ok(offset..end),
        _ => Err(VfsError::FileTooLarge.into()),
    }
}
