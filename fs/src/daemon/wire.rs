//! Owns which parts a daemon is made of and how they know each other.

use super::ending::{Ending, StandingMount};
use super::housekeeping;
use super::identity::OwnIdentity;
use super::life::{Ground, Standing};
use super::merging;
use super::parts::{MountLister, Parts};
use super::rate_limits::KeptLimits;
use super::service::MountService;
use super::slumber::{self, Sleepers};
use super::verify::{self, Verifier};

use crate::content::{self, Contents};
use crate::fuse::{self, KernelBackings, KernelNotifier, Waits};
use crate::hydrate::{HydrateOptions, Hydrator};
use crate::journal::{Journal, JournalOptions};
use crate::remote::{HttpRemote, Remote, ServerAddress};
use crate::sync::{self, SyncHandle, TreeBridge};
use crate::tree::{Identity, LocalNames, Notifier, OpenError, Opened, Tree};
use crate::vfs::ports::Backings;
use crate::vfs::{Lending, LiveTree, OpenTable, Options, Ports, TakenUp, Vfs};
use anyhow::{Context, Result};
use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tarn_proto::chunk::ContentKey;
use tarn_proto::ids::NodeId;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

/// A mount waits for its first listing of the root no longer.
const FIRST_LISTING_WAIT: Duration = Duration::from_secs(2);

/// Builds the house and mounts it.
///
/// # Errors
/// Why it cannot be mounted.
pub async fn build(ground: &Ground) -> Result<Standing> {
    let credentials = &ground.credentials;
    let address = ServerAddress::parse(&credentials.server).context("the server's address in the credentials")?;
    let source = format!("{}@{}:tarn", credentials.user, address.host());
    let remote = Arc::new(HttpRemote::new(address, credentials.token.as_deref().unwrap_or_default())?);
    let limits = Arc::new(KeptLimits::load(&ground.env, &ground.home, remote.rates()));
    let opened = open_state(ground).await?;
    let hydrator = hydrator(ground, &remote);
    // Before anything changes: what programs have open keeps its version.
    let below = Below::over(ground, &opened, &hydrator)?;
    let identity = Arc::new(OwnIdentity {
        env: ground.env.clone(),
        file: ground.home.credentials_file(),
        remote: Arc::clone(&remote),
        credentials: RwLock::new(credentials.clone()),
    });
    let sync = start_sync(ground, &opened, &identity, &hydrator);
    // Also when this program is replaced by another version meanwhile.
    let notifier = Arc::new(KernelNotifier::with_player("/proc/self/exe".into()));
    opened.tree.set_notifier(Arc::clone(&notifier) as Arc<dyn Notifier>);
    let (table, backings) = (below.lending.table.clone(), Arc::clone(&below.backings));
    let vfs = Arc::new(file_system(ground, &opened, below, &sync, &notifier));
    let waits = Arc::default();
    let session = mount(ground, &vfs, &notifier, &waits, (source, backings), opened.recovered.marks.ino).await?;
    let connection =
        session.heritage().map(|(device, agreed)| Ok::<_, io::Error>((device.try_clone_to_owned()?, agreed)));
    let connection = connection.transpose()?;
    greet_root(ground, &opened.tree, &sync).await;
    let ending = Arc::new(Ending::new(Box::new(Session(session)), ground.options.dir.clone()));
    let Opened { tree, contents, journal, .. } = opened;
    let parts = Arc::new(Parts { sync, vfs, hydrator, notifier, ending: Arc::clone(&ending), tree, contents, journal });
    housekeeping::start(&ground.env, &parts, &ground.home.state_dir());
    let mount = ground.options.dir.clone();
    if ground.options.merges_texts && !ground.options.read_only {
        merging::start(&ground.env, &parts, &identity);
    }
    let verifier = Arc::new(Verifier::new(&ground.env, &parts, &identity, &mount, ground.home.verified_file()));
    verify::start(&verifier);
    slumber::start(Sleepers {
        env: ground.env.clone(),
        parts: Arc::downgrade(&parts),
        waits,
        remote,
        verifier: Arc::clone(&verifier),
        pause: Mutex::default(),
    });
    let lives = (ground.life(), ground.bond.as_ref().is_some_and(|bond| bond.fell_back));
    let state = (ground.env.clone(), ground.home.state_dir());
    let service = Arc::new(MountService { parts: Arc::clone(&parts), identity, mount, verifier, limits, state, lives });
    let resting = Arc::clone(&parts);
    let rest = Arc::new(move || rest(&resting.contents, &resting.journal));
    Ok(Standing { service, ending, connection, table, rest, stop: Box::pin(stop(parts)) })
}

