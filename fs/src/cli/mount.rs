//! Owns `tarn mount`: starts a daemon of its own and waits until it is ready, or is the daemon itself.
//!
//! The daemon is this program again, started afresh: nothing forks a process that has threads. It says one line on its
//! standard output, which is a pipe, and then lets go of the terminal.

use super::args::Mount;
use super::{Context, units};
use crate::daemon::{self, Bond, MountOptions};
use crate::env::close_on_exec;
use crate::telemetry::init_logging;
use crate::tree::damage_notes;
use anyhow::{Context as _, Result, bail};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write, stdout};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const READY: &str = "ready";

pub(super) fn run(context: &Context, args: Mount) -> Result<()> {
    if !args.foreground {
        return start(context, &args);
    }
    let outcome = if args.supervise { supervise(context, &args) } else { serve(context, &args) };
    match (&outcome, args.report) {
        // Its supervisor wants to know as well.
        (Err(error), true) if args.supervised => {
            report(&one_line(error)).and_then(|()| let_go()).map_err(Into::into).and(outcome)
        }
        // Whoever started it says it; a failure after that stands in the log.
        (Err(error), true) => report(&one_line(error)).or(Ok(())),
        _ => outcome,
    }
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}

/// Is the supervisor.
fn supervise(context: &Context, args: &Mount) -> Result<()> {
    open_log(context, args)?;
    let program = own_program()?;
    let (daemon, supervisor) = (arguments(args, Some("--supervised")), arguments(args, Some("--supervise")));
    let programs = daemon::Programs { program, daemon, supervisor, resume: args.resume.clone() };
    let outcome = daemon::supervise(&context.env, programs, &args.dir, let_go);
    if let Err(error) = &outcome {
        tracing::error!(error = one_line(error), "not mounted");
    }
    outcome
}

/// Where this program is installed: another file may lie there by now.
fn own_program() -> Result<PathBuf> {
    let path = std::env::current_exe().context("this program's own file cannot be found")?;
    match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(before) if !path.exists() => Ok(PathBuf::from(OsStr::from_bytes(before))),
        _ => Ok(path),
    }
}

fn open_log(context: &Context, args: &Mount) -> Result<()> {
    let log = daemon::open_log(&context.env, &context.home.log_file());
    let log = log.with_context(|| format!("{} cannot be written", context.home.log_file().display()))?;
    init_logging(&args.log_level, Some(log), !args.report)?;
    log_panics();
    Ok(())
}

/// Is the daemon.
fn serve(context: &Context, args: &Mount) -> Result<()> {
    open_log(context, args)?;
    let bond = match args.supervised {
        true => Some(Bond::take().context("a supervisor starts this")?),
        false => Bond::of_service_manager().context("what the service manager kept cannot be taken")?,
    };
    let ready = |mount: &Path| {
        if args.report {
            report(READY)?;
            let_go()?;
        } else {
            tracing::info!("{} is mounted; Ctrl-C unmounts", mount.display());
        }
        Ok(())
    };
    let outcome = daemon::run(&context.env, &context.home, options(args), bond, daemon::build, ready);
    if let Err(error) = &outcome {
        tracing::error!(error = format!("{error:#}"), "not mounted");
    }
    outcome
}

fn options(args: &Mount) -> MountOptions {
    MountOptions {
        dir: args.dir.clone(),
        cache_bytes: args.cache_size,
        allow_other: args.allow_other,
        posix: args.posix,
        read_only: args.read_only,
        merges_texts: !args.no_merge,
        passthrough: !args.no_passthrough,
        scanners: args.scanners.0.clone(),
        local_only: args.local_only.0.clone(),
        files_in_memory: args.files_in_memory,
        read_timeout: args.read_timeout,
        hold_deletes: args.hold_deletes,
    }
}

/// A panic must be found in the log: nobody sees the daemon's standard error.
fn log_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!(%panic, "a thread panicked");
        usual(panic);
    }));
}

