//! Owns what a daemon and the service manager that started it (systemd) say to each other: that the mount answers, and what the
//! next daemon needs, which the manager keeps in its descriptor store, as a supervisor does where there is no manager.

use super::handover::{Bond, Heritage, Keeper};
use crate::env::KeptMemory;
use crate::fuse::Agreed;
use rustix::process::getppid;
use sd_notify::{NotifyState, notify, notify_with_fds};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// What the descriptors are called in the store.
const DEVICE: &str = "tarn-device";
const LOCK: &str = "tarn-lock";
const TABLE: &str = "tarn-open";
const HEAD: &str = "tarn-mount";
const ALL: [&str; 4] = [DEVICE, LOCK, TABLE, HEAD];
/// The head is always as long, so that a shorter one leaves nothing of a longer one.
const HEAD_BYTES: usize = 512;

/// What stands beside the descriptors.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    life: u32,
    agreed: Agreed,
}

/// The service manager.
#[derive(Debug)]
pub(super) struct Manager {
    /// It says that it keeps descriptors, and so that it starts the next daemon.
    keeps: bool,
    head: KeptMemory,
}

impl Bond {
    /// The bond with the service manager that started this process, if one did and wants to be told.
    ///
    /// # Errors
    /// What the system says.
    pub fn of_service_manager() -> io::Result<Option<Self>> {
        if std::env::var_os("NOTIFY_SOCKET").is_none_or(|path| path.is_empty()) {
            return Ok(None);
        }
        let keeps = std::env::var("FDSTORE").is_ok_and(|count| count.parse::<u32>().is_ok_and(|count| count > 0));
        let mut kept = descriptors()?;
        let head = kept.remove(HEAD).map(KeptMemory::kept);
        let found = head.as_ref().map(|head| take_over(head, &mut kept)).transpose()?.flatten();
        let (life, heritage, head) = match (found, head) {
            (Some((life, heritage)), Some(head)) => (life, Some(heritage), head),
            _ => {
                // Of a mount that is gone, or nothing at all.
                forget()?;
                (0, None, KeptMemory::new(HEAD)?)
            }
        };
        Ok(Some(Self { life, heritage, fell_back: false, keeper: Keeper::Manager(Manager { keeps, head }) }))
    }
}

/// The descriptors that it kept, by their names.
fn descriptors() -> io::Result<HashMap<String, OwnedFd>> {
    let listed = sd_notify::listen_fds_with_names()?;
    // SAFETY: they were given to this process to be its own, and nobody has asked for them before.
    Ok(listed.map(|(fd, name)| (name, unsafe { OwnedFd::from_raw_fd(fd) })).collect())
}

/// What the last daemon left, and the life that begins with it. That is written before anything is answered: who is killed before
/// it can say that the mount answers may have given handles, and they are numbered by lives.
fn take_over(head: &KeptMemory, kept: &mut HashMap<String, OwnedFd>) -> io::Result<Option<(u32, Heritage)>> {
    let Some((last, heritage)) = heritage(head, kept) else { return Ok(None) };
    let life = last + 1;
    write(head, &Head { life, agreed: heritage.agreed })?;
    Ok(Some((life, heritage)))
}

/// What the last daemon left, if its mount still stands.
fn heritage(head: &KeptMemory, kept: &mut HashMap<String, OwnedFd>) -> Option<(u32, Heritage)> {
    let Head { life, agreed } =
        read(head).inspect_err(|error| tracing::warn!(%error, "what the service manager kept cannot be read")).ok()?;
    let (device, lock) = (kept.remove(DEVICE)?, kept.remove(LOCK)?);
    let heritage = Heritage { device, lock, table: kept.remove(TABLE), agreed };
    (!heritage.is_gone()).then_some((life, heritage))
}

fn read(head: &KeptMemory) -> io::Result<Head> {
    Ok(serde_json::from_slice(&head.read_all()?)?)
}

fn write(memory: &KeptMemory, head: &Head) -> io::Result<()> {
    let mut text = serde_json::to_vec(head)?;
    text.resize(HEAD_BYTES.max(text.len()), b' ');
    memory.write_at(&text, 0)
}

/// It is to keep nothing of a mount.
fn forget() -> io::Result<()> {
    ALL.iter().try_for_each(|name| notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]))
}

fn keep(name: &str, fd: BorrowedFd<'_>) -> io::Result<()> {
    // What it has already it does not keep twice.
    notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(name)], &[fd])
}

impl Manager {
    /// Its process, if it would start the next daemon.
    pub fn pid(&self) -> Option<u32> {
        getppid().filter(|_| self.keeps).map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// The mount answers, and this is what the next daemon needs to go on with it.
    pub fn mounted(&self, life: u32, heritage: Option<&Heritage>) -> io::Result<()> {
        if let Some(heritage) = heritage {
            write(&self.head, &Head { life, agreed: heritage.agreed })?;
            keep(LOCK, heritage.lock.as_fd())?;
            heritage.table.as_ref().map_or(Ok(()), |table| keep(TABLE, table.as_fd()))?;
            keep(HEAD, self.head.fd())?;
            keep(DEVICE, heritage.device.as_fd())?;
        }
        notify(&[NotifyState::Ready, NotifyState::Status("mounted")])
    }

    /// The mount is gone.
    pub fn ended(&self) -> io::Result<()> {
        notify(&[NotifyState::Stopping, NotifyState::Status("unmounted")])?;
        forget()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(offered: u64) -> Agreed {
        serde_json::from_str(&format!(r#"{{"minor":45,"offered":{offered},"taken":0}}"#)).unwrap()
    }

    #[test]
    fn a_head_is_read_as_it_was_written_last() {
        let memory = KeptMemory::new("test").unwrap();
        write(&memory, &Head { life: u32::MAX, agreed: agreed(u64::MAX) }).unwrap();
        write(&memory, &Head { life: 3, agreed: agreed(1) }).unwrap();
        let head = read(&memory).unwrap();
        assert_eq!((head.life, head.agreed), (3, agreed(1)));
    }

    #[test]
    fn a_daemon_that_is_killed_before_it_is_ready_has_had_a_life() {
        let memory = KeptMemory::new("test").unwrap();
        let kept = || ALL.map(|name| (name.to_owned(), tempfile::tempfile().unwrap().into())).into();
        write(&memory, &Head { life: 0, agreed: agreed(1) }).unwrap();
        for expected in 1..4 {
            let (life, found) = take_over(&memory, &mut kept()).unwrap().unwrap();
            assert_eq!((life, found.agreed), (expected, agreed(1)));
        }
    }

    #[test]
    fn what_is_incomplete_or_of_a_mount_that_is_gone_is_no_heritage() {
        let memory = KeptMemory::new("test").unwrap();
        let file = || OwnedFd::from(tempfile::tempfile().unwrap());
        let kept = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), file())).collect::<HashMap<_, _>>();
        assert!(heritage(&memory, &mut kept(&ALL)).is_none(), "no head");
        write(&memory, &Head { life: 0, agreed: agreed(1) }).unwrap();
        assert!(heritage(&memory, &mut kept(&[DEVICE, TABLE])).is_none(), "no lock");
        let (_, found) = heritage(&memory, &mut kept(&[DEVICE, LOCK])).unwrap();
        assert!(found.table.is_none());
        // The end of a pipe whose other end is closed says the same as the connection of a mount that is gone.
        let (_, writer) = io::pipe().unwrap();
        let mut all = kept(&ALL);
        all.insert(DEVICE.to_owned(), writer.into());
        assert!(heritage(&memory, &mut all).is_none(), "the mount is gone");
    }
}
