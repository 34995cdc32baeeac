//! Owns the record of what the kernel has open, outside of this process's memory: the next daemon of the mount reads it. Of each
//! open file it says by which handle, of each file lent to the kernel (`passthrough`) by which number.
//!
//! What is entered is entered before the kernel is answered, and cleared before it is told that it was closed: so whatever the
//! kernel has is in the record, at any moment. What is entered and not open does no harm: the call comes once more
//! and takes it up ([`super::again`]). The one number that the kernel may have given and nobody entered is known too, since
//! numbers are given one at a time, in order.

use super::OpenFlags;
use super::ports::Backings;
use crate::env::{FileId, KeptMemory};
use crate::meta::rows::Ino;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The first record says what the others are; records of another kind are not read.
const MAGIC: [u8; 8] = *b"tarnopn1";
/// No record lies across two pages, so that each is written whole or not at all, even by a process that is killed.
const RECORD_BYTES: usize = 64;
const FREE: u64 = 0;
const OPEN: u64 = 1;
const LENT: u64 = 2;
const EXCHANGE: u64 = 3;
/// Exchanges that are remembered: of more than are under way at once.
const EXCHANGES_MAX: usize = 64;

/// Where a record stands.
pub type Slot = u32;

/// An open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRecord {
    /// The handle.
    pub handle: u64,
    /// Its inode.
    pub ino: Ino,
    /// How it was opened.
    pub flags: OpenFlags,
    /// The number of the call that opened it.
    pub unique: u64,
    /// What the kernel serves it, or its maps, from by itself.
    pub backing: Option<u32>,
}

/// A file that is lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LentRecord {
    /// What the kernel calls it by, never 0; `None`: it was taken back, and maps may live on.
    pub backing: Option<u32>,
    /// For this inode.
    pub ino: Ino,
    /// Which file it is.
    pub file: FileId,
    /// Programs may write it through maps.
    pub is_exposed: bool,
}

/// Two names that are exchanged: what they name before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeRecord {
    /// The number of the call.
    pub unique: u64,
    /// What the first name names.
    pub from: Ino,
    /// What the second does.
    pub to: Ino,
}

/// What stood in the record when a daemon took it over.
#[derive(Debug, Default)]
pub struct Left {
    /// Open files.
    pub open: Vec<(Slot, OpenRecord)>,
    /// Files that are lent.
    pub lent: Vec<(Slot, LentRecord)>,
    /// The last exchanges.
    pub exchanges: Vec<ExchangeRecord>,
    /// A number that the kernel may have given without anybody entering it: to be taken back.
    pub stray: u32,
}

/// The record.
#[derive(Debug)]
pub struct OpenTable {
    memory: KeptMemory,
    slots: Mutex<Slots>,
    /// The highest number that the kernel gave; held while it gives one.
    highest: Mutex<u32>,
    /// Where the last exchanges stand, oldest first.
    exchanges: Mutex<VecDeque<Slot>>,
}

#[derive(Debug)]
struct Slots {
    free: Vec<Slot>,
    /// Beyond the last that was ever used.
    end: Slot,
}

