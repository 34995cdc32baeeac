//! Owns the examples of docs/sync.md: what each says is done on simulated devices, and what is there in the end must be what
//! it says.

use super::device::{Life, Machine};
use super::handles::Handle;
use super::look::{bytes, list};
use super::net::{Centre, Line};
use super::server::SimServer;
use super::time::{MachineClock, Time};
use super::trace::Trace;
use super::user::name;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tarn::meta::rows::{Ino, ROOT};
use tarn::tree::{NewNode, NodeType, RenameRequest, TreeError};
use tarn_proto::node::NodeKind;
use tarn_proto::op::RenameMode;
use tokio::sync::watch;

const PAGE: &str = include_str!("../../../docs/sync.md");
/// Devices of an example; the last one only looks.
const DEVICES: [&str; 3] = ["a", "b", "c"];
/// After this long without rest something is wrong.
const PATIENCE: Duration = Duration::from_secs(3_600);

#[derive(Debug, Default)]
struct Example<'a> {
    rule: &'a str,
    steps: Vec<&'a str>,
    shown: Vec<&'a str>,
}

fn examples() -> Vec<Example<'static>> {
    let blocks = PAGE.split("```example\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.map(read).collect()
}

/// The first line says of which rule it is, `everywhere:` stands before what is there at the end.
fn read(block: &str) -> Example<'_> {
    let (steps, shown) = block.split_once("everywhere:\n").expect("what is there at the end");
    let mut steps = steps.lines();
    let rule = steps.next().and_then(|line| line.strip_prefix("# ")).expect("which rule it is of");
    Example { rule, steps: steps.collect(), shown: shown.lines().collect() }
}

/// The rows of the table of rules.
fn rules() -> Vec<&'static str> {
    let table = PAGE.split("| changes | result |\n|---|---|\n").nth(1).expect("the table");
    table.lines().map_while(|line| line.strip_prefix("| ")?.split(" | ").next()).collect()
}

struct Stage {
    time: Time,
    centre: Arc<Centre>,
    machines: Vec<Machine>,
    backup: Option<super::server::Backup>,
}

impl Stage {
    fn new(dir: &std::path::Path, time: Time) -> Self {
        let clock = Arc::new(MachineClock { time: time.clone(), skew_secs: 0 });
        let centre = Arc::new(Centre { server: Mutex::new(SimServer::new(None)), seq: watch::Sender::new(0), clock });
        let mut machines: Vec<Machine> = (0..DEVICES.len()).map(|who| Machine::new(who, 1, dir)).collect();
        for machine in &mut machines {
            machine.boot(&time, &centre, &Trace::default()).unwrap();
        }
        Self { time, centre, machines, backup: None }
    }

    fn life(&self, who: usize) -> &Life {
        self.machines[who].life().unwrap()
    }

