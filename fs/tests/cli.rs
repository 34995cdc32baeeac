//! The built program, as far as it goes without a mount: exit status, messages, what it leaves on the disk.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A home of its own, with a name as long as wanted.
struct Home {
    dir: tempfile::TempDir,
    home: PathBuf,
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Home {
    fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join(name);
        Self { dir, home }
    }

    fn tarn(&self, args: &[&str], input: &str) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tarn"));
        command.args(args).env("TARN_HOME", &self.home).env_remove("TARN_LOG").current_dir(self.dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that refuses before it reads has closed its end already.
        let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn sign_in(&self) -> PathBuf {
        let file = self.home.join("credentials.json");
        std::fs::create_dir_all(&self.home).unwrap();
        let id = "11".repeat(16);
        let text = format!(
            "{{\"server\":\"http://127.0.0.1:1\",\"user\":\"ada\",\"user_id\":\"{id}\",\"device\":\"{id}\",\
             \"device_name\":\"desk\",\"home\":\"{id}\",\"token\":\"t\"}}"
        );
        std::fs::write(&file, text).unwrap();
        file
    }
}

impl Said {
    #[track_caller]
    fn failed_with(&self, code: i32, text: &str) {
        assert_eq!(self.code, Some(code), "{} {}", self.out, self.err);
        assert!(self.err.contains(text), "{}", self.err);
    }
}

#[test]
fn wrong_usage_is_2() {
    let home = Home::new("home");
    home.tarn(&["frobnicate"], "").failed_with(2, "frobnicate");
    home.tarn(&["mount"], "").failed_with(2, "DIR");
    home.tarn(&["mount", ".", "--cache-size", "lots"], "").failed_with(2, "10GiB");
    home.tarn(&["evict", "--all", "a", "b"], "").failed_with(2, "--all");
    home.tarn(&["login", "--server", "ftp://x", "--user", "a", "--password-stdin"], "x").failed_with(2, "http");
    assert!(!home.home.exists(), "wrong usage leaves nothing behind");
}

#[test]
fn one_line_says_what_to_do_when_nobody_is_signed_in() {
    let home = Home::new("home");
    std::fs::create_dir(home.dir.path().join("mount")).unwrap();
    for args in [&["mount", "mount"] as &[&str], &["mount", "mount", "--foreground"], &["logout"], &["devices"]] {
        let said = home.tarn(args, "");
        said.failed_with(1, "tarn login");
        assert!(said.err.starts_with("tarn: ") || args.contains(&"--foreground"), "{}", said.err);
    }
}

#[test]
fn commands_on_a_mount_say_that_there_is_none() {
    let home = Home::new(&"h".repeat(250));
    for args in [
        &["status"] as &[&str],
        &["status", "--json"],
        &["wait"],
        &["conflicts"],
        &["hydrate", "x"],
        &["evict", "--all"],
        &["pin", "x"],
        &["unpin", "x"],
    ] {
        home.tarn(args, "").failed_with(1, "nothing is mounted");
    }
    home.tarn(&["unmount", "."], "").failed_with(1, "is not mounted");
    home.tarn(&["unmount", "/proc"], "").failed_with(1, "not a Tarn mount");
}

#[test]
fn a_mount_point_that_will_not_do_is_refused_with_the_reason() {
    let home = Home::new("home");
    home.sign_in();
    let full = home.dir.path().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("f"), "").unwrap();
    home.tarn(&["mount", "none"], "").failed_with(1, "does not exist");
    home.tarn(&["mount", "full"], "").failed_with(1, "not empty");
    home.tarn(&["mount", "full/f"], "").failed_with(1, "not a directory");
    home.tarn(&["mount", "home"], "").failed_with(1, "in each other");
    home.tarn(&["mount", "/proc"], "").failed_with(1, "mount point already (proc)");
    assert!(home.home.join("daemon.log").exists());
    assert!(!home.home.join("daemon.json").exists());
}

#[test]
fn a_login_that_reaches_nobody_fails_and_leaves_nothing() {
    let home = Home::new("home");
    let login = ["login", "--server", "http://127.0.0.1:1", "--user", "ada", "--password-stdin"];
    home.tarn(&login, "secret\n").failed_with(1, "cannot be reached");
    home.tarn(&login, "").failed_with(1, "no password");
    let elsewhere = ["login", "--server", "http://tarn.example", "--user", "ada", "--password-stdin"];
    home.tarn(&elsewhere, "secret").failed_with(1, "https");
    assert!(!home.home.join("credentials.json").exists());
}

#[test]
fn a_home_belongs_to_one_account() {
    let home = Home::new("home");
    home.sign_in();
    let login = ["login", "--server", "http://127.0.0.1:1", "--user", "eve", "--password-stdin"];
    home.tarn(&login, "secret").failed_with(1, "another TARN_HOME");
}

#[test]
fn signing_out_forgets_the_token_even_if_the_server_is_away() {
    let home = Home::new("home");
    let file = home.sign_in();
    let said = home.tarn(&["logout"], "");
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("could not be told"), "{}", said.err);
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains("\"token\": null") && kept.contains("desk"), "{kept}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    home.tarn(&["logout"], "").failed_with(1, "not signed in");
}

#[test]
fn the_doctor_names_what_is_wrong_and_how_to_mend_it() {
    let home = Home::new("home");
    let said = home.tarn(&["doctor"], "");
    said.failed_with(1, "problem");
    assert!(said.out.contains("run `tarn login`"), "{}", said.out);
    let file = home.sign_in();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = home.tarn(&["doctor"], "");
    said.failed_with(1, "problem");
    for text in
        ["fuse device", "fusermount3", "disk space", "chmod 600", "does not answer", "none yet: the first mount"]
    {
        assert!(said.out.contains(text), "{text}: {}", said.out);
    }
}

#[test]
fn completions_and_manual_are_printed_without_a_home() {
    for shell in ["bash", "zsh", "fish"] {
        let said = Home::new("home").tarn(&["completions", shell], "");
        assert!(said.code == Some(0) && said.out.contains("hydrate"), "{shell}");
    }
    let man = Home::new("home").tarn(&["man"], "");
    assert_eq!(man.code, Some(0));
    for text in [".TH tarn 1", "tarn\\-mount", "hold\\-deletes", "Exit status"] {
        assert!(man.out.contains(text), "{text}");
    }
    assert!(!man.out.contains("\\-\\-report"), "what is internal is not shown");
}

#[test]
fn a_relative_home_means_the_same_for_command_and_daemon() {
    let home = Home::new("home");
    home.sign_in();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tarn"));
    command.args(["mount", "none"]).env("TARN_HOME", "home").current_dir(home.dir.path());
    let said = command.output().unwrap();
    let err = String::from_utf8(said.stderr).unwrap();
    assert!(err.contains("does not exist") && Path::new(&home.home).join("daemon.log").exists(), "{err}");
}