impl OpenTable {
    /// An empty one.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new() -> io::Result<Self> {
        let table = Self {
            memory: KeptMemory::new("tarn-open")?,
            slots: Mutex::new(Slots { free: Vec::new(), end: 1 }),
            highest: Mutex::new(0),
            exchanges: Mutex::default(),
        };
        table.write_head(0)?;
        Ok(table)
    }

    /// What an earlier daemon left.
    ///
    /// # Errors
    /// `InvalidData` for what no daemon of this kind has written.
    pub fn take_over(fd: OwnedFd) -> io::Result<(Self, Left)> {
        let memory = KeptMemory::kept(fd);
        let bytes = memory.read_all()?;
        let mut records = bytes.chunks_exact(RECORD_BYTES).map(Fields::of);
        let head = records.next().filter(|head| head.0[0] == u64::from_le_bytes(MAGIC));
        let highest = head.and_then(|head| u32::try_from(head.0[1]).ok()).ok_or_else(invalid)?;
        let (mut left, mut free, mut exchanges) = (Left::default(), Vec::new(), VecDeque::new());
        for (slot, record) in (1..).zip(records) {
            match record.0[0] {
                FREE => free.push(slot),
                OPEN => left.open.push((slot, record.open()?)),
                LENT => left.lent.push((slot, record.lent()?)),
                EXCHANGE => {
                    exchanges.push_back(slot);
                    left.exchanges.push(record.exchange());
                }
                _ => return Err(invalid()),
            }
        }
        let end = Slot::try_from(bytes.len() / RECORD_BYTES).map_err(|_| invalid())?;
        let highest = left.lent.iter().filter_map(|(_, lent)| lent.backing).fold(highest, u32::max);
        left.stray = highest.wrapping_add(1);
        let (slots, highest) = (Mutex::new(Slots { free, end }), Mutex::new(highest));
        Ok((Self { memory, slots, highest, exchanges: Mutex::new(exchanges) }, left))
    }

    /// What another process keeps of it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// Enters an open file.
    ///
    /// # Errors
    /// There is no memory.
    pub fn enter(&self, open: &OpenRecord) -> io::Result<Slot> {
        self.put(Fields::of_open(open))
    }

    /// Gives a file to the kernel and enters its number with it, at `slot` if it stands there already.
    ///
    /// # Errors
    /// The kernel does not take it, or there is no memory.
    pub fn give(
        &self,
        kernel: &dyn Backings,
        fd: BorrowedFd<'_>,
        record: LentRecord,
        slot: Option<Slot>,
    ) -> io::Result<(Slot, u32)> {
        let mut highest = self.highest.lock();
        let number = kernel.open(fd)?;
        *highest = number;
        let record = Fields::of_lent(&LentRecord { backing: Some(number), ..record });
        let entered = match slot {
            Some(slot) => self.write(slot, record).map(|()| slot),
            None => self.put(record),
        };
        let slot = entered.inspect_err(|_| kernel.close(number))?;
        // After the record: a number that stands nowhere is the one after the highest that does.
        if let Err(error) = self.write_head(number) {
            tracing::warn!(%error, "the record does not say which number was given last");
        }
        Ok((slot, number))
    }

    /// Changes what stands of a file that is lent.
    ///
    /// # Errors
    /// There is no memory.
    pub fn change(&self, slot: Slot, record: &LentRecord) -> io::Result<()> {
        self.write(slot, Fields::of_lent(record))
    }

    /// Enters an exchange that is about to be made, in place of the oldest one if there are many.
    ///
    /// # Errors
    /// There is no memory.
    pub fn note_exchange(&self, record: &ExchangeRecord) -> io::Result<()> {
        let fields = Fields([EXCHANGE, record.unique, record.from.0, record.to.0, 0, 0, 0, 0]);
        let mut exchanges = self.exchanges.lock();
        let oldest = (exchanges.len() >= EXCHANGES_MAX).then(|| exchanges.pop_front()).flatten();
        let slot = match oldest {
            Some(slot) => self.write(slot, fields).map(|()| slot)?,
            None => self.put(fields)?,
        };
        exchanges.push_back(slot);
        Ok(())
    }

    /// Clears a record.
    pub fn clear(&self, slot: Slot) {
        match self.write(slot, Fields::default()) {
            Ok(()) => self.slots.lock().free.push(slot),
            // It is found to be of nothing by the next daemon.
            Err(error) => tracing::warn!(%error, "a file that was closed stays in the record"),
        }
    }

    fn put(&self, fields: Fields) -> io::Result<Slot> {
        let slot = {
            let mut slots = self.slots.lock();
            slots.free.pop().unwrap_or_else(|| {
                slots.end += 1;
                slots.end - 1
            })
        };
        self.write(slot, fields).inspect_err(|_| self.slots.lock().free.push(slot))?;
        Ok(slot)
    }

    fn write_head(&self, highest: u32) -> io::Result<()> {
        self.write(0, Fields([u64::from_le_bytes(MAGIC), u64::from(highest), 0, 0, 0, 0, 0, 0]))
    }

    fn write(&self, slot: Slot, fields: Fields) -> io::Result<()> {
        self.memory.write_at(fields.0.map(u64::to_le_bytes).as_flattened(), u64::from(slot) * RECORD_BYTES as u64)
    }
}

/// A record as it stands there.
#[derive(Debug, Clone, Copy, Default)]
struct Fields([u64; RECORD_BYTES / 8]);

impl Fields {
    fn of(bytes: &[u8]) -> Self {
        let mut fields = Self::default();
        fields
            .0
            .iter_mut()
            .zip(bytes.as_chunks::<8>().0)
            .for_each(|(field, bytes)| *field = u64::from_le_bytes(*bytes));
        fields
    }

    fn of_open(open: &OpenRecord) -> Self {
        let backing = open.backing.map_or(0, u64::from);
        Self([OPEN, open.handle, open.ino.0, open.flags.bits(), open.unique, backing, 0, 0])
    }

    fn of_lent(lent: &LentRecord) -> Self {
        let backing = lent.backing.map_or(0, u64::from);
        Self([LENT, backing, lent.ino.0, lent.file.0, lent.file.1, u64::from(lent.is_exposed), 0, 0])
    }

    fn open(self) -> io::Result<OpenRecord> {
        let [_, handle, ino, flags, unique, backing, ..] = self.0;
        let flags = OpenFlags::of_bits(flags).ok_or_else(invalid)?;
        Ok(OpenRecord { handle, ino: Ino(ino), flags, unique, backing: number(backing)? })
    }

    fn exchange(self) -> ExchangeRecord {
        let [_, unique, from, to, ..] = self.0;
        ExchangeRecord { unique, from: Ino(from), to: Ino(to) }
    }

    fn lent(self) -> io::Result<LentRecord> {
        let [_, backing, ino, device, inode, is_exposed, ..] = self.0;
        Ok(LentRecord { backing: number(backing)?, ino: Ino(ino), file: (device, inode), is_exposed: is_exposed != 0 })
    }
}

fn number(backing: u64) -> io::Result<Option<u32>> {
    let number = u32::try_from(backing).map_err(|_| invalid())?;
    Ok((number > 0).then_some(number))
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the record of open files is none of this version of tarn")
}