async fn open_state(ground: &Ground) -> Result<Opened> {
    let (env, dir) = (ground.env.clone(), ground.home.state_dir());
    let budget_bytes = ground.options.cache_bytes;
    // Also without passthrough now: programs may have maps from an earlier life.
    let lends = rustix::process::geteuid().is_root();
    let contents = content::Options { budget_bytes, lends, ..content::Options::default() };
    let identity = Identity {
        device: ground.credentials.device,
        device_name: ground.credentials.device_name.clone(),
        space: ground.credentials.home,
    };
    let (hold, files_in_memory) = (ground.options.hold_deletes.limits(), ground.options.files_in_memory);
    let local_names = LocalNames::matching(ground.options.local_only.iter().map(String::as_str));
    let local_names = local_names.map_err(anyhow::Error::msg)?;
    let mount_stands = ground.heritage().is_some();
    let opened = spawn_blocking(move || {
        let journal = JournalOptions::for_budget(budget_bytes);
        let opened = Tree::assemble_under(&env, &dir, journal, contents, identity, mount_stands);
        let opened = opened.map_err(|error| advised(error, &dir))?;
        opened.tree.set_delete_limits(hold)?;
        opened.tree.keep_here(local_names)?;
        opened.tree.sweep_beyond(files_in_memory);
        housekeeping::count_extra(&env, &opened.contents, &opened.journal, &dir)?;
        Ok::<_, anyhow::Error>(opened)
    });
    opened.await?
}

/// A full disk is something that a person can do something about.
fn advised(error: OpenError, dir: &Path) -> anyhow::Error {
    if !error.is_full() {
        return error.into();
    }
    let advice =
        format!("free some space on the disk of {}, then mount again: nothing is lost meanwhile", dir.display());
    anyhow::Error::from(error).context(advice)
}

fn hydrator(ground: &Ground, remote: &Arc<HttpRemote>) -> Hydrator {
    let options = HydrateOptions { timeout: ground.options.read_timeout, ..HydrateOptions::default() };
    let remote = Arc::clone(remote) as Arc<dyn Remote>;
    Hydrator::new(ground.env.clone(), remote, ground.credentials.home, Handle::current(), options)
}

fn start_sync(ground: &Ground, opened: &Opened, identity: &Arc<OwnIdentity>, hydrator: &Hydrator) -> SyncHandle {
    let (tree, hydrator) = (Arc::clone(&opened.tree), hydrator.clone());
    SyncHandle::start(sync::Parts {
        env: ground.env.clone(),
        space: ground.credentials.home,
        tree: TreeBridge::new(tree, hydrator, ContentKey::Ordinary),
        remote: Arc::clone(&identity.remote) as Arc<dyn Remote>,
        identity: Arc::clone(identity) as Arc<dyn sync::ports::Identity>,
        counters: identity.remote.counters(),
    })
}

/// What the file system stands on: the tree, and what an earlier daemon left open in it.
struct Below {
    tree: Arc<LiveTree>,
    backings: Arc<KernelBackings>,
    lending: Lending,
    taken: TakenUp,
}

impl Below {
    fn over(ground: &Ground, opened: &Opened, hydrator: &Hydrator) -> Result<Self> {
        let (tree, place) = (Arc::clone(&opened.tree), (ground.home.state_dir(), ground.options.cache_bytes));
        let tree = Arc::new(LiveTree::new(tree, hydrator.clone(), Handle::current(), place));
        let backings = Arc::new(KernelBackings::default());
        let kernel = Arc::clone(&backings) as Arc<dyn Backings>;
        let Some(heritage) = ground.heritage() else {
            let table = ground.bond.is_some().then(OpenTable::new).transpose()?.map(Arc::new);
            return Ok(Self { tree, backings, lending: Lending { kernel, table }, taken: TakenUp::default() });
        };
        backings.attach(heritage.device.try_clone()?);
        let left = heritage.table.as_ref().map(|table| OpenTable::take_over(table.try_clone()?)).transpose()?;
        let (table, left) = left.map_or((None, None), |(table, left)| (Some(Arc::new(table)), Some(left)));
        let lending = Lending { kernel, table };
        let taken = left.map(|left| TakenUp::of(tree.as_ref(), &lending, left)).unwrap_or_default();
        Ok(Self { tree, backings, lending, taken })
    }
}

