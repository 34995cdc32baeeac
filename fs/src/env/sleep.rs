//! Owns what the system says of its sleep: logind, over the system bus (`DBUS_SYSTEM_BUS_ADDRESS`, or where it always is).
//! Decides nothing; where there is no logind, nobody tells.

use async_trait::async_trait;
use futures_util::StreamExt as _;
use std::fmt::Debug;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use zbus::connection::Builder;
use zbus::proxy::{CacheProperties, SignalStream};
use zbus::{Connection, Proxy};

/// Where logind is on the bus.
const SERVICE: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const INTERFACE: &str = "org.freedesktop.login1.Manager";
/// A bus that takes longer for an answer has none.
const ANSWER_WAIT: Duration = Duration::from_secs(25);

/// What the system says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SleepSign {
    /// It will sleep as soon as nobody delays it any more.
    FallsAsleep,
    /// It is awake again, or did not fall asleep.
    Wakes,
}

/// Has the system wait before it sleeps, until it is dropped.
pub type SleepDelay = Box<dyn Send + Sync>;

/// Tells when the machine falls asleep and when it wakes.
#[async_trait]
pub trait SleepTeller: Send + Debug {
    /// The next sign; `None` when nobody tells any more. Cancel-safe.
    async fn next(&mut self) -> Option<SleepSign>;
    /// Asks the system to wait.
    ///
    /// # Errors
    /// What it refused with; also while it is falling asleep.
    async fn delay(&mut self) -> io::Result<SleepDelay>;
    /// How long the system waits.
    fn delay_max(&self) -> Duration;
}

/// logind.
#[derive(Debug)]
pub struct Logind {
    manager: Proxy<'static>,
    signs: SignalStream<'static>,
    delay_max: Duration,
}

impl Logind {
    /// Finds it.
    ///
    /// # Errors
    /// There is no system bus, or nobody on it who is logind.
    pub async fn connect() -> io::Result<Self> {
        let bus = Builder::system().method_timeout(ANSWER_WAIT).build().await.map_err(io::Error::other)?;
        Self::on(&bus).await.map_err(io::Error::other)
    }

    async fn on(bus: &Connection) -> zbus::Result<Self> {
        let manager = zbus::proxy::Builder::<Proxy<'static>>::new(bus).destination(SERVICE).path(PATH);
        let manager = manager.interface(INTERFACE).cache_properties(CacheProperties::No).build().await?;
        let signs = manager.receive_signal("PrepareForSleep").await?;
        let micros: u64 = manager.get_property("InhibitDelayMaxUSec").await?;
        Ok(Self { manager, signs, delay_max: Duration::from_micros(micros) })
    }
}

#[async_trait]
impl SleepTeller for Logind {
    async fn next(&mut self) -> Option<SleepSign> {
        loop {
            let said = self.signs.next().await?;
            match said.body().deserialize::<bool>() {
                Ok(true) => return Some(SleepSign::FallsAsleep),
                Ok(false) => return Some(SleepSign::Wakes),
                Err(error) => tracing::debug!(%error, "logind says something else"),
            }
        }
    }

    async fn delay(&mut self) -> io::Result<SleepDelay> {
        let asked = ("sleep", "Tarn", "files that are being read finish or fail first", "delay");
        let lock: zbus::OwnedFd = self.manager.call("Inhibit", &asked).await.map_err(io::Error::other)?;
        Ok(Box::new(OwnedFd::from(lock)))
    }

    fn delay_max(&self) -> Duration {
        self.delay_max
    }
}
