//! Owns wiring: makes everything that calls need, listens, and ends in order.

use crate::config::{self, ServeConfig};
use crate::env::{Env, disk};
use crate::limits;
use crate::packs;
use crate::router;
use crate::service::Services;
use crate::service::attempts::Attempts;
use crate::service::chunks::{Chunks, PutLog};
use crate::service::tokens::Tokens;
use crate::store::Database;
use crate::telemetry;
use crate::watch::{self, Watch};
use anyhow::{Context as _, Result, ensure};
use axum::serve::ListenerExt as _;
use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::{JoinHandle, JoinSet};

/// A server that runs.
#[derive(Debug)]
pub struct App {
    address: SocketAddr,
    end: Sender<bool>,
    serving: JoinHandle<std::io::Result<()>>,
    tasks: JoinSet<()>,
    db: Database,
    _lock: Option<File>,
}

impl App {
    /// Opens the stores, brings the schema up to date, listens.
    ///
    /// # Errors
    /// A store cannot be opened, or the address is taken.
    pub async fn start(config: &ServeConfig, env: Env) -> Result<Self> {
        telemetry::init_metrics();
        disk::create_dir_durable(&config.data).with_context(|| format!("{}", config.data.display()))?;
        let lock = lock(config)?;
        let (end, ending) = channel(false);
        let services = wire(config, env, ending.clone()).await?;
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.with_context(|| format!("listening on {}", config.listen))?;
        let address = listener.local_addr()?;
        let file = config.data.join("address");
        disk::write_durable(&file, &config.data.join("address.new"), &[format!("{address}\n")])
            .with_context(|| format!("{}", file.display()))?;
        let mut tasks = JoinSet::new();
        watch::link(&services.watch, &services.db, &services.env, &mut tasks);
        tasks.spawn(tend_metrics());
        let db = services.db.clone();
        let serving = tokio::spawn(serve(listener, Arc::new(services), ending));
        Ok(Self { address, end, serving, tasks, db, _lock: lock })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: no new connections, calls in flight are finished, sockets closed. What is still not
    /// done after a few seconds is cut off; it was not acknowledged.
    ///
    /// # Errors
    /// Serving had failed.
    pub async fn stop(mut self) -> Result<()> {
        self.end.send_replace(true);
        let served = tokio::time::timeout(limits::SHUTDOWN_TIME_MAX, &mut self.serving).await;
        self.tasks.abort_all();
        if served.is_err() {
            tracing::warn!("calls were cut off");
            self.serving.abort();
        }
        drop(tokio::time::timeout(limits::CLOSE_TIME_MAX, self.db.close()).await);
        match served {
            Ok(done) => Ok(done??),
            Err(_) => Ok(()),
        }
    }
}

/// Two processes over one SQLite file would not hear each other's notices: the second is refused.
fn lock(config: &ServeConfig) -> Result<Option<File>> {
    if !config.database.starts_with("sqlite:") {
        return Ok(None);
    }
    let lock = disk::try_lock(&config.data.join("lock")).context("the lock of the data directory")?;
    ensure!(lock.is_some(), "another tarn-server serves {}", config.data.display());
    let own_objects = config::default_objects(&config.data);
    if let Some(dir) = config::local_objects_path(&own_objects).filter(|_| config.objects == own_objects) {
        packs::clear_local(&dir).context("unfinished packs")?;
    }
    Ok(lock)
}

/// Makes everything that calls need, without listening.
///
/// # Errors
/// A store cannot be opened.
pub async fn wire(config: &ServeConfig, env: Env, ending: Receiver<bool>) -> Result<Services> {
    let db = Database::open(&config.database).await.context("the database")?;
    let packs = packs::open(&config.objects).await.context("the object store")?;
    let put_log = config.put_log.as_deref().map(PutLog::open).transpose().context("the put log")?;
    Ok(Services {
        chunks: Chunks::new(db.clone(), env.clone(), packs, put_log),
        db,
        env,
        tokens: Tokens::default(),
        attempts: Attempts::default(),
        watch: Watch::default(),
        insecure: config.insecure,
        ending,
    })
}

async fn tend_metrics() {
    let mut ticks = tokio::time::interval(limits::METRICS_INTERVAL);
    loop {
        ticks.tick().await;
        telemetry::tend_metrics();
    }
}

async fn serve(listener: TcpListener, services: Arc<Services>, mut ending: Receiver<bool>) -> std::io::Result<()> {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
    });
    let service = router::router(services).into_make_service_with_connect_info::<SocketAddr>();
    let ended = async move {
        drop(ending.wait_for(|ending| *ending).await);
    };
    axum::serve(listener, service).with_graceful_shutdown(ended).await
}
