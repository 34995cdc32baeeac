//! Owns the examples of docs/sync.md that need a server that runs and mounts: commands of people, and what they say.
//!
//! `a$ COMMAND` runs a command of bash in a's mount; the lines behind it are what it says, and `exit N` if it fails. With `&` at
//! its end it runs beside the next one. `a? COMMAND` is looked at until it says that.

use crate::{CONVERGENCE, server, undo};
use std::process::Command;
use tarn_tests::device::Device;
use tarn_tests::diff::{entries, same_tree};
use tarn_tests::page::{self, Example, Place, SYNC};
use tarn_tests::programs::program;
use tarn_tests::relay::{Mode, Relay};
use tarn_tests::server::Server;
use tarn_tests::wait::{eventually, within};

const DEVICES: [&str; 3] = ["a", "b", "c"];

/// A device, and its way to the server.
struct Person {
    relay: Relay,
    device: Device,
    is_up: bool,
}

struct Stage {
    people: Vec<Person>,
    /// The beginning of the second in which something is about to happen, for `tarn undo`.
    second: String,
    _server: Server,
}

/// One line, and what is said after it.
struct Step<'a> {
    text: &'a str,
    said: Vec<&'a str>,
}

fn is_step(line: &str) -> bool {
    let acts = |name: &&str| line.strip_prefix(*name).is_some_and(|rest| rest.starts_with(['$', '?', ' ']));
    DEVICES.iter().any(acts) || ["together", "apart", "the second ends"].contains(&line)
}

fn steps<'a>(lines: &[&'a str]) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = Vec::new();
    for line in lines {
        match steps.last_mut() {
            Some(last) if !is_step(line) => last.said.push(line),
            _ => steps.push(Step { text: line, said: Vec::new() }),
        }
    }
    steps
}

impl Stage {
    fn new() -> Self {
        let server = server();
        let person = |name| {
            let relay = Relay::start(server.address()).unwrap();
            let device = Device::at(&relay.url(), name).unwrap();
            device.mount().unwrap();
            Person { relay, device, is_up: true }
        };
        Self { people: DEVICES.into_iter().map(person).collect(), second: String::new(), _server: server }
    }

    fn who(&self, step: &str) -> usize {
        DEVICES.iter().position(|name| step.starts_with(name)).unwrap_or_else(|| panic!("{step:?} says nothing"))
    }

    fn up(&mut self, who: usize) {
        self.people[who].relay.set(Mode::Pass);
        self.people[who].is_up = true;
    }

    fn down(&mut self, who: usize) {
        self.people[who].relay.set(Mode::Refuse);
        self.people[who].is_up = false;
    }

    /// Until all that are on the network have sent what they did, and show the same.
    fn rest(&self) {
        let up: Vec<&Device> = self.people.iter().filter(|person| person.is_up).map(|person| &person.device).collect();
        up.iter().for_each(|device| device.wait().unwrap());
        let mut last = Ok(());
        within(CONVERGENCE, || {
            last = up.iter().try_for_each(|device| same_tree(up[0].path(), device.path()));
            last.is_ok()
        });
        last.unwrap();
    }

    fn command(&self, who: usize, text: &str) -> Command {
        let Person { device, .. } = &self.people[who];
        let mut path = program("tarn").parent().unwrap().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = device.command("timeout");
        command.args(["60", "bash", "-c", text]).current_dir(device.path());
        command.env("PATH", path).env("TARN_HOME", device.home()).env("SECOND", &self.second);
        command
    }

    fn says(&self, who: usize, text: &str) -> Vec<String> {
        let output = self.command(who, text).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut said: Vec<String> = said.lines().map(ToOwned::to_owned).collect();
        said.extend(output.status.code().filter(|code| *code != 0).map(|code| format!("exit {code}")));
        said
    }

    fn happen(&mut self, Step { text, said }: &Step<'_>) {
        match *text {
            "together" => {
                (0..self.people.len()).for_each(|who| self.up(who));
                self.rest();
            }
            "apart" => [0, 1].into_iter().for_each(|who| self.down(who)),
            "the second ends" => self.second = undo::moment(),
            _ => self.person(text, said),
        }
    }

