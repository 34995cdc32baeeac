//! What the flags of `chattr` protect, through the kernel.

use super::live::Live;
use std::process::Command;

#[test]
fn immutable_and_append_only_refuse_what_they_must() {
    let mount = Live::new();
    let mount = mount.path();
    // Only root may set them.
    if !rustix::process::getuid().is_root() {
        return;
    }
    let refused = |script: &str| {
        let output = Command::new("sh").args(["-c", script]).current_dir(mount).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("not permitted"), "{script}: {said}");
    };
    let done = |script: &str| {
        let output = Command::new("sh").args(["-c", script]).current_dir(mount).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    };
    done("echo 1 > i; echo 1 > a; mkdir id ad; echo 1 > id/f; echo 1 > ad/f; chattr +i i id; chattr +a a ad");
    ["echo 2 > i", "echo 2 >> i", "rm i", "mv i j", "ln i j", "chmod 600 i", "touch i", "truncate -s 0 i"]
        .into_iter()
        .for_each(refused);
    ["setfattr -n user.a -v b i", "rm id/f", "touch id/new", "mv id/f f", "mkdir id/new", "rmdir id"]
        .into_iter()
        .for_each(refused);
    ["echo 2 > a", "rm a", "mv a b", "ln a b", "chmod 600 a", "truncate -s 0 a", "rm ad/f", "mv ad/f f"]
        .into_iter()
        .for_each(refused);
    ["fallocate -p -o 0 -l 1 a", "mv -T i a", "mv -T f2 a", "mv -T a f2"].into_iter().for_each(|script| {
        done("echo 2 > f2");
        refused(script);
    });
    done(
        "echo 2 >> a && echo 2 > ad/new && echo 2 > id/f && [ \"$(cat a)\" = \"$(printf '1\\n2')\" ] && [ \"$(cat i)\" = 1 ]",
    );
    done("chattr -i i id && chattr -a a ad && rm -r i a id ad f2");
}
