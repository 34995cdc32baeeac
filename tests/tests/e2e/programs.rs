//! Real programs work in a mount as on a local disk, and a second device has every byte of what they made.

use crate::converge;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tarn_tests::device::Device;
use tarn_tests::diff::same_tree;
use tarn_tests::process::is_root;
use tarn_tests::programs::run;
use tarn_tests::server::Server;
use tarn_tests::tree::{self, Shape};

fn pair(server: &Server, mount_args: &[&str]) -> (Device, Device) {
    let device = |name: &str| {
        let device = Device::new(server, name).unwrap().with_mount_args(mount_args);
        device.mount().unwrap();
        device
    };
    (device("a"), device("b"))
}

/// What a shell says in a folder, with no settings of whoever runs the tests.
#[track_caller]
fn shell(folder: &Path, script: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-ec", script]).current_dir(folder).env("HOME", "/nonexistent").env("LC_ALL", "C");
    for (name, value) in
        [("AUTHOR_NAME", "Ada"), ("AUTHOR_EMAIL", "a@b"), ("COMMITTER_NAME", "Ada"), ("COMMITTER_EMAIL", "a@b")]
    {
        command.env(format!("GIT_{name}"), value);
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null");
    run(&mut command, "").unwrap().ok().unwrap_or_else(|error| panic!("{script}: {error}")).stdout
}

#[test]
fn git_commits_clones_collects_and_checks_and_both_devices_have_it() {
    let server = crate::server();
    let (a, b) = pair(&server, &[]);
    let work = "git init -qb main repo; cd repo; for i in $(seq 60); do mkdir -p d$((i % 7)); seq $i 400 > d$((i % 7))/$i; done; \
        git add .; git commit -qm one; git worktree add -q ../tree; cd ../tree; sed -i s/1/one/ d1/*; git commit -qam two; cd ../repo; \
        git merge -q tree; git rm -qr d3; git commit -qm three; git gc -q; git repack -qad; git fsck --strict; cd ..; \
        git clone -q repo clone; git -C clone fsck --strict; git -C clone status --porcelain";
    assert_eq!(shell(a.path(), work), "");
    converge(&a, &b);
    let look = "git -C repo fsck --strict; git -C repo status --porcelain; git -C repo log --format=%H%s; git -C clone rev-parse HEAD";
    let seen = shell(b.path(), look);
    assert_eq!(seen.lines().count(), 4, "{seen}");
    assert_eq!(seen, shell(a.path(), look));
    shell(
        b.path(),
        "cd clone; echo more >> d1/1; git commit -qam four; git push -q origin HEAD:refs/heads/four; git gc -q",
    );
    converge(&a, &b);
    assert_eq!(
        shell(
            a.path(),
            "git -C repo fsck --strict; git -C repo log --format=%s -1 four; git -C clone status --porcelain"
        ),
        "four\n"
    );
}

/// Two programs that add rows at the same time.
fn two_writers(folder: &Path, journal: &str) {
    shell(
        folder,
        &format!("sqlite3 db-{journal} 'pragma journal_mode={journal}; create table t(who, n, text);' > /dev/null"),
    );
    let writer = |who: u32| {
        let folder = folder.to_owned();
        let insert = format!("insert into t values({who}, abs(random()) % 1000, hex(randomblob(600)));");
        let script = format!(
            "{{ echo .timeout 25000; for i in $(seq 60); do echo '{insert}'; done; }} | sqlite3 -bail db-{journal}"
        );
        thread::spawn(move || shell(&folder, &script))
    };
    [writer(1), writer(2)].into_iter().for_each(|writer| drop(writer.join().unwrap()));
}

#[test]
fn sqlite_keeps_its_word_with_two_writers_in_both_journal_modes() {
    let server = crate::server();
    let (a, b) = pair(&server, &[]);
    let ask = |folder: &Path, journal: &str| {
        shell(
            folder,
            &format!("sqlite3 db-{journal} 'pragma integrity_check; select who, count(*) from t group by who'"),
        )
    };
    for journal in ["delete", "wal"] {
        two_writers(a.path(), journal);
        assert_eq!(ask(a.path(), journal), "ok\n1|60\n2|60\n");
    }
    converge(&a, &b);
    for journal in ["delete", "wal"] {
        assert_eq!(ask(b.path(), journal), "ok\n1|60\n2|60\n");
        let dump = format!("sqlite3 db-{journal} .dump");
        assert!(shell(a.path(), &dump) == shell(b.path(), &dump));
    }
}

#[test]
fn rsync_goes_there_and_back_with_links_acls_and_attributes() {
    if !is_root() {
        return eprintln!("skipped: only root may write into the top folder of a new account with --posix");
    }
    let server = crate::server();
    let (a, b) = pair(&server, &["--posix"]);
    let local = tempfile::tempdir().unwrap();
    let (from, back) = (local.path().join("from"), local.path().join("back"));
    fs::create_dir(&from).unwrap();
    tree::build(&from, 12, &Shape::tiny()).unwrap();
    let dress = "mkdir x; seq 1000 > x/f; ln x/f x/g; ln -s f x/s; mkfifo x/p; setfacl -m u:1:rw x/f; setfacl -d -m g:1:rx x; \
        setfattr -n user.colour -v red x/f; chmod 2750 x; touch -d '1960-01-02 03:04:05.123456789' x/f; truncate -s 1M x/sparse";
    shell(&from, dress);
    // To rsync two times of one second are equal: those of what was made just now would not be set at all.
    shell(&from, "find . ! -type f -exec touch -hd '2001-02-03 04:05:06.789012345' {} +");
    let copy = |from: &Path, to: &Path| {
        run(Command::new("rsync").arg("-aHAX").args([from.join(""), to.join("")]), "").unwrap().ok().unwrap();
    };
    let compare = |one: &Path, other: &Path| {
        let mut command = Command::new("rsync");
        command.args(["-aHAXnci", "--delete", "--modify-window=-1"]).args([one.join(""), other.join("")]);
        assert_eq!(
            run(&mut command, "").unwrap().ok().unwrap().stdout,
            "",
            "{} against {}",
            one.display(),
            other.display()
        );
    };
    copy(&from, &a.join("copy"));
    compare(&from, &a.join("copy"));
    converge(&a, &b);
    compare(&from, &b.join("copy"));
    copy(&b.join("copy"), &back);
    compare(&from, &back);
}

#[test]
fn tar_finds_no_difference_on_the_other_device() {
    let server = crate::server();
    let (a, b) = pair(&server, &[]);
    let local = tempfile::tempdir().unwrap();
    let from = local.path().join("from");
    fs::create_dir(&from).unwrap();
    tree::build(&from, 13, &Shape::tiny()).unwrap();
    let long = "n".repeat(255);
    shell(
        &from,
        &format!("seq 5000 > {long}; ln {long} hard; ln -s {long} soft; touch -d @1.5 hard; chmod 400 {long}"),
    );
    shell(local.path(), "tar -cf a.tar -C from .");
    let archive = local.path().join("a.tar");
    shell(a.path(), &format!("mkdir out; tar -xf {} -C out", archive.display()));
    converge(&a, &b);
    same_tree(&from, &b.join("out")).unwrap();
    assert_eq!(shell(b.path(), &format!("tar -df {} -C out", archive.display())), "");
    shell(b.path(), "tar -cf back.tar -C out .");
    converge(&a, &b);
    assert_eq!(shell(a.path(), "tar -df back.tar -C out; mkdir again; tar -xf back.tar -C again"), "");
    same_tree(&from, &a.join("again")).unwrap();
}

#[test]
fn editors_save_in_their_ways_and_nothing_of_theirs_is_left() {
    let server = crate::server();
    let (a, b) = pair(&server, &[]);
    fs::write(a.join("text"), "first line\nsecond line\n").unwrap();
    converge(&a, &b);
    let vim = |set: &str, change: &str| {
        format!("vim -es -u NONE -i NONE -c 'set backupskip= {set}' -c '{change}' -c 'wq' text < /dev/null")
    };
    shell(a.path(), &vim("backup writebackup backupcopy=no backupdir=. directory=.", "%s/first/1st/"));
    shell(a.path(), &vim("nobackup writebackup backupcopy=yes backupdir=. directory=. swapfile", "%s/second/2nd/"));
    shell(a.path(), "sed -i 's/line/row/' text; cp text t2; mv t2 text");
    converge(&a, &b);
    assert_eq!(fs::read_to_string(b.join("text")).unwrap(), "1st row\n2nd row\n");
    shell(b.path(), &vim("nobackup nowritebackup", "%s/row/line/"));
    converge(&a, &b);
    assert_eq!(fs::read_to_string(a.join("text")).unwrap(), "1st line\n2nd line\n");
    let mut names = shell(a.path(), "ls -A").lines().map(String::from).collect::<Vec<_>>();
    names.sort();
    assert_eq!(names, ["text", "text~"], "vim's backup is a person's wish, the rest is gone");
}

/// Delivers as maildir(5) says: written and synced in `tmp`, then moved to `new`.
fn deliver(maildir: &Path, by: &str, number: usize) {
    let name = format!("{number}.{by}.host");
    let mut file = File::options().write(true).create_new(true).open(maildir.join("tmp").join(&name)).unwrap();
    file.write_all(format!("Subject: {by} {number}\n\n{}", "text ".repeat(number)).as_bytes()).unwrap();
    file.sync_all().unwrap();
    fs::hard_link(maildir.join("tmp").join(&name), maildir.join("new").join(&name)).unwrap();
    fs::remove_file(maildir.join("tmp").join(&name)).unwrap();
}

#[test]
fn mail_is_delivered_once_while_it_is_read() {
    const EACH: usize = 60;
    let server = crate::server();
    let (a, b) = pair(&server, &[]);
    let maildir = a.join("Maildir");
    ["tmp", "new", "cur"].iter().for_each(|name| fs::create_dir_all(maildir.join(name)).unwrap());
    let deliverers: Vec<_> = ["one", "two"]
        .map(|by| {
            let maildir = maildir.clone();
            thread::spawn(move || (0..EACH).for_each(|number| deliver(&maildir, by, number)))
        })
        .into();
    let (started, mut read) = (Instant::now(), 0);
    while read < 2 * EACH && started.elapsed() < Duration::from_secs(60) {
        for entry in fs::read_dir(maildir.join("new")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            fs::rename(maildir.join("new").join(&name), maildir.join("cur").join(format!("{name}:2,S"))).unwrap();
            read += 1;
        }
    }
    deliverers.into_iter().for_each(|deliverer| deliverer.join().unwrap());
    converge(&a, &b);
    assert_eq!(fs::read_dir(b.join("Maildir/cur")).unwrap().count(), 2 * EACH);
    let first = fs::read_to_string(b.join("Maildir/cur/7.two.host:2,S")).unwrap();
    assert_eq!(first, format!("Subject: two 7\n\n{}", "text ".repeat(7)));
    assert_eq!(shell(b.path(), "ls Maildir/tmp Maildir/new | grep -c host || true"), "0\n");
}

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone by now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn inotifywait_sees_what_programs_do_here() {
    let server = crate::server();
    let (a, b) = pair(&server, &[]);
    fs::create_dir(a.join("watched")).unwrap();
    let mut command = Command::new("inotifywait");
    command.args(["-m", "--format", "%e %f"]).arg(a.join("watched")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watcher = Running(command.spawn().unwrap());
    let mut said = BufReader::new(watcher.0.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("Watches established") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "inotifywait watches nothing");
    }
    let (tell, told) = mpsc::channel();
    let output = BufReader::new(watcher.0.stdout.take().unwrap());
    let reader = thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    shell(&a.join("watched"), "echo x > f; chmod 600 f; mv f g; ln g h; rm g; mkdir d");
    let expected = [
        "CREATE f",
        "MODIFY f",
        "CLOSE_WRITE,CLOSE f",
        "ATTRIB f",
        "MOVED_FROM f",
        "MOVED_TO g",
        "CREATE h",
        "DELETE g",
        "CREATE,ISDIR d",
    ];
    let mut seen: Vec<String> = Vec::new();
    while seen.last().is_none_or(|last| last != expected[expected.len() - 1]) {
        seen.push(told.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("only {seen:?}")));
    }
    let mut wanted = expected.iter().peekable();
    for event in &seen {
        wanted.next_if(|wanted| **wanted == event);
    }
    assert_eq!(wanted.next(), None, "{seen:?}");
    drop(watcher);
    drop(reader.join().unwrap());
    converge(&a, &b);
    assert_eq!(fs::read_to_string(b.join("watched/h")).unwrap(), "x\n");
}

