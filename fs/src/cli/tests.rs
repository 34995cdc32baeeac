//! The grammar of the command line, and that docs/cli.md says what it is.

#![allow(clippy::unwrap_used)]

use super::args::{Cli, Command, DeviceAction};
use clap::{CommandFactory, Parser};
use std::fmt::Write;
use std::path::PathBuf;

fn parse(line: &str) -> Result<Command, i32> {
    Cli::try_parse_from(line.split(' ')).map(|cli| cli.command).map_err(|error| error.exit_code())
}

#[test]
fn the_commands_of_the_contract_are_understood() {
    for line in [
        "tarn login --server http://127.0.0.1:7420 --user ada --password-stdin",
        "tarn login --server https://x --user ada --password-stdin --device desk",
        "tarn logout",
        "tarn devices",
        "tarn devices --json",
        "tarn devices revoke desk",
        "tarn mount DIR",
        "tarn mount DIR --cache-size 10GiB --foreground --allow-other --posix --read-only --read-timeout 30s \
         --hold-deletes off --log-level debug",
        "tarn mount DIR --hold-deletes 1000,30",
        "tarn mount DIR --files-in-memory 100",
        "tarn unmount DIR",
        "tarn unmount DIR --now --timeout 5",
        "tarn status",
        "tarn status PATH --json",
        "tarn wait",
        "tarn wait PATH --timeout 0.5",
        "tarn conflicts",
        "tarn conflicts PATH --json",
        "tarn hydrate A B",
        "tarn evict A B",
        "tarn evict --all",
        "tarn evict --all MOUNT",
        "tarn pin A B",
        "tarn unpin A",
        "tarn undo",
        "tarn undo MOUNT",
        "tarn undo --device desk --since 2h",
        "tarn undo --device desk --since 2026-11-20T22:25:45Z",
        "tarn verify",
        "tarn verify PATH --json --light",
        "tarn doctor",
        "tarn completions bash",
        "tarn man",
    ] {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(parse(&line).is_ok(), "{line}");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    for line in [
        "tarn",
        "tarn frobnicate",
        "tarn login --server x --user y",
        "tarn login --user y --password-stdin",
        "tarn mount",
        "tarn mount DIR --cache-size lots",
        "tarn mount DIR --hold-deletes 5",
        "tarn mount DIR --read-timeout soon",
        "tarn mount DIR --files-in-memory 99",
        "tarn mount DIR --files-in-memory few",
        "tarn mount DIR --log-level loud",
        "tarn mount DIR --report",
        "tarn unmount",
        "tarn wait --timeout never",
        "tarn hydrate",
        "tarn evict",
        "tarn pin",
        "tarn unpin",
        "tarn devices revoke",
        "tarn completions tcsh",
        "tarn status --jason",
        "tarn undo --device desk",
        "tarn undo --since 2h",
        "tarn undo MOUNT --device desk --since 2h",
        "tarn undo --device desk --since yesterday",
        "tarn verify --walker",
        "tarn verify PATH --walker DIR",
    ] {
        assert_eq!(parse(line).err(), Some(2), "{line}");
    }
    assert_eq!(parse("tarn --help").err(), Some(0));
    assert_eq!(parse("tarn mount --help").err(), Some(0));
    assert_eq!(parse("tarn --version").err(), Some(0));
}

#[test]
fn defaults_are_those_of_the_contract() {
    let Ok(Command::Mount(mount)) = parse("tarn mount DIR") else { panic!("mount") };
    assert_eq!((mount.cache_size, mount.read_timeout.as_secs()), (10 << 30, 30));
    assert!(!mount.foreground && !mount.posix && !mount.read_only && !mount.allow_other);
    let Ok(Command::Devices(devices)) = parse("tarn devices revoke desk") else { panic!("devices") };
    assert!(matches!(devices.action, Some(DeviceAction::Revoke { name }) if name == "desk"));
}

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

const BEGIN: &str = "<!-- help: begin -->";
const END: &str = "<!-- help: end -->";

/// What each command says to `--help`, whatever the terminal.
fn help() -> String {
    let mut program = Cli::command().term_width(100);
    program.build();
    let mut text = format!("\n```text\n{}```\n", trimmed(&program.render_help().to_string()));
    for command in
        program.get_subcommands_mut().filter(|command| command.get_name() != "help" && !command.is_hide_set())
    {
        let name = command.get_name().to_owned();
        let said = command.render_help().to_string();
        write!(text, "\n### tarn {name}\n\n```text\n{}```\n", trimmed(&said)).unwrap();
    }
    text
}

fn trimmed(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Run with `TARN_UPDATE_DOCS=1` to write what the command line says now.
#[test]
fn docs_cli_md_says_what_help_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).expect("the document marks where the help begins");
    let (written, after) = rest.split_once(END).expect("and where it ends");
    if std::env::var_os("TARN_UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}\n{}\n{END}{after}", help())).unwrap();
        return;
    }
    assert_eq!(written.trim(), help().trim(), "docs/cli.md is out of date: run this test with TARN_UPDATE_DOCS=1");
}