fn file_system(ground: &Ground, opened: &Opened, below: Below, sync: &SyncHandle, notifier: &KernelNotifier) -> Vfs {
    let Below { tree, lending, taken, .. } = below;
    let ports = Ports {
        tree,
        lister: Arc::new(MountLister(sync.lister())),
        clock: Arc::clone(&ground.env.clock),
        stale: Arc::clone(notifier.stale()),
        replay: Arc::clone(notifier.replay()),
    };
    let uid = rustix::process::geteuid();
    let options = Options {
        posix: ground.options.posix,
        read_only: ground.options.read_only,
        uid: uid.as_raw(),
        gid: rustix::process::getegid().as_raw(),
        privileged: uid.is_root(),
        scanners: ground.options.scanners.clone(),
        passthrough: no_passthrough(ground).is_none() && opened.contents.lends_files(),
        cache_bytes: ground.options.cache_bytes,
    };
    let inode_max = if ground.heritage().is_some() { opened.recovered.marks.ino } else { 0 };
    let vfs = Vfs::new(ports, options).in_life(ground.life(), inode_max).lending(lending, taken);
    let why_not = no_passthrough(ground).unwrap_or("the file system of the state folder has no leases");
    vfs.agree_passthrough(Err(why_not.to_owned()));
    vfs
}

/// Why there is no passthrough, unless the kernel agrees to it.
fn no_passthrough(ground: &Ground) -> Option<&'static str> {
    match () {
        () if !ground.options.passthrough => Some("--no-passthrough"),
        () if !rustix::process::geteuid().is_root() => Some("only a mount by root can"),
        // It would not know which files the kernel has.
        () if ground.heritage().is_some_and(|heritage| heritage.table.is_none()) => {
            Some("the version of tarn that mounted leaves no record of open files; mount again")
        }
        () => None,
    }
}

/// A fresh device gets to know its root before anybody looks, if the server answers soon: what is known here goes
/// on working without it.
async fn greet_root(ground: &Ground, tree: &Tree, sync: &SyncHandle) {
    if tree.cursor().is_some() {
        return;
    }
    let (lister, root) = (sync.lister(), NodeId::root_of(ground.credentials.home));
    let listed = tokio::time::timeout(FIRST_LISTING_WAIT, lister.list(root));
    if let Ok(Err(error)) = listed.await {
        tracing::info!(%error, "the root could not be listed yet");
    }
}

async fn mount(
    ground: &Ground,
    vfs: &Arc<Vfs>,
    notifier: &Arc<KernelNotifier>,
    waits: &Arc<Waits>,
    (source, backings): (String, Arc<KernelBackings>),
    inode_max: u64,
) -> Result<fuse::Session> {
    let options = fuse::MountOptions {
        mountpoint: ground.options.dir.clone(),
        source,
        allow_other: ground.options.allow_other,
        read_timeout: ground.options.read_timeout,
        waits: Arc::clone(waits),
        backings,
    };
    let (vfs, notifier, runtime) = (Arc::clone(vfs), Arc::clone(notifier), Handle::current());
    let dir = ground.options.dir.display().to_string();
    let inherited = ground.heritage().map(|heritage| {
        let device = heritage.device.try_clone()?;
        Ok::<_, io::Error>(fuse::Inherited { device, agreed: heritage.agreed, inode_max })
    });
    let inherited = inherited.transpose()?;
    let mounted = spawn_blocking(move || fuse::mount(vfs, &notifier, &options, &runtime, inherited.as_ref())).await?;
    mounted.with_context(|| format!("{dir} cannot be mounted (tarn doctor looks for the reason)"))
}

/// Ends what runs by itself; what is dirty stays, and what is logged is brought into the database as far as time allows.
async fn stop(parts: Arc<Parts>) {
    let (journal, contents) = (Arc::clone(&parts.journal), Arc::clone(&parts.contents));
    match Arc::into_inner(parts) {
        Some(Parts { sync, .. }) => sync.shutdown().await,
        // Housekeeping is at it: syncing ends when that does.
        None => tracing::debug!("the mount's parts are still in use"),
    }
    // A panic is logged.
    let _ = spawn_blocking(move || rest(&contents, &journal)).await;
}

/// Brings what is only in memory or logged into the database.
fn rest(contents: &Contents, journal: &Journal) {
    if let Err(error) = contents.record_presence() {
        tracing::warn!(%error, "what was fetched last could not be recorded; it is fetched again");
    }
    if let Err(error) = journal.drain() {
        tracing::warn!(%error, "the log could not be brought into the database; the next daemon does it");
    }
}

/// The mount as the daemon's life sees it.
#[derive(Debug)]
struct Session(fuse::Session);

#[async_trait]
impl StandingMount for Session {
    fn unmount(&self) -> io::Result<()> {
        self.0.unmount()
    }

    fn detach(&self) -> io::Result<()> {
        self.0.detach()
    }

    async fn gone(&self) {
        self.0.ended().await;
    }
}
