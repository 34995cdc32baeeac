//! Stops single threads of another process, as a debugger does: so that a call is under way for as long as a test wants.

use crate::process::Process;
use std::fs;
use std::io;
use std::ptr::null_mut;

/// Threads of a process by their name and state (`D` waits deaf to signals).
pub fn threads_of(process: Process) -> Vec<(i32, String, char)> {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.pid())).into_iter().flatten().flatten();
    let thread = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (head, rest) = stat.rsplit_once(')')?;
        let (tid, name) = head.split_once(" (")?;
        Some((tid.parse().ok()?, name.to_owned(), rest.trim_start().chars().next()?))
    };
    tasks.filter_map(thread).collect()
}

/// Threads that are stopped until [`Stopped::reap`], by the thread that asked for it.
#[derive(Debug)]
pub struct Stopped(Vec<i32>);

impl Stopped {
    /// Stops the threads of a process whose names begin so.
    ///
    /// # Errors
    /// What the system says: who is not root may trace its own descendants alone.
    pub fn threads(process: Process, begins: &str) -> io::Result<Self> {
        let named = threads_of(process).into_iter().filter(|(_, name, _)| name.starts_with(begins));
        let mut stopped = Self(Vec::new());
        for (tid, ..) in named {
            ask(libc::PTRACE_SEIZE, tid)?;
            stopped.0.push(tid);
            ask(libc::PTRACE_INTERRUPT, tid)?;
            wait(tid);
        }
        assert!(!stopped.0.is_empty(), "no thread of {process:?} is called {begins}");
        Ok(stopped)
    }

    /// Lets them end, as their process does: it is not over before who traces them knows.
    pub fn reap(self) {
        self.0.into_iter().for_each(wait);
    }
}

fn ask(request: libc::c_uint, tid: i32) -> io::Result<()> {
    // SAFETY: neither request takes or gives memory.
    let done = unsafe { libc::ptrace(request, tid, null_mut::<libc::c_void>(), null_mut::<libc::c_void>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn wait(tid: i32) {
    // SAFETY: nobody is told the status.
    unsafe { libc::waitpid(tid, null_mut(), libc::__WALL) };
}