#[test]
fn cargo_builds_in_the_mount_and_the_other_device_runs_what_it_made() {
    let server = crate::server();
    let (a, b) = pair(&server, &[]);
    let build = |change: &str| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--offline", "--quiet"]).current_dir(a.join("hello")).env_remove("CARGO_TARGET_DIR");
        shell(a.path(), change);
        run(&mut command, "").unwrap().ok().unwrap();
        shell(a.path(), "hello/target/debug/hello")
    };
    let new = "mkdir -p hello/src; cd hello; printf '[package]\\nname = \"hello\"\\nedition = \"2021\"\\n[workspace]\\n' > Cargo.toml; \
        echo 'fn main() { println!(\"one\") }' > src/main.rs";
    assert_eq!(build(new), "one\n");
    assert_eq!(build("sed -i s/one/two/ hello/src/main.rs"), "two\n");
    converge(&a, &b);
    assert_eq!(shell(b.path(), "hello/target/debug/hello"), "two\n");
    let mut bytes = Vec::new();
    File::open(b.join("hello/target/debug/hello")).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(&bytes[..4], b"\x7fELF");
}

#[test]
fn libreoffice_converts_and_saves_over_and_each_device_opens_what_the_other_saved() {
    let server = crate::server();
    let (a, b) = pair(&server, &[]);
    let profile = tempfile::tempdir().unwrap();
    let office = |device: &Device, work: &str| {
        let place = profile.path().display();
        let define = format!(
            "office() {{ timeout 100 soffice -env:UserInstallation=file://{place} --headless --convert-to \"$@\" >&2; }}"
        );
        shell(device.path(), &format!("{define}; {work}"))
    };
    let make = "printf 'month,sum\nMay,1\n' > sums.csv; office ods sums.csv; seq 300 > text.txt; office odt text.txt; office pdf sums.ods text.odt";
    office(&a, make);
    converge(&a, &b);
    office(&b, "echo June,2 >> sums.csv; office ods sums.csv");
    converge(&a, &b);
    let look = "office csv --outdir back sums.ods; cat back/sums.csv; rm -r back; head -qc 5 *.pdf; echo; ls -A";
    let names = ["sums.csv", "sums.ods", "sums.pdf", "text.odt", "text.pdf", "text.txt"];
    assert_eq!(office(&a, look), format!("month,sum\nMay,1\nJune,2\n%PDF-%PDF-\n{}\n", names.join("\n")));
    converge(&a, &b);
}
