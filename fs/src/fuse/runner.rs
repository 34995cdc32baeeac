//! Owns how a call runs: at once on the worker thread where it can, else on the runtime, with its reply, until what
//! it waits for is there, the deadline passes or its caller is told to end. Catches panics: one answers EIO and is logged.

use super::crew::{Crew, Turn};
use super::errno::errno;
use super::given_up::{GivenUp, Reader};
use super::init::agree_passthrough;
use super::readdir::{Buffer, Waiting, batch, fill};
use super::reply::Respond;
use super::signals::told_to_end;
use super::takeover::number;
use super::waits::Waits;
use crate::meta::rows::Ino;
use crate::vfs::ports::BringError;
use crate::vfs::{Answer, Caller, Stop, Through, Vfs, VfsError, WaitFor};
use fuser::{Errno, KernelConfig, ReplyData, ReplyWrite, Request};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tracing::{Instrument, Span};

/// Runs calls.
#[derive(Debug, Clone)]
pub(super) struct Runner {
    pub vfs: Arc<Vfs>,
    pub runtime: Handle,
    /// How long a call may wait.
    pub patience: Duration,
    /// The calls that do.
    pub waits: Arc<Waits>,
    /// Those that waited in vain just now.
    pub given_up: Arc<GivenUp>,
    /// The workers.
    pub crew: Arc<Crew>,
}

/// A read of so much takes long enough for another worker to read the next request.
const LONG_READ_BYTES: u32 = 128 << 10;

/// When a closed file is looked at: another handle may follow, and the kernel lets go a moment after it said so.
const LOOK_AFTER: [Duration; 3] = [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(500)];
const LOOK_EVERY: Duration = Duration::from_secs(3);