    /// Until all that are on the network know of everything, and have nothing to say.
    async fn rest(&self) {
        let deadline = self.time.now() + PATIENCE;
        let is_up = |machine: &&Machine| *machine.line.borrow() == Line::Up;
        loop {
            let head = Some(self.centre.server.lock().cursor());
            let rests = |life: &Life| life.tree.first_ticket().is_none() && life.tree.cursor() == head;
            if self.machines.iter().filter(is_up).filter_map(Machine::life).all(rests) {
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

    async fn happen(&mut self, step: &str) {
        let device = |text: &str| DEVICES.iter().position(|device| *device == text);
        if let Some((who, deed)) = step.split_once(": ") {
            let who = device(who).unwrap_or_else(|| panic!("{step:?}: there is no such device"));
            let life = self.machines[who].life.as_mut().unwrap();
            return deed_of(life, deed).unwrap_or_else(|error| panic!("{step:?}: {error}"));
        }
        match step {
            "together" => DEVICES.iter().enumerate().for_each(|(who, _)| self.line(who, Line::Up)),
            "apart" => [0, 1].into_iter().for_each(|who| self.line(who, Line::Down)),
            "the server is copied" => self.backup = Some(self.centre.server.lock().backup()),
            "the server is its copy" => {
                let mut server = self.centre.server.lock();
                server.put_back(self.backup.take().expect("a copy"), true);
                self.centre.seq.send_replace(server.seq());
            }
            _ => {
                let who = step.strip_suffix(" returns").and_then(device);
                self.line(who.unwrap_or_else(|| panic!("{step:?} says nothing")), Line::Up);
            }
        }
        self.rest().await;
    }
}

fn find(life: &Life, path: &str) -> Result<(Ino, tarn_proto::name::Name), TreeError> {
    let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
    let mut dir = ROOT;
    for part in above.split('/').filter(|part| !part.is_empty()) {
        dir = life.tree.lookup(dir, &name(part))?.ino;
    }
    Ok((dir, name(last)))
}

fn deed_of(life: &mut Life, deed: &str) -> Result<(), TreeError> {
    if let Some(path) = deed.strip_prefix("opens ") {
        let (dir, name) = find(life, path)?;
        let ino = life.tree.lookup(dir, &name)?.ino;
        life.tree.opened(ino, true)?;
        life.handles.push(Handle { ino, writes: true, is_removed: false });
        return Ok(());
    }
    if let Some(text) = deed.strip_prefix("saves what it opened = ") {
        let Handle { ino, .. } = life.handles.pop().expect("a file that was opened");
        return save_opened(life, ino, text);
    }
    let two = |rest: &str, between: &str| rest.split_once(between).map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    if let Some(path) = deed.strip_suffix('/') {
        let (dir, name) = find(life, path)?;
        return life.tree.create(dir, &name, NewNode::plain(NodeKind::Dir, 0o755)).map(drop);
    }
    if let Some(rest) = deed.strip_prefix("save ") {
        let (path, text) = two(rest, " = ");
        let temporary = format!("{path}.tmp");
        write(life, &temporary, &text)?;
        return rename(life, (&temporary, &path), RenameMode::Replace);
    }
    if let Some(path) = deed.strip_prefix("rm ") {
        let (dir, name) = find(life, path)?;
        return remove(life, dir, &name);
    }
    if let Some(rest) = deed.strip_prefix("mv ") {
        let (from, to) = two(rest, " to ");
        return rename(life, (&from, &to), RenameMode::Replace);
    }
    if let Some(rest) = deed.strip_prefix("exchange ") {
        let (from, to) = two(rest, " and ");
        return rename(life, (&from, &to), RenameMode::Exchange);
    }
    if let Some(rest) = deed.strip_prefix("ln ") {
        let (from, to) = two(rest, " to ");
        let ((dir, old), (to_dir, new)) = (find(life, &from)?, find(life, &to)?);
        let ino = life.tree.lookup(dir, &old)?.ino;
        return life.tree.link(ino, to_dir, &new).map(drop);
    }
    let (path, text) = two(deed, " = ");
    write(life, &path, &text)
}

/// As `echo text > path` does.
fn write(life: &Life, path: &str, text: &str) -> Result<(), TreeError> {
    let (dir, name) = find(life, path)?;
    let ino = match life.tree.lookup(dir, &name) {
        Ok(stat) => {
            life.tree.opened(stat.ino, true)?;
            stat.ino
        }
        Err(TreeError::NotFound) => {
            let new = NewNode { open: Some(true), ..NewNode::plain(NodeKind::File, 0o644) };
            life.tree.create(dir, &name, new)?.ino
        }
        Err(error) => return Err(error),
    };
    save_opened(life, ino, text)
}

fn save_opened(life: &Life, ino: Ino, text: &str) -> Result<(), TreeError> {
    life.tree.truncate(ino, 0)?;
    life.tree.write(ino, 0, text.as_bytes())?;
    life.tree.closed(ino, true)
}

fn rename(life: &Life, (from, to): (&str, &str), mode: RenameMode) -> Result<(), TreeError> {
    let ((parent, name), (to_parent, to_name)) = (find(life, from)?, find(life, to)?);
    life.tree.rename(&RenameRequest { parent, name, to_parent, to_name, mode }).map(drop)
}

/// As `rm -r` does.
fn remove(life: &Life, dir: Ino, name: &tarn_proto::name::Name) -> Result<(), TreeError> {
    let stat = life.tree.lookup(dir, name)?;
    if !stat.kind.is_dir() {
        return life.tree.unlink(dir, name).map(drop);
    }
    for entry in list(&life.tree, stat.ino)? {
        remove(life, stat.ino, &entry.name)?;
    }
    life.tree.rmdir(dir, name).map(drop)
}

/// All that a device shows: `path = text`, with what its file held before (`path = text, before: text`), and `path/` of folders
/// with nothing in them.
fn shown(life: &Life, server: &SimServer) -> Result<Vec<String>, TreeError> {
    let (mut found, mut todo) = (Vec::new(), vec![(ROOT, String::new())]);
    while let Some((dir, path)) = todo.pop() {
        let entries = list(&life.tree, dir)?;
        if entries.is_empty() && dir != ROOT {
            found.push(path.clone());
        }
        for entry in entries {
            let here = format!("{path}{}", entry.name);
            if entry.node_type == NodeType::Dir {
                todo.push((entry.ino, format!("{here}/")));
            } else {
                let text = String::from_utf8_lossy(&bytes(life, server, entry.ino)?).into_owned();
                let before = history(life, server, entry.ino)?.into_iter().filter(|version| *version != text);
                found.push(
                    before.fold(format!("{here} = {text}"), |line, version| format!("{line}, before: {version}")),
                );
            }
        }
    }
    found = found.into_iter().map(|line| without_dates(&line)).collect();
    found.sort();
    Ok(found)
}

/// What the versions of a file hold.
fn history(life: &Life, server: &SimServer, ino: Ino) -> Result<BTreeSet<String>, TreeError> {
    let Some(node) = life.tree.published_file(ino)? else { return Ok(BTreeSet::new()) };
    let versions = server.versions_of(node).filter_map(|content| server.bytes_of(content));
    Ok(versions.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect())
}

/// `name (conflict from machine 1 2026-01-02)` is `name (conflict from b)` in the examples.
fn without_dates(line: &str) -> String {
    let Some((before, after)) = line.split_once("(conflict from machine ") else { return line.to_owned() };
    let (device, rest) = after.split_once(')').unwrap_or((after, ""));
    let who: usize = device[..1].parse().expect("a machine's number");
    format!("{before}(conflict from {}){}", DEVICES[who], without_dates(rest))
}

/// What is otherwise than the example says.
fn differences(example: &Example<'_>) -> Vec<String> {
    let mut differences = Vec::new();
    let dir = tempfile::tempdir().unwrap();
    let time = Time::default();
    time.run(async {
        let mut stage = Stage::new(dir.path(), time.clone());
        stage.rest().await;
        for step in &example.steps {
            stage.happen(step).await;
        }
        for (who, device) in DEVICES.iter().enumerate() {
            let shown = shown(stage.life(who), &stage.centre.server.lock()).unwrap();
            if shown != example.shown {
                differences.push(format!("{}: {device} shows {shown:#?}, not {:#?}", example.rule, example.shown));
            }
        }
        for machine in &mut stage.machines {
            machine.life.take().unwrap().end().await;
        }
    });
    differences
}

#[test]
fn each_example_in_the_description_of_sync_holds() {
    let examples = examples();
    for rule in rules() {
        assert!(examples.iter().any(|example| example.rule == rule), "there is no example of {rule:?}");
    }
    let differences: Vec<String> = examples.iter().flat_map(differences).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
