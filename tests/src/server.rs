//! A real `tarn-server` in a folder of its own: started, killed, frozen, started again on the same port and data.

use crate::device::Device;
use crate::postgres::Database;
use crate::process::Process;
use crate::programs::{self, Finished, program};
use crate::wait::{eventually, within};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;

/// The account that every server here has.
pub const USER: &str = "ann";
/// Its password.
pub const PASSWORD: &str = "correct horse";

/// Where a server keeps its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Db {
    /// The embedded default.
    Sqlite,
    /// A fresh database of the PostgreSQL that `scripts/test` started.
    Postgres,
}

/// A server and its data.
#[derive(Debug)]
pub struct Server {
    running: Mutex<Option<Running>>,
    address: SocketAddr,
    database: Option<Database>,
    folder: TempDir,
    data: PathBuf,
}

#[derive(Debug)]
struct Running {
    child: Child,
    process: Process,
}

impl Server {
    /// Starts one on a free port and adds [`USER`]. None if there is no PostgreSQL for it and none is required.
    ///
    /// # Errors
    /// If it does not come up; with its log.
    pub fn start(db: Db) -> Result<Option<Self>> {
        Self::start_in(db, None)
    }

    /// The same, with its data in a folder of one's own.
    ///
    /// # Errors
    /// If it does not come up; with its log.
    pub fn start_in(db: Db, data: Option<PathBuf>) -> Result<Option<Self>> {
        let database = match db {
            Db::Sqlite => None,
            Db::Postgres => match Database::create()? {
                Some(database) => Some(database),
                None => return Ok(None),
            },
        };
        let server = Self::serving(database, data)?;
        server.add_user(USER, PASSWORD)?.ok()?;
        Ok(Some(server))
    }

    /// Starts one on data that another one left, accounts included.
    ///
    /// # Errors
    /// If it does not come up; with its log.
    pub fn on(data: PathBuf) -> Result<Self> {
        Self::serving(None, Some(data))
    }

    fn serving(database: Option<Database>, data: Option<PathBuf>) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let folder = tempfile::tempdir()?;
        let data = data.unwrap_or_else(|| folder.path().join("data"));
        let mut server = Self { running: Mutex::new(None), address, database, folder, data };
        server.address = server.spawn()?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process, if it runs.
    pub fn process(&self) -> Option<Process> {
        self.lock().as_ref().map(|running| running.process)
    }

    /// Adds an account.
    ///
    /// # Errors
    /// If the command cannot be started.
    pub fn add_user(&self, name: &str, password: &str) -> Result<Finished> {
        let mut command = Command::new(program("tarn-server"));
        command.args(["user", "add", name, "--password-stdin"]);
        match &self.database {
            Some(database) => command.args(["--database", &database.url()]),
            None => command.arg("--data").arg(self.data()),
        };
        programs::run(&mut command, password)
    }

    /// Says how much [`USER`] may use: `BYTES` or `none`.
    ///
    /// # Errors
    /// What the command said.
    pub fn set_quota(&self, quota: &str) -> Result<String> {
        let mut command = Command::new(program("tarn-server"));
        command.args(["user", "quota", USER, quota]);
        match &self.database {
            Some(database) => command.args(["--database", &database.url()]),
            None => command.arg("--data").arg(self.data()),
        };
        Ok(programs::run(&mut command, "")?.ok()?.stdout)
    }

    /// Runs `tarn-server check` beside the live server.
    ///
    /// # Errors
    /// If the command cannot be started.
    pub fn check(&self) -> Result<Finished> {
        let mut command = Command::new(program("tarn-server"));
        command.arg("check");
        match &self.database {
            Some(database) => command.args(["--database", &database.url(), "--objects", &self.objects()]),
            None => command.arg("--data").arg(self.data()),
        };
        programs::run(&mut command, "")
    }

    /// Ends it without warning.
    pub fn kill(&self) {
        if let Some(mut running) = self.lock().take() {
            running.process.thaw();
            running.process.kill();
            let _ = running.child.wait();
        }
    }