impl Runner {
    /// Begins a call on this worker, for calls that are not run here; dropped after the reply.
    pub fn turn(&self) -> Turn<'_> {
        self.crew.turn()
    }

    /// Runs one call and replies.
    pub fn call<T, R, F>(&self, name: &'static str, request: &Request, reply: R, op: F)
    where
        T: Send + 'static,
        R: Respond<T>,
        F: FnMut(&Vfs, Caller) -> Answer<T> + Send + 'static,
    {
        let _turn = self.turn();
        self.run(name, request, None, reply, op);
    }

    /// Agrees on passthrough, if this mount may have it; whether it has.
    pub fn agree_passthrough(&self, config: &mut KernelConfig) -> bool {
        if !self.vfs.options().passthrough {
            return false;
        }
        let agreed = agree_passthrough(config);
        let is_agreed = agreed.is_ok();
        self.vfs.agree_passthrough(agreed);
        is_agreed
    }

    /// Ends a handle, and looks now and then at what maps of the file live on.
    pub fn release(&self, handle: u64) {
        // A panic has been logged; there is nobody to tell.
        let left = self.at_once(|vfs| Ok(vfs.release(handle)));
        self.look_at(left.into_iter().flatten());
    }

    /// Looks now and then at what maps of files live on.
    pub fn look_at(&self, inodes: impl IntoIterator<Item = Ino>) {
        inodes.into_iter().for_each(|ino| {
            self.runtime.spawn(self.clone().until_unmapped(ino));
        });
    }

    async fn until_unmapped(self, ino: Ino) {
        for wait in LOOK_AFTER.into_iter().chain(std::iter::repeat(LOOK_EVERY)) {
            tokio::time::sleep(wait).await;
            let looker = self.clone();
            let look = spawn_blocking(move || looker.at_once(|vfs| Ok(vfs.look_at_maps(ino))));
            if !matches!(look.await, Ok(Ok(false))) {
                return;
            }
        }
    }

    /// Reads and replies.
    pub fn read(
        &self,
        request: &Request,
        reply: ReplyData,
        (through, offset): (Through, u64),
        size: u32,
        for_cache: bool,
    ) {
        self.vfs.count_read_request();
        let turn = self.turn();
        if size >= LONG_READ_BYTES {
            turn.is_long();
        }
        let reader = (request.pid(), through.handle);
        let given_up = Arc::clone(&self.given_up);
        self.run("read", request, Some(reader), reply, move |vfs, caller| {
            let handle = vfs.inherited(through)?;
            let answer = match for_cache {
                true => vfs.read_for_cache(caller, handle, offset, size as usize),
                false => vfs.read_for(caller, handle, offset, size as usize),
            };
            match answer {
                Err(Stop::Wait(what)) => Err(given_up.answer(reader).map_or(Stop::Wait(what), Stop::from)),
                answer => answer,
            }
        });
    }

    fn run<T, R, F>(&self, name: &'static str, request: &Request, reader: Option<Reader>, reply: R, mut op: F)
    where
        T: Send + 'static,
        R: Respond<T>,
        F: FnMut(&Vfs, Caller) -> Answer<T> + Send + 'static,
    {
        let caller = caller(request);
        let span = span(name, caller);
        let admitted = || self.vfs.admit(caller, name);
        match span.in_scope(|| guarded(|| admitted().and_then(|()| op(&self.vfs, caller)))) {
            Err(Stop::Wait(what)) => self.later(span, (caller, reader), what, reply, op),
            answer => respond(reply, answer),
        }
    }

    /// Writes and replies, copying the data only if it must wait.
    pub fn write(&self, request: &Request, reply: ReplyWrite, to: (Through, u64), data: &[u8], from_map: bool) {
        let _turn = self.turn();
        let caller = caller(request);
        let span = span("write", caller);
        // The kernel sends at most 1 MiB at once.
        let count = data.len() as u32;
        let write = || {
            self.vfs.admit(caller, "write")?;
            self.vfs.write(caller, self.vfs.inherited(to.0)?, to.1, data, from_map)
        };
        match span.in_scope(|| guarded(write)) {
            Err(Stop::Wait(what)) => {
                let data = data.to_vec();
                self.later(span, (caller, None), what, reply, move |vfs, caller| {
                    vfs.write(caller, vfs.inherited(to.0)?, to.1, &data, from_map).map(|()| count)
                });
            }
            answer => respond(reply, answer.map(|()| count)),
        }
    }

    /// Moves a call to the runtime until it can answer. While the machine sleeps, it is as if there were no network.
    fn later<T, R, F>(&self, span: Span, (caller, reader): (Caller, Option<Reader>), what: WaitFor, reply: R, op: F)
    where
        T: Send + 'static,
        R: Respond<T>,
        F: FnMut(&Vfs, Caller) -> Answer<T> + Send + 'static,
    {
        let Some(mut waiting) = self.waits.enter() else { return respond(reply, Err(VfsError::Unreachable.into())) };
        let (vfs, patience) = (Arc::clone(&self.vfs), self.patience);
        let (given_up, began) = (Arc::clone(&self.given_up), self.vfs.monotonic());
        let waits = async move {
            let answer = tokio::select! {
                answer = repeat(&vfs, caller, what, op) => answer,
                () = tokio::time::sleep(patience) => Err(VfsError::TimedOut.into()),
                () = told_to_end(caller.tid) => Err(VfsError::Interrupted.into()),
                () = waiting.turned_out() => Err(VfsError::Unreachable.into()),
            };
            if let (Some(reader), Err(Stop::Fail(error))) = (reader, &answer)
                && vfs.monotonic().saturating_sub(began) > patience / 2
            {
                given_up.note(reader, error);
            }
            respond(reply, answer);
            drop(waiting);
        };
        self.runtime.spawn(waits.instrument(span));
    }

    /// Fills a listing's buffer with what comes after a cookie. If nothing has come yet, it waits for that.
    pub fn list<B: Buffer>(&self, name: &'static str, request: &Request, mut buffer: B, dir: (u64, Ino), after: u64) {
        let _turn = self.turn();
        let caller = caller(request);
        let span = span(name, caller);
        let vfs = &self.vfs;
        match span.in_scope(|| guarded(|| fill(vfs, vfs.inherited_dir(dir.0, dir.1)?, after, &mut buffer))) {
            Ok(()) => buffer.send(),
            Err(Stop::Wait(what)) => {
                let waiting = Waiting { vfs: Arc::clone(vfs), buffer };
                self.later(span, (caller, None), what, waiting, move |vfs, _| {
                    batch::<B>(vfs, vfs.inherited_dir(dir.0, dir.1)?, after)
                });
            }
            Err(Stop::Fail(error)) => buffer.refuse(errno(&error)),
        }
    }

    /// Makes a call that answers at once by its nature.
    pub fn at_once<T>(&self, call: impl FnOnce(&Vfs) -> Answer<T>) -> Result<T, Errno> {
        guarded(|| call(&self.vfs)).map_err(|stop| match stop {
            Stop::Fail(error) => errno(&error),
            Stop::Wait(_) => errno(&VfsError::Defect),
        })
    }

    /// Makes a call that has no answer.
    pub fn tell(&self, call: impl FnOnce(&Vfs)) {
        // A panic has been logged; there is nobody to tell.
        let _ = guarded(|| {
            call(&self.vfs);
            Ok(())
        });
    }
}

/// Has brought what a call waits for and makes it again, until it answers. Cancel-safe between its steps.
async fn repeat<T, F>(vfs: &Vfs, caller: Caller, mut what: WaitFor, mut op: F) -> Answer<T>
where
    F: FnMut(&Vfs, Caller) -> Answer<T>,
{
    loop {
        bring(vfs, &what).await.map_err(VfsError::from)?;
        match guarded(|| op(vfs, caller)) {
            Err(Stop::Wait(next)) => what = next,
            answer => return answer,
        }
        tokio::task::yield_now().await;
    }
}

async fn bring(vfs: &Vfs, what: &WaitFor) -> Result<(), BringError> {
    match what {
        WaitFor::List(folder) => vfs.lister().list(*folder).await,
        WaitFor::Bytes { content, ranges, alone } => content.need(ranges, *alone).await,
    }
}

/// Runs `call`; a panic in it becomes an answer.
fn guarded<T>(call: impl FnOnce() -> Answer<T>) -> Answer<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied().map(String::from);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(panic = text, "a call of the mount panicked");
        Err(VfsError::Defect.into())
    })
}

fn respond<T, R: Respond<T>>(reply: R, answer: Answer<T>) {
    match answer {
        Ok(value) => reply.answer(value),
        Err(Stop::Fail(error)) => {
            let errno = errno(&error);
            if errno.code() == libc::EIO {
                tracing::warn!(%error, "a call of the mount failed");
            }
            reply.refuse(errno);
        }
        Err(Stop::Wait(_)) => reply.refuse(errno(&VfsError::Defect)),
    }
}

fn span(name: &'static str, caller: Caller) -> Span {
    tracing::trace_span!("fuse", call = name, tid = caller.tid)
}

fn caller(request: &Request) -> Caller {
    let (is_again, unique) = number(request.unique().0);
    Caller { uid: request.uid(), gid: request.gid(), tid: request.pid(), is_again, unique }
}
