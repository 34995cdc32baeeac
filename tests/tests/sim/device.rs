//! Owns one simulated machine: its disk, its life between two crashes, and what wiring a daemon does for the real one.

use super::dice::{Dice, SimRng};
use super::kernel::Kernel;
use super::lying_disk::LyingDisk;
use super::net::{Centre, Line, SimRemote};
use super::plant::Plant;
use super::planted::PlantedTree;
use super::server::SPACE;
use super::time::{MachineClock, SimTasks, Time};
use super::trace::Trace;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tarn::content::{self, Contents};
use tarn::env::{CrashDisk, Disk, Env};
use tarn::hydrate::{HydrateOptions, Hydrator};
use tarn::journal::{Journal, JournalOptions, Materialise};
use tarn::log::LogOptions;
use tarn::meta::Check;
use tarn::remote::{Remote, RemoteError};
use tarn::sync::engine::EngineView;
use tarn::sync::ports::{Identity as Enrol, SyncTree};
use tarn::sync::{Lister, Parts, SyncHandle, TreeBridge};
use tarn::tree::{Identity, LocalNames, Opened, Tree};
use tarn_proto::chunk::ContentKey;
use tarn_proto::ids::DeviceId;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Inodes that a device keeps in memory, used or not.
const SWEEP_BEYOND: usize = 4;
/// Files of this name stay on machines that keep some.
const KEPT_HERE: &str = "d";

/// A copy of a whole machine.
#[derive(Debug)]
pub struct Backup {
    disk: CrashDisk,
    dir: PathBuf,
    id: DeviceId,
}

/// A machine, on or off.
#[derive(Debug)]
pub struct Machine {
    pub who: usize,
    pub seed: u64,
    pub id: Arc<Mutex<DeviceId>>,
    pub dir: PathBuf,
    pub disk: CrashDisk,
    pub line: watch::Sender<Line>,
    pub oddness: u64,
    pub line_bytes: u64,
    pub keeps_here: bool,
    pub skew_secs: i64,
    pub lives: u64,
    pub plant: Option<Plant>,
    pub life: Option<Life>,
    pub backup: Option<Backup>,
}

/// A daemon that runs.
#[derive(Debug)]
pub struct Life {
    pub tree: Arc<Tree>,
    pub kernel: Arc<Kernel>,
    pub contents: Arc<Contents>,
    pub journal: Arc<Journal>,
    pub hydrator: Hydrator,
    pub sync: SyncHandle,
    pub lister: Lister,
    pub remote: Arc<SimRemote>,
    pub handles: Vec<super::handles::Handle>,
    chores: Vec<JoinHandle<()>>,
}

/// Enrols the machine anew.
#[derive(Debug)]
struct Registry {
    remote: Arc<SimRemote>,
    id: Arc<Mutex<DeviceId>>,
    rng: SimRng,
}

#[async_trait]
impl Enrol for Registry {
    async fn renew(&self) -> Result<DeviceId, RemoteError> {
        let fresh = DeviceId(tarn::env::Rng::id(&self.rng));
        self.remote.centre.server.lock().enrol(fresh, &format!("machine {}", self.remote.who));
        *self.remote.device.lock() = fresh;
        *self.id.lock() = fresh;
        Ok(fresh)
    }
}

impl Machine {
    /// A machine that is off, with nothing on its disk; its files are in a folder of its own in `dir`.
    pub fn new(who: usize, seed: u64, dir: &Path) -> Self {
        Self {
            who,
            seed,
            id: Arc::new(Mutex::new(DeviceId([who as u8 + 1; 16]))),
            dir: dir.join(format!("machine{who}")),
            disk: CrashDisk::new(),
            line: watch::Sender::new(Line::Up),
            oddness: 0,
            line_bytes: 0,
            keeps_here: false,
            skew_secs: 0,
            lives: 0,
            plant: None,
            life: None,
            backup: None,
        }
    }

    /// Switches it on: recovers what an earlier life left.
    pub fn boot(&mut self, time: &Time, centre: &Arc<Centre>, trace: &Trace) -> Result<(), String> {
        self.lives += 1;
        let id = *self.id.lock();
        let purpose = self.lives * 1_000 + self.who as u64 * 10;
        let dice = |n: u64| Dice::of(self.seed, purpose + n);
        let env = Env {
            clock: Arc::new(MachineClock { time: time.clone(), skew_secs: self.skew_secs }),
            rng: Arc::new(SimRng::new(dice(1))),
            disk: self.disk(),
            tasks: Arc::new(SimTasks { time: time.clone(), dice: Mutex::new(dice(2)) }),
        };
        let remote = Arc::new(SimRemote {
            centre: centre.clone(),
            device: Mutex::new(id),
            who: self.who,
            time: time.clone(),
            line: self.line.clone(),
            is_dead: AtomicBool::new(false),
            oddness: Mutex::new(self.oddness),
            line_bytes: AtomicU64::new(self.line_bytes),
            dice: Mutex::new(dice(3)),
            trace: trace.clone(),
        });
        centre.server.lock().enrol(id, &format!("machine {}", self.who));
        let identity = Identity { device: id, device_name: format!("machine {}", self.who), space: SPACE };
        std::fs::create_dir_all(&self.dir).map_err(|e| e.to_string())?;
        let options = content::Options { budget_bytes: 64 << 20, floor_bytes: 0, ..content::Options::default() };
        let opened =
            Tree::assemble(&env, &self.dir, journal_options(), options, identity).map_err(|e| e.to_string())?;
        opened.tree.take_inventory().map_err(|e| e.to_string())?;
        // Its trees are small: most of what is not in use is let go again at once.
        opened.tree.sweep_beyond(SWEEP_BEYOND);
        let kept = LocalNames::matching(self.keeps_here.then_some(KEPT_HERE))?;
        opened.tree.keep_here(kept).map_err(|e| e.to_string())?;
        self.life = Some(Life::begin(&env, opened, (remote, self.id.clone()), self.plant, dice(4)));
        Ok(())
    }