    /// Asks it to end and waits for that.
    ///
    /// # Errors
    /// If it does not end in 5 s, or not with success.
    pub fn stop(&self) -> Result<()> {
        let Some(mut running) = self.lock().take() else { return Ok(()) };
        running.process.signal(libc::SIGTERM);
        if !running.process.ends_within(Duration::from_secs(5)) {
            running.process.kill();
            running.child.wait()?;
            bail!("the server did not end within 5 s of SIGTERM");
        }
        let status = running.child.wait()?;
        if status.success() { Ok(()) } else { bail!("the server ended with {status}") }
    }

    /// Starts it again on the same port and data.
    ///
    /// # Errors
    /// If it does not come up; with its log.
    pub fn restart(&self) -> Result<()> {
        self.kill();
        self.spawn().map(drop)
    }

    /// Stops it where it stands: connections stay open, nothing is answered.
    pub fn freeze(&self) {
        if let Some(process) = self.process() {
            process.freeze();
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        if let Some(process) = self.process() {
            process.thaw();
        }
    }

    pub(crate) fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// The folder of its data.
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The sum of a metric over its labels; 0 if it is not there.
    ///
    /// # Errors
    /// If /metrics does not answer.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let page = self.get("/metrics")?;
        let lines = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// The body of a page that needs no account.
    ///
    /// # Errors
    /// If the status is not 200.
    pub fn get(&self, path: &str) -> Result<String> {
        self.get_with(path, "")
    }

    /// What the API says to a device.
    ///
    /// # Errors
    /// If the status is not 200.
    pub fn get_as(&self, device: &Device, path: &str) -> Result<String> {
        let token = device.credentials()?["token"].as_str().context("it is not signed in")?.to_owned();
        self.get_with(&format!("/api/v1{path}"), &format!("Authorization: Bearer {token}\r\n"))
    }

    fn get_with(&self, path: &str, header: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n{header}\r\n", self.address)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no end of the headers")?;
        if head.split(' ').nth(1) != Some("200") {
            bail!("{path}: {}", head.lines().next().unwrap_or_default());
        }
        Ok(body.into())
    }

    fn objects(&self) -> String {
        format!("file://{}", self.folder.path().join("objects").display())
    }

    /// What devices uploaded, as the server acknowledged it: a line for each body, over all its lives.
    ///
    /// # Errors
    /// If the put log is not what it is said to be.
    pub fn put_log(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.put_log_path()).context("the put log")?;
        text.lines().map(|line| serde_json::from_str(line).context("a line of the put log")).collect()
    }

    fn put_log_path(&self) -> PathBuf {
        self.folder.path().join("put.log")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program("tarn-server"));
        command.arg("serve").arg("--data").arg(self.data()).args(["--listen", &self.address.to_string()]);
        command.arg("--put-log").arg(self.put_log_path());
        if let Some(database) = &self.database {
            command.args(["--database", &database.url(), "--objects", &self.objects()]);
        }
        command
    }

    fn spawn(&self) -> Result<SocketAddr> {
        let seen = self.log().len();
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let command = &mut self.command();
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let process = Process::of_pid(child.id()).context("the server ended at once")?;
        *self.lock() = Some(Running { child, process });
        let mut address = None;
        within(Duration::from_secs(30), || {
            address = listening_on(self.log().get(seen..).unwrap_or_default());
            address.is_some() || !process.lives()
        });
        address.with_context(|| format!("the server did not come up:\n{}", self.log()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- the server's last words\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

/// The address in the server's first line.
fn listening_on(log: &str) -> Option<SocketAddr> {
    let rest = log.split("listening on http://").nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').next()?.parse().ok()
}

/// Waits until the server says that it is ready.
///
/// # Panics
/// If it does not within 10 s.
#[track_caller]
pub fn ready(server: &Server) {
    eventually(Duration::from_secs(10), "the server is ready", || server.get("/readyz").is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_any_form_of_log() {
        let expected = Some(SocketAddr::from(([127, 0, 0, 1], 7420)));
        assert_eq!(listening_on("x\nlistening on http://127.0.0.1:7420\n"), expected);
        assert_eq!(listening_on("{\"message\":\"listening on http://127.0.0.1:7420\"}"), expected);
        assert_eq!(listening_on("listening on http://"), None);
    }
}
