//! A system bus of its own, with somebody on it who says what logind says.

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;
use tarn_tests::wait::eventually;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, Fd, Message, MessageStream, Variant};

const PATH: &str = "/org/freedesktop/login1";
const INTERFACE: &str = "org.freedesktop.login1.Manager";

/// Ours of each pair whose other half was given to whoever wants to be waited for.
type Delays = Arc<Mutex<Vec<UnixStream>>>;

/// The stub, and its bus.
pub struct Logind {
    runtime: Runtime,
    connection: Connection,
    delays: Delays,
    bus: Child,
    folder: TempDir,
}

impl Logind {
    /// Waits this long for whoever asks it to.
    pub fn start(delay_max: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = address(&folder);
        let config = folder.path().join("bus.conf");
        let text = format!(
            "<busconfig><type>system</type><listen>{address}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>\
             <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/></policy></busconfig>"
        );
        fs::write(&config, text).unwrap();
        let config = format!("--config-file={}", config.display());
        let bus = Command::new("dbus-daemon").args(["--nofork", "--nopidfile", &config]).spawn().unwrap();
        eventually(Duration::from_secs(10), "the bus listens", || folder.path().join("bus").exists());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let delays = Delays::default();
        let connection = Builder::address(address.as_str()).name("org.freedesktop.login1").build();
        let connection = runtime.block_on(connection).unwrap();
        let calls = MessageStream::from(&connection);
        runtime.spawn(serve(calls, connection.clone(), Arc::clone(&delays), delay_max));
        Self { runtime, connection, delays, bus, folder }
    }

    /// For `DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn address(&self) -> String {
        address(&self.folder)
    }

    /// Says that the machine falls asleep, or that it is awake.
    pub fn says(&self, falls_asleep: bool) {
        let said = self.connection.emit_signal(None::<&str>, PATH, INTERFACE, "PrepareForSleep", &falls_asleep);
        self.runtime.block_on(said).unwrap();
    }

    /// Whether somebody wants the machine to wait.
    pub fn is_delayed(&self) -> bool {
        let is_held = |ours: &mut UnixStream| {
            let read = ours.read(&mut [0]);
            matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
        };
        self.delays.lock().iter_mut().any(is_held)
    }
}

impl Drop for Logind {
    fn drop(&mut self) {
        // It may be gone by now.
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}

fn address(folder: &TempDir) -> String {
    format!("unix:path={}", folder.path().join("bus").display())
}

/// Answers calls until the bus is gone.
async fn serve(mut calls: MessageStream, connection: Connection, delays: Delays, delay_max: Duration) {
    while let Some(Ok(call)) = calls.next().await {
        if call.message_type() == Type::MethodCall {
            answer(&call, &connection, &delays, delay_max).await;
        }
    }
}

async fn answer(call: &Message, connection: &Connection, delays: &Delays, delay_max: Duration) {
    let header = call.header();
    let member = header.member().map(|member| member.to_string()).unwrap_or_default();
    match member.as_str() {
        "Inhibit" => {
            let (what, who, _, mode): (String, String, String, String) = call.body().deserialize().unwrap();
            assert_eq!((what.as_str(), who.as_str(), mode.as_str()), ("sleep", "Tarn", "delay"));
            let (ours, theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            connection.reply(&header, &Fd::from(OwnedFd::from(theirs))).await.unwrap();
            delays.lock().push(ours);
        }
        "Get" => {
            let micros = u64::try_from(delay_max.as_micros()).unwrap();
            connection.reply(&header, &Variant::from(micros)).await.unwrap();
        }
        other => panic!("nobody asks logind for {other} here"),
    }
}
