//! Owns the command line: one file for each command. A contract, described in docs/cli.md: commands, flags, exit
//! status and JSON are what other programs are written against.
//!
//! Commands that look into a mount never touch it: they ask its daemon through `control`.

mod account;
mod args;
mod conflicts;
mod contents;
mod devices;
mod diff;
mod doctor;
mod exit;
mod format;
mod limit;
mod login;
mod logout;
mod mass_delete;
mod mount;
mod programs;
mod progress;
mod restart;
mod shell;
mod status;
mod target;
mod undo;
mod units;
mod unmount;
mod verify;
mod wait;

use crate::daemon::Home;
use crate::env::Env;
use crate::fuse::{serve_notices, serve_replay};
use anyhow::Result;
use args::{Cli, Command};
use clap::Parser;
use std::future::Future;
use std::io::{stdin, stdout};
use std::process::ExitCode;

/// What every command works with.
#[derive(Debug)]
struct Context {
    env: Env,
    home: Home,
}

/// Runs the program: reads the arguments, does what they say, and gives the exit status.
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}

fn run(command: Command) -> Result<()> {
    match &command {
        Command::Completions(args) => return shell::completions(args.shell),
        Command::Man => return shell::man(),
        Command::Verify(args::Verify { walker: Some(mount), .. }) => return verify::walk(mount),
        Command::ReplayChanges(args) => {
            return Ok(serve_replay(&args.mount, args.device, stdin().lock(), stdout().lock())?);
        }
        Command::TellKernel => return Ok(serve_notices()?),
        _ => {}
    }
    let context = Context { env: Env::real(), home: Home::find()? };
    match command {
        Command::Mount(args) => mount::run(&context, args),
        command => on_runtime(run_in(&context, command)),
    }
}

async fn run_in(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Login(args) => login::run(context, args).await,
        Command::Logout => logout::run(context).await,
        Command::Devices(args) => devices::run(context, args).await,
        Command::Unmount(args) => unmount::run(context, &args).await,
        Command::Restart(args) => restart::run(context, &args).await,
        Command::Status(args) => status::run(context, &args).await,
        Command::Top(args) => programs::top(context, &args).await,
        Command::Wait(args) => wait::run(context, &args).await,
        Command::Conflicts(args) => conflicts::run(context, &args).await,
        Command::Confirm(args) => mass_delete::confirm(context, &args).await,
        Command::Undo(args) => undo::run(context, &args).await,
        Command::Hydrate(args) => contents::hydrate(context, &args.paths).await,
        Command::Evict(args) => contents::evict(context, &args).await,
        Command::Pin(args) => contents::pin(context, &args.paths).await,
        Command::Unpin(args) => contents::unpin(context, &args.paths).await,
        Command::Limit(args) => limit::run(context, &args).await,
        Command::Verify(args) => verify::run(context, &args).await,
        Command::Doctor(args) => doctor::run(context, &args).await,
        Command::Mount(_)
        | Command::Completions(_)
        | Command::Man
        | Command::ReplayChanges(_)
        | Command::TellKernel => Ok(()),
    }
}

fn on_runtime(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests;
