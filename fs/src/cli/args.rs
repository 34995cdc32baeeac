//! Owns the shape of the command line: names, flags, help. The texts are those of docs/cli.md, which a test compares.

use super::units::{
    LocalOnly, Scanners, Since, parse_duration, parse_files_in_memory, parse_hold_deletes, parse_local_only,
    parse_log_level, parse_rate, parse_scanners, parse_seconds, parse_since, parse_size,
};
use crate::control::messages::RateChange;
use crate::daemon::HoldDeletes;
use crate::limits::FILES_IN_MEMORY_DEFAULT;
use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;
use std::time::Duration;

const AFTER_HELP: &str = "\
Exit status: 0 done, 1 failed, 2 wrong usage, 3 not finished in time.

TARN_HOME=DIR puts all state, content and sockets of a device under DIR (default: $XDG_DATA_HOME/tarn). A PATH that is \
a mount point means the mount; without PATH, the only mount of this TARN_HOME is meant.";

/// A cloud drive that mounts: the whole tree as an ordinary folder, bytes when they are read
#[derive(Debug, Parser)]
#[command(name = "tarn", version, after_help = AFTER_HELP, arg_required_else_help = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Signs this device in to a server
    Login(Login),
    /// Signs this device out; what is local stays and can be signed in again
    Logout,
    /// Lists the account's devices, or revokes one
    Devices(Devices),
    /// Shows the tree in a directory; returns when the mount answers
    Mount(Mount),
    /// Takes the mount away once everything is on the server
    Unmount(Unmount),
    /// Has a mount go on under the version of tarn that is installed now; programs see a pause
    Restart(WholeMount),
    /// Says what goes on in a mount, or with one file
    Status(Status),
    /// Shows which programs have what fetched, again and again
    Top(Top),
    /// Waits until everything this device did before is durable on the server
    Wait(Wait),
    /// Lists versions that two devices wrote without knowing of each other, or says which to keep
    Conflicts(Conflicts),
    /// Sends the deletes that are held because they are unusually many
    Confirm(WholeMount),
    /// Takes back deletes that are held, or what a device did since a moment
    Undo(Undo),
    /// Brings contents to the local disk
    Hydrate(Paths),
    /// Drops local contents that the server has
    Evict(Evict),
    /// Brings contents to the local disk and keeps them there
    Pin(Paths),
    /// Lets contents be dropped again when space is needed
    Unpin(Paths),
    /// Says or sets how fast content may go up and come down
    Limit(Limit),
    /// Compares what is shown, known, logged, stored and on the server, and names every difference
    Verify(Verify),
    /// Looks for what usually goes wrong, and says what to do
    Doctor(Doctor),
    /// Prints completions for a shell
    Completions(Completions),
    /// Prints the manual page
    Man,
    /// Tells programs that watch of changes from elsewhere; started by the daemon of a mount, which gives the orders
    #[command(hide = true, name = crate::env::PLAYER)]
    ReplayChanges(ReplayChanges),
    /// Gives notices to the kernel; started by the daemon of a mount
    #[command(hide = true, name = crate::env::MESSENGER)]
    TellKernel,
}

#[derive(Debug, Args)]
pub(super) struct Login {
    /// The server's address: https, or http on this machine
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// The account's name
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// Reads the password from standard input, up to the end or one newline
    #[arg(long, required = true)]
    pub password_stdin: bool,
    /// What to call this device [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Devices {
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
    #[command(subcommand)]
    pub action: Option<DeviceAction>,
}

#[derive(Debug, Subcommand)]
pub(super) enum DeviceAction {
    /// Makes a device's sign-in void
    Revoke {
        /// The device's name
        name: String,
    },
}

#[derive(Debug, Clone, Args)]
pub(super) struct Mount {
    /// An empty directory
    pub dir: PathBuf,
    /// How much clean content may stay on the local disk
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "10GiB")]
    pub cache_size: u64,
    /// Serves the mount in this process instead of one of its own
    #[arg(long)]
    pub foreground: bool,
    /// Lets other users enter (an ordinary user needs user_allow_other in /etc/fuse.conf)
    #[arg(long)]
    pub allow_other: bool,
    /// Shows and enforces stored owners; without it everything belongs to the mounting user
    #[arg(long)]
    pub posix: bool,
    /// Refuses every change
    #[arg(long)]
    pub read_only: bool,
    /// Leaves texts that two devices changed to you, even if their changes do not touch each other
    #[arg(long)]
    pub no_merge: bool,
    /// Serves all reads in the daemon: else the kernel reads complete files by itself, where root mounts
    #[arg(long)]
    pub no_passthrough: bool,
    /// Programs that get only what is local and the heads of files, by their executables: names, with * at the end for any
    /// ending; default for the built-in list; or none
    #[arg(long, value_name = "NAME,...", value_parser = parse_scanners, default_value = "default")]
    pub scanners: Scanners,
    /// Files that stay on this device, by their names (locks and temporary files of programs): patterns with * and ?, default
    /// for the built-in list, or none. Renamed to another name they are uploaded, and, but for locks, after a day
    #[arg(long, value_name = "PATTERN,...", value_parser = parse_local_only, default_value = "default")]
    pub local_only: LocalOnly,
    /// How many files and folders the daemon keeps in memory; the others it reads from its database when they are used
    #[arg(long, value_name = "N", value_parser = parse_files_in_memory, default_value_t = FILES_IN_MEMORY_DEFAULT)]
    pub files_in_memory: usize,
    /// How long a read waits for the network before it fails
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30s")]
    pub read_timeout: Duration,
    /// Holds deletes of more than COUNT files and PERCENT of all, until they are confirmed
    #[arg(long, value_name = "off|COUNT,PERCENT", value_parser = parse_hold_deletes, default_value = "1000,30")]
    pub hold_deletes: HoldDeletes,
    /// What the daemon writes to its log: error, warn, info, debug, trace
    #[arg(long, value_name = "L", env = "TARN_LOG", value_parser = parse_log_level, default_value = "info")]
    pub log_level: String,
    /// Lets the mount end should its daemon crash: else a supervisor starts the next daemon, and programs see a pause
    #[arg(long)]
    pub no_supervisor: bool,
    /// Starts a daemon, and the next one when it crashes
    #[arg(long, hide = true, requires = "report")]
    pub supervise: bool,
    /// Goes on as the supervisor of a mount that stands
    #[arg(long, hide = true, requires = "supervise", value_name = "WHAT")]
    pub resume: Option<String>,
    /// Is a daemon that a supervisor started
    #[arg(long, hide = true, requires = "report", conflicts_with = "supervise")]
    pub supervised: bool,
    /// Says on standard output what became of the mount, then lets go of it: how `tarn mount` starts its daemon
    #[arg(long, hide = true, requires = "foreground")]
    pub report: bool,
}

