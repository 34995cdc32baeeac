//! Owns the world of an example, and what happens to it: lines that are cut, machines that are restarted or copied, a server
//! that is put back, full, behind, or says no.

use super::super::device::{Life, Machine};
use super::super::net::{Centre, Line};
use super::super::server::{Backup, SimServer};
use super::super::time::{MachineClock, Time};
use super::super::trace::Trace;
use super::deeds;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tarn::env::Fault;
use tokio::sync::watch;

/// Devices of an example; nobody does anything on the others than the first three.
pub const DEVICES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// After this long without rest something is wrong.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// What has not changed for so long waits for something that does not come by itself: everybody has pulled meanwhile.
const STILL: Duration = Duration::from_secs(660);
/// How often it is looked whether it is time to cut a line.
const GLANCE: Duration = Duration::from_micros(50);
const YEAR_SECS: i64 = 365 * 86_400;
/// Bytes in a second of a slow line.
const SLOW: u64 = 10_000;
/// Events that are kept for those who look at them.
const EVENTS: usize = 100_000;
/// Autosaves come so fast.
const PAUSE: Duration = Duration::from_millis(50);

/// What is the same in all examples of a run.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub devices: usize,
    /// By how many years the clock of the first device is ahead, and that of the second one behind.
    pub years_wrong: i64,
    /// How long who was off the network stays away.
    pub away: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        Self { devices: 3, years_wrong: 0, away: Duration::ZERO }
    }
}

pub struct Stage {
    pub time: Time,
    pub centre: Arc<Centre>,
    machines: Vec<Machine>,
    setting: Setting,
    backup: Option<Backup>,
    /// What a server that is behind does not show yet.
    ahead: Option<Backup>,
    trace: Trace,
    /// How often each had begun to pull when all were last together.
    pulls_before: Vec<usize>,
}

impl Stage {
    pub fn new(time: Time, setting: Setting) -> Self {
        let clock = Arc::new(MachineClock { time: time.clone(), skew_secs: 0 });
        let centre = Arc::new(Centre { server: Mutex::new(SimServer::new(None)), seq: watch::Sender::new(0), clock });
        let machines = (0..setting.devices).map(|who| Machine::new(who, 1)).collect();
        let (trace, backup, ahead) = (Trace::keeping(EVENTS), None, None);
        let mut stage =
            Self { time, centre, machines, setting, backup, ahead, trace, pulls_before: vec![0; setting.devices] };
        for (who, years) in [(0, setting.years_wrong), (1, -setting.years_wrong)] {
            stage.machines[who].skew_secs = years * YEAR_SECS;
        }
        (0..setting.devices).for_each(|who| stage.boot(who));
        stage
    }

    fn boot(&mut self, who: usize) {
        self.machines[who].boot(&self.time, &self.centre, &self.trace).unwrap();
    }

    fn life(&self, who: usize) -> &Life {
        self.machines[who].life().unwrap()
    }

    pub fn lives(&self) -> impl Iterator<Item = (&'static str, &Life)> {
        DEVICES.into_iter().zip(self.machines.iter().filter_map(Machine::life))
    }

