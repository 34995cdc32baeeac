//! Owns the kernel's calls: each is one span, one call into `vfs`, one reply.

use super::attr::new_time;
use super::attr_flags;
use super::init;
use super::ready::Gate;
use super::reply::Sized;
use super::runner::Runner;
use super::takeover::Agreed;
use crate::meta::rows::Ino;
use crate::vfs::{NewMode, RenameFlags, SetAttr, Stop, Through, VfsError, XattrMode};
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags as KernelRenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// The file system as fuser calls it.
pub(super) struct Mounted {
    runner: Runner,
    agreed: Arc<OnceLock<Agreed>>,
    gate: Arc<Gate>,
}

impl Mounted {
    pub(super) fn new(runner: Runner) -> Self {
        Self { runner, agreed: Arc::default(), gate: Arc::default() }
    }

    /// Where its workers wait before the first request.
    pub(super) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    /// What is agreed with the kernel, once the session begins.
    pub(super) fn agreed(&self) -> Arc<OnceLock<Agreed>> {
        Arc::clone(&self.agreed)
    }
}

fn ino(number: INodeNo) -> Ino {
    Ino(number.0)
}

fn bytes(name: &OsStr) -> Vec<u8> {
    name.as_bytes().to_vec()
}

fn rename_flags(flags: KernelRenameFlags) -> RenameFlags {
    let known = KernelRenameFlags::RENAME_NOREPLACE | KernelRenameFlags::RENAME_EXCHANGE;
    RenameFlags {
        no_replace: flags.contains(KernelRenameFlags::RENAME_NOREPLACE),
        exchange: flags.contains(KernelRenameFlags::RENAME_EXCHANGE),
        others: flags.bits() & !known.bits() != 0,
    }
}

fn xattr_mode(flags: i32) -> XattrMode {
    match flags {
        libc::XATTR_CREATE => XattrMode::Create,
        libc::XATTR_REPLACE => XattrMode::Replace,
        _ => XattrMode::Either,
    }
}