    /// Puts a copy of the machine by, in place of an older one.
    pub fn back_up(&mut self) -> std::io::Result<()> {
        let dir = self.dir.with_extension("backup");
        copy_files(&self.dir, &dir)?;
        self.backup = Some(Backup { disk: self.disk.copy(), dir, id: *self.id.lock() });
        Ok(())
    }

    /// Makes the machine, which is off, what its last copy was; false if there is none.
    pub fn restore(&mut self) -> std::io::Result<bool> {
        let Some(backup) = &self.backup else { return Ok(false) };
        copy_files(&backup.dir, &self.dir)?;
        self.disk = backup.disk.copy();
        *self.id.lock() = backup.id;
        Ok(true)
    }

    fn disk(&self) -> Arc<dyn Disk> {
        let disk = Arc::new(self.disk.clone());
        match self.plant {
            Some(Plant::LogNotSynced) => Arc::new(LyingDisk { inner: disk, of_log: true }),
            Some(Plant::PresenceBeforeContent) => Arc::new(LyingDisk { inner: disk, of_log: false }),
            _ => disk,
        }
    }

    pub fn life(&self) -> Option<&Life> {
        self.life.as_ref()
    }
}

/// Makes one folder have the files of another, and no others.
fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    std::fs::create_dir_all(to)?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        if file.file_type()?.is_file() {
            std::fs::copy(file.path(), to.join(file.file_name()))?;
        }
    }
    Ok(())
}

fn journal_options() -> JournalOptions {
    JournalOptions {
        log: LogOptions { segment_bytes: 256 << 10, spare_max: 1 },
        check: Check::Quick,
        materialise: Materialise::Manual,
        ..JournalOptions::default()
    }
}

impl Life {
    fn begin(
        env: &Env,
        opened: Opened,
        (remote, id): (Arc<SimRemote>, Arc<Mutex<DeviceId>>),
        plant: Option<Plant>,
        mut dice: Dice,
    ) -> Self {
        let Opened { tree, contents, journal, .. } = opened;
        let calls = remote.clone() as Arc<dyn Remote>;
        let options = HydrateOptions { memory_bytes: 1 << 20, ..HydrateOptions::default() };
        let hydrator = Hydrator::new(env.clone(), calls.clone(), SPACE, Handle::current(), options);
        let bridge: Arc<dyn SyncTree> = TreeBridge::new(tree.clone(), hydrator.clone(), ContentKey::Ordinary);
        let planted = |plant| Arc::new(PlantedTree::new(bridge.clone(), tree.clone(), (env.clone(), plant))) as _;
        let sync = SyncHandle::start(Parts {
            env: env.clone(),
            space: SPACE,
            tree: plant.map_or_else(|| bridge.clone(), planted),
            remote: calls,
            identity: Arc::new(Registry { remote: remote.clone(), id, rng: SimRng::new(Dice::new(dice.roll())) }),
            counters: Arc::default(),
        });
        let chores = vec![
            tokio::spawn(keep_house(env.clone(), tree.clone(), contents.clone(), journal.clone(), dice)),
            tokio::spawn(follow_link(sync.watch(), hydrator.clone(), remote.clone())),
        ];
        let lister = sync.lister();
        let (kernel, handles) = (Kernel::of(&tree), Vec::new());
        Self { kernel, tree, contents, journal, hydrator, sync, lister, remote, handles, chores }
    }

    /// The end: nothing of it reaches the server or hears of it any more. Its disk must be off already.
    pub async fn end(self) {
        self.remote.is_dead.store(true, Ordering::Relaxed);
        self.chores.iter().for_each(JoinHandle::abort);
        self.sync.shutdown().await;
    }
}

/// What the materialiser's thread and the daemon's housekeeping do.
async fn keep_house(env: Env, tree: Arc<Tree>, contents: Arc<Contents>, journal: Arc<Journal>, mut dice: Dice) {
    loop {
        let wait = if dice.chance(300) { dice.between(5, 300) } else { dice.between(300, 20_000) };
        env.sleep(Duration::from_millis(wait)).await;
        // A failure is tried again the next time, as the thread does.
        let _ = journal.materialise_now();
        if dice.chance(50) {
            tree.tidy();
            let _ = contents.record_presence();
        }
    }
}

/// Readers are told when the server is away.
async fn follow_link(mut view: watch::Receiver<EngineView>, hydrator: Hydrator, remote: Arc<SimRemote>) {
    let mut last_error = None;
    loop {
        let now = view.borrow_and_update().clone();
        if let Some(error) = now.last_error.as_ref().filter(|error| !error.is_passing)
            && last_error.replace(error.at) != Some(error.at)
        {
            remote.trace.note(remote.time.now(), remote.who, &format!("error: {}", error.reason));
        }
        hydrator.set_reach(now.reach());
        if view.changed().await.is_err() {
            return;
        }
    }
}