    /// Who is on the network and has something to say or to hear.
    pub fn unrest(&self) -> Option<&'static str> {
        let head = Some(self.centre.server.lock().cursor());
        let rests = |life: &Life| life.tree.first_ticket().is_none() && life.tree.cursor() == head;
        let up = self.machines.iter().filter(|machine| *machine.line.borrow() == Line::Up);
        up.filter(|machine| !machine.life().is_some_and(rests)).map(|machine| DEVICES[machine.who]).next()
    }

    /// Until all that are on the network know of everything, and have nothing to say; or say nothing for long.
    pub async fn rest(&self) {
        let (deadline, mut still) = (self.time.now() + PATIENCE, (self.time.now(), Vec::new()));
        while self.unrest().is_some() {
            let now: Vec<_> = self.lives().map(|(_, life)| (life.tree.cursor(), life.tree.queue_totals())).collect();
            if now != still.1 {
                still = (self.time.now(), now);
            }
            if self.time.now() > still.0 + STILL {
                return;
            }
            assert!(self.time.now() < deadline, "they do not come to rest");
            self.time.sleep(Duration::from_secs(1)).await;
        }
    }

    fn line(&self, who: usize, line: Line) {
        self.machines[who].line.send_replace(line);
        self.life(who).sync.network_changed();
    }

    /// Looks again and again until something is so, without waiting for rest.
    async fn until(&self, mut is_so: impl FnMut(&SimServer) -> bool) {
        let deadline = self.time.now() + PATIENCE;
        while !is_so(&self.centre.server.lock()) {
            assert!(self.time.now() < deadline, "it does not come to that");
            self.time.sleep(GLANCE).await;
        }
    }

    /// One line of an example.
    pub async fn happen(&mut self, step: &str) -> Result<(), String> {
        let device = |text: &str| DEVICES.iter().position(|device| *device == text);
        if let Some((who, deed)) = step.split_once(": ").and_then(|(who, deed)| Some((device(who)?, deed))) {
            return self.deed(who, deed).await;
        }
        if let Some(time) = step.strip_suffix(" pass") {
            self.pass(time).await;
            return Ok(());
        }
        if let Some((who, rest)) = step.split_once(' ').and_then(|(who, rest)| Some((device(who)?, rest))) {
            return self.meet(who, rest).await;
        }
        match step.rsplit_once(' ').and_then(|(rest, who)| Some((rest, device(who)?))) {
            Some((rest, who)) => self.cut(who, rest).await?,
            None => self.elsewhere(step)?,
        }
        if ["together", "the server is its copy"].contains(&step) {
            self.rest().await;
            self.pulls_before = (0..self.machines.len()).map(|who| self.pulls(who)).collect();
        }
        Ok(())
    }

    /// How often a device has pulled: the pages of one pull begin at one seq.
    fn pulls(&self, who: usize) -> usize {
        let begins = format!(" {who} pull ");
        let tail = self.trace.tail();
        let pulls = tail.lines().filter_map(|line| line.split_once(&begins));
        pulls.map(|(_, rest)| rest).collect::<BTreeSet<_>>().len()
    }

    async fn deed(&mut self, who: usize, deed: &str) -> Result<(), String> {
        let life = self.machines[who].life.as_mut().unwrap();
        if let Some(seen) = deed.strip_prefix("sees ") {
            return deeds::look(life, &self.centre.server.lock(), seen);
        }
        if let Some((path, times)) =
            deed.strip_suffix(" times").and_then(|deed| deed.strip_prefix("saves ")?.split_once(' '))
        {
            for n in 1..=times.parse::<u32>().expect("a number") {
                let life = self.machines[who].life.as_mut().unwrap();
                deeds::write(life, path, format!("save {n}").as_bytes()).map_err(|error| error.to_string())?;
                self.time.sleep(PAUSE).await;
            }
            return Ok(());
        }
        let done = deeds::order(&life.tree, deed).unwrap_or_else(|| deeds::act(life, deed));
        done.map_err(|error| error.to_string())
    }

    /// Time goes on, whatever waits. The daemons look after what stays here as they do now and then.
    async fn pass(&self, time: &str) {
        let (count, unit) = time.split_once(' ').expect("a number and a unit");
        let secs = match unit {
            "s" => 1,
            "minutes" => 60,
            "hours" => 3_600,
            _ => panic!("{unit:?} is no unit of time"),
        };
        self.time.sleep(Duration::from_secs(secs * count.parse::<u64>().expect("a number"))).await;
        self.lives().for_each(|(_, life)| life.tree.review_local_only().unwrap());
    }

    /// What happens to one device.
    async fn meet(&mut self, who: usize, what: &str) -> Result<(), String> {
        match what {
            "leaves" => self.line(who, Line::Down),
            "returns" => {
                self.time.sleep(self.setting.away).await;
                self.line(who, Line::Up);
                self.rest().await;
            }
            "comes to the network" => self.line(who, Line::Up),
            "restarts" => self.kill(who, false).await,
            "loses its power" => self.lose_power(who).await,
            "is copied" => self.machines[who].back_up(),
            "is its copy" => self.kill(who, true).await,
            "has a slow line" => self.life(who).remote.line_bytes.store(SLOW, Ordering::Relaxed),
            _ => {
                let number = |(before, behind)| what.strip_prefix(before)?.strip_suffix(behind)?.parse().ok();
                if let Some(years) = number(("has a clock that is ", " years ahead")) {
                    self.machines[who].skew_secs = years * YEAR_SECS;
                    self.kill(who, false).await;
                    return Ok(());
                }
                let most = number(("has pulled ", " times at most")).ok_or("it says nothing")?;
                let pulls = self.pulls(who) - self.pulls_before[who];
                if pulls as i64 > most {
                    return Err(format!("it has pulled {pulls} times"));
                }
            }
        }
        Ok(())
    }

    async fn kill(&mut self, who: usize, becomes_copy: bool) {
        let life = self.machines[who].life.take().unwrap();
        let after = self.machines[who].disk.copy();
        self.machines[who].disk.fail_after(0, Fault::Off);
        life.end().await;
        self.machines[who].disk = after;
        assert!(!becomes_copy || self.machines[who].restore());
        self.boot(who);
    }

    /// Of what was not synced nothing stays.
    async fn lose_power(&mut self, who: usize) {
        let life = self.machines[who].life.take().unwrap();
        let after = self.machines[who].disk.power_cut(|| false);
        life.end().await;
        self.machines[who].disk = after;
        self.boot(who);
    }

    /// A device comes back, and its line is cut, or the server says no, in the worst moment.
    async fn cut(&mut self, who: usize, what: &str) -> Result<(), String> {
        self.line(who, Line::Up);
        let before = self.centre.server.lock().seq();
        match what {
            "the answer is lost for" => self.until(|server| server.seq() > before).await,
            "the second page is lost for" => {
                let pages = self.centre.server.lock().pages_told();
                self.until(|server| server.pages_told() > pages + 1).await;
            }
            "the server refuses" => {
                self.centre.server.lock().refusals = 1_000;
                self.until(|server| !server.refused.contents.is_empty()).await;
                let mut server = self.centre.server.lock();
                server.refusals = 0;
                return Ok(());
            }
            _ => return Err("it says nothing".to_owned()),
        }
        self.line(who, Line::Down);
        Ok(())
    }

    /// What happens to the server, and to all.
    fn elsewhere(&mut self, what: &str) -> Result<(), String> {
        let mut server = self.centre.server.lock();
        match what {
            "together" => (0..self.machines.len()).for_each(|who| self.line(who, Line::Up)),
            "apart" => [0, 1].into_iter().for_each(|who| self.line(who, Line::Down)),
            "the server is copied" => self.backup = Some(server.backup()),
            "the server is its copy" => server.put_back(self.backup.clone().expect("a copy"), true),
            "the server is behind" => self.ahead = Some(server.lag(self.backup.clone().expect("a copy"))),
            "the server has caught up" => drop(server.lag(self.ahead.take().expect("it was behind"))),
            "the server forgets what is gone" => server.forget_gone(),
            "the account is full" => server.leave(Some(0)),
            "the account has room" => server.leave(None),
            "notices are lost" => server.is_mute = true,
            "notices come again" => server.is_mute = false,
            "the notice is wrong" => drop(self.centre.seq.send_replace(server.seq() + 100)),
            _ => return Err("it says nothing".to_owned()),
        }
        if what == "the server is its copy" {
            self.centre.seq.send_replace(server.seq());
        }
        Ok(())
    }

    pub async fn end(mut self) {
        for machine in &mut self.machines {
            machine.life.take().unwrap().end().await;
        }
    }
}