fn report(line: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Closes the pipe and the terminal, and leaves the directory that it was started in.
fn let_go() -> io::Result<()> {
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty())?;
    for standard in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: both descriptors are open; nobody holds the one that is replaced as an owner.
        if unsafe { libc::dup2(null.as_raw_fd(), standard) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    std::env::set_current_dir("/")
}

/// Starts a daemon and waits for what it says.
fn start(context: &Context, args: &Mount) -> Result<()> {
    let dir = std::path::absolute(&args.dir)?;
    let supervise = (!args.no_supervisor).then_some("--supervise");
    let mut command = Command::new(own_program()?);
    command.args(arguments(&Mount { dir, ..args.clone() }, supervise)).stdin(Stdio::null()).stdout(Stdio::piped());
    if std::env::var_os("TARN_HOME").is_some_and(|home| !home.is_empty()) {
        // The daemon leaves this directory: a relative one would mean another.
        command.env("TARN_HOME", context.home.dir());
    }
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(detach) };
    let mut child = command.spawn().context("the daemon cannot be started")?;
    let said = child.stdout.take().context("the daemon has no standard output")?;
    let mut line = String::new();
    BufReader::new(File::from(OwnedFd::from(said))).read_line(&mut line)?;
    match line.trim_end() {
        READY => {
            tell_damage(context);
            Ok(())
        }
        "" => bail!("the daemon ended and did not say why; see {}", context.home.log_file().display()),
        reason => bail!("{reason}"),
    }
}

/// Says what was found damaged, by this mount or one before, until its folder is gone.
fn tell_damage(context: &Context) {
    for note in damage_notes(&context.env, &context.home.state_dir()).unwrap_or_default() {
        eprintln!("tarn: {}", note.trim_end());
    }
}

/// A session of its own, and none of the descriptors that this process was started with.
fn detach() -> io::Result<()> {
    rustix::process::setsid()?;
    close_on_exec()
}

fn arguments(args: &Mount, role: Option<&str>) -> Vec<OsString> {
    let text = |text: &str| OsString::from(text);
    let mut all = vec![text("mount"), text("--foreground"), text("--report")];
    all.extend(role.map(text));
    let flags = [
        (args.allow_other, "--allow-other"),
        (args.posix, "--posix"),
        (args.read_only, "--read-only"),
        (args.no_merge, "--no-merge"),
        (args.no_passthrough, "--no-passthrough"),
    ];
    all.extend(flags.iter().filter(|(is, _)| *is).map(|(_, flag)| text(flag)));
    let values = [
        ("--cache-size", args.cache_size.to_string()),
        ("--files-in-memory", args.files_in_memory.to_string()),
        ("--read-timeout", format!("{}ms", args.read_timeout.as_millis())),
        ("--hold-deletes", units::hold_deletes_text(args.hold_deletes)),
        ("--scanners", args.scanners.to_string()),
        ("--local-only", args.local_only.to_string()),
        ("--log-level", args.log_level.clone()),
    ];
    all.extend(values.iter().flat_map(|(flag, value)| [text(flag), text(value)]));
    all.extend([text("--"), args.dir.clone().into_os_string()]);
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::args::{Cli, Command};
    use super::*;
    use clap::Parser;

    fn parsed(arguments: impl IntoIterator<Item = OsString>) -> Mount {
        let all = [OsString::from("tarn")].into_iter().chain(arguments);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Mount(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_daemon_gets_the_options_that_the_command_got() {
        for line in [
            "mount /m",
            "mount --cache-size 256MiB --posix --read-timeout 500ms --hold-deletes off -- -odd",
            "mount /m --scanners none",
            "mount /m --files-in-memory 500",
            "mount /m --scanners default,my-indexer*",
            "mount /m --allow-other --read-only --no-merge --no-passthrough --hold-deletes 5,50 --log-level info,tarn::sync=debug",
        ] {
            let given = parsed(line.split(' ').map(OsString::from));
            let handed_on = parsed(arguments(&given, Some("--supervised")));
            assert_eq!(options(&handed_on), options(&given), "{line}");
            assert_eq!(handed_on.log_level, given.log_level);
            assert!(handed_on.foreground && handed_on.report && !given.report);
        }
    }
}