impl Filesystem for Mounted {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let taken = init::agree(config, self.runner.vfs.options().posix);
        let past = if self.runner.agree_passthrough(config) { InitFlags::FUSE_PASSTHROUGH } else { InitFlags::empty() };
        // A session begins once.
        let _ = self.agreed.set(Agreed::new(config, taken | past));
        Ok(())
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = bytes(name);
        self.runner.call("lookup", req, reply, move |vfs, caller| vfs.lookup_for(caller, ino(parent), &name));
    }

    fn forget(&self, req: &Request, node: INodeNo, count: u64) {
        if self.gate.holds(req, node.0) {
            return;
        }
        let _turn = self.runner.turn();
        self.runner.tell(|vfs| vfs.forget(ino(node), count));
    }

    fn getattr(&self, req: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.runner.call("getattr", req, reply, move |vfs, caller| vfs.getattr_for(caller, ino(node)));
    }

    fn setattr(
        &self,
        req: &Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size_bytes: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (atime, mtime) = (atime.map(new_time), mtime.map(new_time));
        let set = SetAttr { mode, uid, gid, size_bytes, atime, mtime, handle: handle.map(|handle| handle.0) };
        self.runner.call("setattr", req, reply, move |vfs, caller| vfs.setattr(caller, ino(node), set));
    }

    fn readlink(&self, req: &Request, node: INodeNo, reply: ReplyData) {
        self.runner.call("readlink", req, reply, move |vfs, _| vfs.readlink(ino(node)));
    }

    fn mknod(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, rdev: u32, reply: ReplyEntry) {
        let (name, new) = (bytes(name), NewMode { mode, umask });
        self.runner.call("mknod", req, reply, move |vfs, caller| vfs.mknod(caller, ino(parent), &name, new, rdev));
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let (name, new) = (bytes(name), NewMode { mode, umask });
        self.runner.call("mkdir", req, reply, move |vfs, caller| vfs.mkdir(caller, ino(parent), &name, new));
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = bytes(name);
        self.runner.call("unlink", req, reply, move |vfs, caller| vfs.unlink_for(caller, ino(parent), &name));
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = bytes(name);
        self.runner.call("rmdir", req, reply, move |vfs, caller| vfs.rmdir_for(caller, ino(parent), &name));
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (name, target) = (bytes(name), bytes(target.as_os_str()));
        let link = move |vfs: &crate::vfs::Vfs, caller| vfs.symlink(caller, ino(parent), &name, &target);
        self.runner.call("symlink", req, reply, link);
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        to_parent: INodeNo,
        to_name: &OsStr,
        flags: KernelRenameFlags,
        reply: ReplyEmpty,
    ) {
        let (name, to_name, flags) = (bytes(name), bytes(to_name), rename_flags(flags));
        self.runner.call("rename", req, reply, move |vfs, caller| {
            vfs.rename_for(caller, (ino(parent), &name), (ino(to_parent), &to_name), flags)
        });
    }

    fn link(&self, req: &Request, node: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = bytes(name);
        self.runner.call("link", req, reply, move |vfs, caller| vfs.link_for(caller, ino(node), ino(parent), &name));
    }

    fn open(&self, req: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.runner.call("open", req, reply, move |vfs, caller| vfs.open(caller, ino(node), flags.0.into()));
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (name, new) = (bytes(name), NewMode { mode, umask });
        self.runner
            .call("create", req, reply, move |vfs, caller| vfs.create(caller, ino(parent), &name, new, flags.into()));
    }

    fn read(
        &self,
        req: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        flags: OpenFlags,
        owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        // A read of a program has an owner, one for the page cache has none.
        let through = Through { handle: handle.0, ino: ino(node), flags: flags.0.into() };
        self.runner.read(req, reply, (through, offset), size, owner.is_none());
    }

    fn write(
        &self,
        req: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        opened: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let from_map = flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        // What comes from a map says nothing of how its handle was opened, but it may write.
        let opened = crate::vfs::OpenFlags { write: true, ..opened.0.into() };
        let through = Through { handle: handle.0, ino: ino(node), flags: opened };
        self.runner.write(req, reply, (through, offset), data, from_map);
    }

    /// What was written is safe already, and a close waits for nothing: told so once, the kernel asks no more.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let _turn = self.runner.turn();
        self.runner.release(handle.0);
        reply.ok();
    }

    fn fsync(&self, req: &Request, node: INodeNo, handle: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let through = Through::reading(handle.0, ino(node));
        self.runner.call("fsync", req, reply, move |vfs, _| match vfs.inherited(through)? {
            handle if datasync => vfs.fdatasync(handle),
            handle => vfs.fsync(handle),
        });
    }

    fn opendir(&self, req: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.runner.call("opendir", req, reply, move |vfs, _| vfs.opendir(ino(node)));
    }

    fn readdir(&self, req: &Request, node: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectory) {
        self.runner.list("readdir", req, reply, (handle.0, ino(node)), offset);
    }

    fn readdirplus(&self, req: &Request, node: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        self.runner.list("readdirplus", req, reply, (handle.0, ino(node)), offset);
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        let _turn = self.runner.turn();
        self.runner.tell(|vfs| vfs.releasedir(handle.0));
        reply.ok();
    }

    fn fsyncdir(&self, req: &Request, node: INodeNo, handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.runner.call("fsyncdir", req, reply, move |vfs, _| vfs.fsyncdir(vfs.inherited_dir(handle.0, ino(node))?));
    }

    fn statfs(&self, req: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.runner.call("statfs", req, reply, |vfs, caller| vfs.statfs_for(caller));
    }

    fn setxattr(
        &self,
        req: &Request,
        node: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let (name, value, mode) = (bytes(name), value.to_vec(), xattr_mode(flags));
        self.runner
            .call("setxattr", req, reply, move |vfs, caller| vfs.setxattr(caller, ino(node), &name, &value, mode));
    }

    fn getxattr(&self, req: &Request, node: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let name = bytes(name);
        self.runner.call("getxattr", req, Sized { reply, size }, move |vfs, _| vfs.getxattr(ino(node), &name));
    }

    fn listxattr(&self, req: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        self.runner.call("listxattr", req, Sized { reply, size }, move |vfs, caller| vfs.listxattr(caller, ino(node)));
    }

    fn removexattr(&self, req: &Request, node: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = bytes(name);
        self.runner.call("removexattr", req, reply, move |vfs, caller| vfs.removexattr_for(caller, ino(node), &name));
    }

    fn access(&self, req: &Request, node: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        self.runner.call("access", req, reply, move |vfs, _| vfs.access(ino(node)));
    }

    fn ioctl(
        &self,
        req: &Request,
        node: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        command: u32,
        data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        attr_flags::answer(&self.runner, req, ino(node), command, data, reply);
    }

    fn fallocate(
        &self,
        req: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: u64,
        len_bytes: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let through = Through::writing(handle.0, ino(node));
        self.runner.call("fallocate", req, reply, move |vfs, caller| {
            vfs.fallocate(caller, vfs.inherited(through)?, offset, len_bytes, mode)
        });
    }

    fn lseek(&self, req: &Request, node: INodeNo, handle: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let through = Through::reading(handle.0, ino(node));
        self.runner.call("lseek", req, reply, move |vfs, _| vfs.lseek(vfs.inherited(through)?, offset, whence));
    }

    fn copy_file_range(
        &self,
        req: &Request,
        from_node: INodeNo,
        from: FileHandle,
        offset: u64,
        to_node: INodeNo,
        to: FileHandle,
        to_offset: u64,
        len_bytes: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let from = Through::reading(from.0, ino(from_node));
        let to = Through::writing(to.0, ino(to_node));
        self.runner.call("copy_file_range", req, reply, move |vfs, caller| {
            let (from, to) = (vfs.inherited(from)?, vfs.inherited(to)?);
            let copied = vfs.copy_file_range(caller, (from, offset), (to, to_offset), len_bytes)?;
            u32::try_from(copied).map_err(|_| Stop::Fail(VfsError::FileTooLarge))
        });
    }
}
