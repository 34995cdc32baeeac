//! Owns one simulated machine: its disk, with the database on it, its life between two crashes, and what wiring a daemon
//! does for the real one.

use super::dice::{Dice, SimRng};
use super::kernel::Kernel;
use super::net::{Centre, Line, SimRemote};
use super::plant::Plant;
use super::planted::PlantedTree;
use super::server::SPACE;
use super::time::{MachineClock, SimTasks, Time};
use super::trace::Trace;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tarn::content::{self, Contents};
use tarn::env::{CrashDisk, Env};
use tarn::hydrate::{HydrateOptions, Hydrator};
use tarn::journal::{Journal, JournalOptions, Materialise};
use tarn::log::LogOptions;
use tarn::meta::{Check, FILE_NAME};
use tarn::remote::{Remote, RemoteError};
use tarn::sync::engine::EngineView;
use tarn::sync::ports::{Identity as Enrol, SyncTree};
use tarn::sync::{Lister, Parts, SyncHandle, TreeBridge};
use tarn::tree::{Identity, LocalNames, OpenError, Opened, Tree};
use tarn_proto::chunk::ContentKey;
use tarn_proto::ids::DeviceId;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Inodes that a device keeps in memory, used or not.
const SWEEP_BEYOND: usize = 4;
/// Files of this name stay on machines that keep some.
const KEPT_HERE: &str = "d";
/// Where a machine has its state.
const STATE_DIR: &str = "/tarn";

/// A copy of a whole machine.
#[derive(Debug)]
pub struct Backup {
    disk: CrashDisk,
    id: DeviceId,
}

/// A machine, on or off.
#[derive(Debug)]
pub struct Machine {
    pub who: usize,
    pub seed: u64,
    pub id: Arc<Mutex<DeviceId>>,
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
    /// A machine that is off, with nothing on its disk.
    pub fn new(who: usize, seed: u64) -> Self {
        Self {
            who,
            seed,
            id: Arc::new(Mutex::new(DeviceId([who as u8 + 1; 16]))),
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
    pub fn boot(&mut self, time: &Time, centre: &Arc<Centre>, trace: &Trace) -> Result<(), OpenError> {
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
        let options = content::Options { budget_bytes: 64 << 20, floor_bytes: 0, ..content::Options::default() };
        let opened = Tree::assemble(&env, Path::new(STATE_DIR), journal_options(), options, identity)?;
        opened.tree.take_inventory()?;
        // Its trees are small: most of what is not in use is let go again at once.
        opened.tree.sweep_beyond(SWEEP_BEYOND);
        let kept = LocalNames::matching(self.keeps_here.then_some(KEPT_HERE)).expect("a plain name is a pattern");
        opened.tree.keep_here(kept)?;
        self.life = Some(Life::begin(&env, opened, (remote, self.id.clone()), self.plant, dice(4)));
        Ok(())
    }

    /// Puts a copy of the machine by, in place of an older one.
    pub fn back_up(&mut self) {
        self.backup = Some(Backup { disk: self.disk.copy(), id: *self.id.lock() });
    }

    /// Makes the machine, which is off, what its last copy was; false if there is none.
    pub fn restore(&mut self) -> bool {
        let Some(backup) = &self.backup else { return false };
        self.disk = backup.disk.copy();
        *self.id.lock() = backup.id;
        true
    }

    /// Its disk, which may lie about what is durable.
    fn disk(&self) -> Arc<CrashDisk> {
        match self.plant {
            Some(Plant::LogNotSynced) => self.disk.lie_about(is_log),
            Some(Plant::DatabaseNotSynced) => self.disk.lie_about(is_database),
            Some(Plant::PresenceBeforeContent) => self.disk.lie_about(|path| !is_log(path) && !is_database(path)),
            _ => {}
        }
        Arc::new(self.disk.clone())
    }

    pub fn life(&self) -> Option<&Life> {
        self.life.as_ref()
    }
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

/// It, or what SQLite keeps beside it.
pub fn is_database(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(FILE_NAME.as_bytes()))
}

fn journal_options() -> JournalOptions {
    JournalOptions {
        log: LogOptions { segment_bytes: 256 << 10, spare_max: 1 },
        // Each start finds a damaged page.
        check: Check::Pages,
        materialise: Materialise::Manual,
        // Small enough that power fails while it is brought into the database.
        wal_bytes: 128 << 10,
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
