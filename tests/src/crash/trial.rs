//! The whole: a load on one device, crashes at random moments, comparisons, and at the end a fresh device.

pub use super::lane::Crash;
use super::lane::Lane;
use super::servant;
use crate::device::Device;
use crate::seed::Seed;
use crate::server::Server;
use crate::wait::within;
use anyhow::{Context, Result, bail, ensure};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Lanes at work at once.
const LANES: u64 = 3;
/// The longest time between a mount and the crash.
const MOMENT_MS_MAX: u64 = 400;
/// After so many crashes it is proven that what `tarn wait` returned for is on the server.
const WAIT_EVERY: u64 = 8;
/// How long a second device may take to show what is on the server.
const SHOWN: Duration = Duration::from_secs(60);

/// Ends a daemon in its way and gives the device back mounted; in between it says that calls may fail from now on.
pub type Break<'a> = &'a mut dyn FnMut(&Device, &dyn Fn()) -> Result<()>;

/// How much is proven.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Crashes that count: those that found something queued.
    pub crashes: u64,
    /// A run with the same seed makes the same calls, at other moments.
    pub seed: u64,
    /// What each crash takes.
    pub crash: Crash,
    /// Whether clean bytes are dropped meanwhile.
    pub evicts: bool,
}

/// What a trial went through.
#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    /// Crashes that found something queued.
    pub crashes: u64,
    /// Crashes that did not count.
    pub idle: u64,
    /// Calls that returned and were compared.
    pub calls: u64,
    /// Times that a second device showed what `tarn wait` had returned for.
    pub waits: u64,
}

/// Runs a trial on a mounted device.
///
/// # Errors
/// What was promised and is not there; with the seed.
pub fn run(server: &Server, device: &Device, plan: Plan, break_it: Break<'_>) -> Result<Figures> {
    eprintln!("seed {}", plan.seed);
    run_seeded(server, device, plan, break_it).with_context(|| format!("seed {}", plan.seed))
}

fn run_seeded(server: &Server, device: &Device, plan: Plan, break_it: Break<'_>) -> Result<Figures> {
    let mut seed = Seed::new(plan.seed);
    let lanes = (0..LANES).map(|number| Lane::new(device.path(), number, seed.fork()));
    let mut lanes = lanes.collect::<Result<Vec<_>>>()?;
    let other = Device::mounted(server, "other")?;
    let mut figures = Figures::default();
    while figures.crashes < plan.crashes {
        ensure!(figures.idle <= plan.crashes + 10, "the queue is empty at most crashes: {figures:?}");
        let was_queued = crash_once(device, &mut lanes, plan.evicts, &mut seed, break_it)?;
        figures.crashes += u64::from(was_queued);
        figures.idle += u64::from(!was_queued);
        figures.calls += lanes.iter().map(|lane| lane.count() as u64).sum::<u64>();
        let number = figures.crashes + figures.idle;
        let compared = match plan.crash {
            Crash::Daemon => compare(&mut lanes, plan.crash),
            Crash::Power => compare_settled(&mut lanes, device),
        };
        compared.map_err(|e| e.context(format!("after crash {number}; {}", later(&mut lanes, plan.crash, device))))?;
        if number.is_multiple_of(WAIT_EVERY) || figures.crashes == plan.crashes {
            device.wait()?;
            shown(&lanes, &other).with_context(|| format!("on another device, after crash {number}"))?;
            figures.waits += 1;
        }
    }
    let fresh = Device::mounted(server, "fresh")?;
    shown(&lanes, &fresh).context("on a fresh device")?;
    let check = server.check()?;
    ensure!(check.code == 0, "tarn-server check: {}{}", check.stdout, check.stderr);
    Ok(figures)
}

/// Lets the lanes work, and breaks the device meanwhile; whether something was queued then.
fn crash_once(device: &Device, lanes: &mut [Lane], evicts: bool, seed: &mut Seed, break_it: Break<'_>) -> Result<bool> {
    let (stop, crashed) = (AtomicBool::new(false), AtomicBool::new(false));
    let names: Vec<String> = lanes.iter().map(|lane| lane.name().to_owned()).collect();
    let moment = Duration::from_millis(seed.below(MOMENT_MS_MAX));
    let mut serving = seed.fork();
    thread::scope(|scope| {
        let working: Vec<_> = lanes.iter_mut().map(|lane| scope.spawn(|| lane.work(&stop, &crashed))).collect();
        scope.spawn(|| servant::serve(device, &names, evicts, &mut serving, &stop));
        let ended_early = within_moment(moment, &working);
        let was_queued = device.status().is_ok_and(|status| status["queue"]["operations"].as_u64() > Some(0));
        let broken = if ended_early {
            Ok(())
        } else {
            // From here on a call may fail, and its lane ends with it.
            break_it(device, &|| crashed.store(true, Ordering::Release))
        };
        stop.store(true, Ordering::Release);
        for lane in working {
            match lane.join() {
                Ok(worked) => worked?,
                Err(_) => bail!("a lane panicked"),
            }
        }
        broken.map(|()| was_queued)
    })
}

fn within_moment(moment: Duration, working: &[thread::ScopedJoinHandle<'_, Result<()>>]) -> bool {
    within(moment, || working.iter().any(thread::ScopedJoinHandle::is_finished))
}

/// After a power cut the server may have what the device lost: the comparison waits until that has come back.
fn compare_settled(lanes: &mut [Lane], device: &Device) -> Result<()> {
    device.wait()?;
    let mut last = Ok(());
    within(SHOWN, || {
        last = compare(lanes, Crash::Power);
        last.is_ok()
    });
    last
}

/// Whether what was wrong is so for good.
fn later(lanes: &mut [Lane], crash: Crash, device: &Device) -> String {
    if let Err(e) = device.wait() {
        return format!("and it cannot be sent: {e:#}");
    }
    match compare(lanes, crash) {
        Ok(()) => "once everything is sent it is right".to_owned(),
        Err(_) => "once everything is sent it is still wrong".to_owned(),
    }
}

fn compare(lanes: &mut [Lane], crash: Crash) -> Result<()> {
    lanes.iter_mut().try_for_each(|lane| lane.compare(crash))
}

/// Waits until a device shows what all lanes hold.
fn shown(lanes: &[Lane], device: &Device) -> Result<()> {
    let mut last = Ok(());
    within(SHOWN, || {
        last = lanes.iter().try_for_each(|lane| lane.same_as(device.path()));
        last.is_ok()
    });
    last
}

/// Kills the daemon and mounts again.
///
/// # Errors
/// What `tarn mount` said.
pub fn kill(device: &Device, about_to: &dyn Fn()) -> Result<()> {
    let daemon = device.daemon()?;
    about_to();
    // What a lane has mapped must not wait for a daemon that waits for itself: that has a test of its own.
    device.kill_with_waiters(daemon);
    device.mount()
}