#[derive(Debug, Args)]
pub(super) struct Limit {
    /// The mount point
    pub mount: Option<PathBuf>,
    /// Limits what is sent: 500KiB (a second), or off
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub up: Option<RateChange>,
    /// Limits what is fetched: what programs wait for goes first
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub down: Option<RateChange>,
    /// Takes both limits away
    #[arg(long, conflicts_with_all = ["up", "down"])]
    pub off: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Unmount {
    /// The mount point
    pub dir: PathBuf,
    /// Does not wait for what is not uploaded yet, nor for programs that use the mount
    #[arg(long)]
    pub now: bool,
    /// Gives up after so many seconds and leaves it mounted
    #[arg(long, value_name = "S", value_parser = parse_seconds)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    pub look: Look,
    /// Says which programs had what fetched since the mount
    #[arg(long)]
    pub why: bool,
}

#[derive(Debug, Args)]
pub(super) struct Top {
    /// The mount point
    pub mount: Option<PathBuf>,
    /// Shows it once
    #[arg(long)]
    pub once: bool,
}

#[derive(Debug, Args)]
pub(super) struct Look {
    /// A mount point, or something in a mount
    pub path: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("choice").multiple(false).conflicts_with_all(["json", "diff"])))]
pub(super) struct Conflicts {
    /// A mount point, or something in a mount; to resolve one, the file or the other version of it
    pub path: Option<PathBuf>,
    /// Prints JSON
    #[arg(long, conflicts_with = "diff")]
    pub json: bool,
    /// Shows how the versions differ
    #[arg(long)]
    pub diff: bool,
    /// Keeps the version that this device had under the name
    #[arg(long, group = "choice")]
    pub mine: bool,
    /// Keeps the other version, under the name
    #[arg(long, group = "choice")]
    pub theirs: bool,
    /// Keeps both, as two files
    #[arg(long, group = "choice")]
    pub both: bool,
    /// Keeps what is in FILE, under the name
    #[arg(long, group = "choice", value_name = "FILE")]
    pub merged: Option<PathBuf>,
    /// Names the conflict by its id, as --json tells it
    #[arg(long, value_name = "ID", requires = "choice", conflicts_with = "path")]
    pub id: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Wait {
    /// A mount point, or something in a mount: then only what it depends on is waited for
    pub path: Option<PathBuf>,
    /// Gives up after so many seconds, with exit status 3
    #[arg(long, value_name = "S", value_parser = parse_seconds)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct WholeMount {
    /// The mount point
    pub mount: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Undo {
    /// The mount point whose held deletes are taken back
    #[arg(conflicts_with = "device")]
    pub mount: Option<PathBuf>,
    /// Takes back what this device did instead, on all devices
    #[arg(long, value_name = "NAME", requires = "since")]
    pub device: Option<String>,
    /// From this moment on, by the server's clock: 90m, 2h or 3d ago, 2026-11-20, or 2026-11-20T22:25:45Z
    #[arg(long, value_name = "TIME", requires = "device", value_parser = parse_since)]
    pub since: Option<Since>,
}

#[derive(Debug, Args)]
pub(super) struct Paths {
    /// Files, or folders with all that is in them
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Evict {
    /// Files, or folders with all that is in them; with --all, the mount
    #[arg(value_name = "PATH", required_unless_present = "all")]
    pub paths: Vec<PathBuf>,
    /// Drops everything that is clean and not pinned
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// A mount point, or something in a mount: then only what is at or below it is compared
    pub path: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
    /// Compares a sample, in a bounded time; it runs by itself once a day
    #[arg(long)]
    pub light: bool,
    /// Looks at the mount DIR for its daemon, which asks on standard input
    #[arg(long, hide = true, value_name = "DIR", conflicts_with_all = ["path", "json", "light"])]
    pub walker: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ReplayChanges {
    /// The mount
    pub mount: PathBuf,
    /// Its device number
    pub device: u32,
}

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Makes a damaged local database anew: keeps what is not uploaded yet, the rest comes from the server again
    #[arg(long)]
    pub rebuild: bool,
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    pub shell: Shell,
}