    fn person(&mut self, text: &str, said: &[&str]) {
        let (who, rest) = (self.who(text), &text[1..]);
        if let Some(command) = rest.strip_prefix("$ ") {
            assert_eq!(self.says(who, command), said, "{text}");
        } else if let Some(command) = rest.strip_prefix("? ") {
            let mut last = Vec::new();
            within(CONVERGENCE, || {
                last = self.says(who, command);
                last == said
            });
            assert_eq!(last, said, "{text}");
        } else if let Some(option) = rest.strip_prefix(" is mounted with ") {
            self.remount(who, option);
        } else {
            match rest {
                " leaves" => self.down(who),
                " returns" => {
                    self.up(who);
                    self.rest();
                }
                _ => panic!("{text:?} says nothing"),
            }
        }
    }

    fn remount(&mut self, who: usize, option: &str) {
        let Person { relay, device, is_up } = self.people.remove(who);
        device.unmount().unwrap();
        let device = device.with_mount_args(&option.split(' ').collect::<Vec<_>>());
        device.mount().unwrap();
        self.people.insert(who, Person { relay, device, is_up });
    }

    /// What a device shows: `path = text`, with `|` and `\r` for the ends of lines, and `path/` of folders with nothing in them.
    fn shown(&self, who: usize) -> Vec<String> {
        let root = self.people[who].device.path();
        let Ok(found) = entries(root) else { return vec!["it cannot be read".to_owned()] };
        let mut lines = Vec::new();
        for (path, meta) in &found {
            let name = path.display();
            if meta.is_file() {
                let text = std::fs::read_to_string(root.join(path)).unwrap_or_default();
                let mode = std::os::unix::fs::MetadataExt::mode(meta) & 0o7777;
                let mode = if mode == 0o644 { String::new() } else { format!(", mode {mode:o}") };
                lines.push(page::without_dates(&format!(
                    "{name} = {}{mode}",
                    text.replace('\r', "\\r").replace('\n', "|")
                )));
            } else if !found.keys().any(|below| below.parent() == Some(path)) {
                lines.push(format!("{name}/"));
            }
        }
        lines.sort();
        lines
    }
}

/// Commands that end in `&` run at the same time as what comes next.
fn run(stage: &mut Stage, steps: &[Step<'_>]) {
    let mut at = 0;
    while let Some(step) = steps.get(at) {
        let beside = steps[at..].iter().take_while(|step| step.text.ends_with(" &")).count();
        if beside == 0 {
            stage.happen(step);
            at += 1;
            continue;
        }
        let running: Vec<_> = steps[at..at + beside]
            .iter()
            .map(|step| {
                let command = step.text[2..].trim_end_matches('&');
                stage.command(stage.who(step.text), command).spawn().unwrap()
            })
            .collect();
        let done = running.into_iter().filter_map(|mut child| child.wait().unwrap().success().then_some(()));
        assert!(done.count() > 0, "none of these was done: {}", step.text);
        at += beside;
    }
}

fn does_as_it_says(example: &Example<'_>) {
    println!("{}", example.title);
    let mut stage = Stage::new();
    run(&mut stage, &steps(&example.steps));
    let Some(expected) = &example.shown else { return };
    let mut last = Vec::new();
    for (who, device) in DEVICES.into_iter().enumerate() {
        within(CONVERGENCE, || {
            last = stage.shown(who);
            last == *expected
        });
        assert_eq!(last, *expected, "{}: what {device} shows", example.title);
    }
    eventually(CONVERGENCE, "all is sent", || stage.people.iter().all(|person| person.device.wait().is_ok()));
}

#[test]
fn the_examples_of_docs_sync_md_in_mounts() {
    let only = std::env::var("TARN_EXAMPLE").unwrap_or_default();
    let all = page::examples(SYNC).into_iter().filter(|example| example.place == Place::Mounts);
    let chosen: Vec<_> = all.filter(|example| example.title.contains(&only)).collect();
    assert!(!chosen.is_empty());
    chosen.iter().for_each(does_as_it_says);
}
