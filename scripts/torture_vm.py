"""A small Debian with a systemd of its own for `scripts/torture --only systemd`, under a Linux in user mode: a whole kernel that is an ordinary process
here, so that neither KVM nor root is needed to run it, and nothing of this machine is changed. Image and kernel are made once (as root) and kept under target/tools."""
import hashlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from torture_house import Failed, must, run

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent / "target/tools"
SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = ["systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "udev", "fuse3", "python3"]
DISK_MIB, MEMORY_MIB = 4096, 1536
# What is in the image beside the packages. The second disk has the proof; when that is over the machine goes off.
FILES = {
    "etc/fstab": "/dev/disk/by-label/root / ext4 defaults 0 0\n/dev/disk/by-label/proof /proof ext4 defaults 0 0\n",
    "etc/hostname": "guest\n",
    "etc/systemd/system/proof.service":
        "[Unit]\nRequiresMountsFor=/proof\nAfter=systemd-logind.service dbus.service systemd-user-sessions.service\n"
        "[Service]\nEnvironment=HOME=/root\nExecStart=/usr/bin/python3 /proof/boot.py\nExecStopPost=/usr/bin/systemctl --no-block poweroff\n"
        "StandardOutput=journal+console\nStandardError=journal+console\n"
        "[Install]\nWantedBy=multi-user.target\n",
}
SETTLE = "mkdir $1/proof; chroot $1 useradd --create-home --uid 1000 ana; chroot $1 systemctl --quiet enable proof.service; " \
         "chroot $1 systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service getty@tty1.service"
# The newest source of Linux that Debian has for this suite.
SOURCE = "chroot $1 sh -ec 'cd /srv; apt-get -qq download $(apt-cache search --names-only \"^linux-source-[0-9.]+$\" | cut -d \" \" -f 1 | sort -V | tail -n 1)'"
# A daemon that is killed while it reads a request reads it to the end only where the kernel finds its memory without waiting, as on every processor. In
# user mode Linux can do that (no entry of its page tables is special), but does not say so.
CHANGES = {"arch/um/Kconfig": ("\tselect GENERIC_SMP_IDLE_THREAD\n", "\tselect GENERIC_SMP_IDLE_THREAD\n\tselect HAVE_GUP_FAST\n"),
           "mm/gup.c": ("#ifdef CONFIG_ARCH_HAS_PTE_SPECIAL\n", "#if 1\n")}


def apt_of_this_machine():
    """The mirror that this machine's apt takes Debian from, and its settings that say how to get there."""
    code, output = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL)", "Created-By: Packages", "Origin: Debian")
    mirrors = re.findall(r"^(\S+) Debian$", output, re.MULTILINE) if code == 0 else []
    code, output = run("apt-config", "dump", "Acquire")
    proxies = re.findall(r'^(Acquire::https?::Proxy.*?) "(.+)";$', output, re.MULTILINE) if code == 0 else []
    return (mirrors or [MIRROR])[0], [f'--aptopt={name} "{value}"' for name, value in proxies]


def image():
    """The folder with root.ext4 and linux; made the first time, some ten minutes."""
    config = (HERE / "guest/kernel.config").read_text(encoding="utf-8")
    recipe = json.dumps([SUITE, PACKAGES, DISK_MIB, FILES, SETTLE, SOURCE, CHANGES, config])
    place = TOOLS / f"vm-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if place.is_dir():
        return place
    if os.geteuid() != 0:
        raise Failed("the image of the virtual machine is made as root, once")
    TOOLS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vm.", dir=TOOLS) as name:
        scratch = Path(name)
        out, tree = scratch / "out", scratch / "tree"
        out.mkdir()
        make_tree(scratch, tree)
        make_kernel(scratch, next((tree / "srv").glob("linux-source-*.deb")), config)
        os.rename(scratch / "linux", out / "linux")
        must("mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", tree, out / "root.ext4", f"{DISK_MIB}M", timeout=600)
        os.rename(out, place)
    return place


def make_tree(scratch, tree):
    mirror, options = apt_of_this_machine()
    sources = [f"deb {mirror} {suite} main" for suite in (SUITE, f"{SUITE}-backports")]
    files = scratch / "files"
    for name, text in FILES.items():
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_text(text, encoding="utf-8")
    must("mmdebstrap", "--quiet", "--mode=root", "--format=directory", "--variant=minbase", f"--include={','.join(PACKAGES)}", '--aptopt=Apt::Install-Recommends "false"', *options,
         f"--customize-hook=copy-in {files}/etc /", f"--customize-hook={SETTLE}", f"--customize-hook={SOURCE}", SUITE, tree, *sources, timeout=1800)


def make_kernel(scratch, package, config):
    """A Linux in user mode with what `config` says."""
    must("sh", "-ec", f"dpkg-deb --fsys-tarfile {package} | tar -x -C {scratch} ./usr/src; rm {package}; xz -dc {scratch}/usr/src/linux-source-*.tar.xz | tar -x -C {scratch}", timeout=1800)
    source = next(scratch.glob("linux-source-*"))
    for name, (before, after) in CHANGES.items():
        text = (source / name).read_text(encoding="utf-8")
        if text.count(before) != 1:
            raise Failed(f"{name} of {source.name} is not what it was")
        (source / name).write_text(text.replace(before, after), encoding="utf-8")
    make = ["make", "-s", "-C", source, "ARCH=um", f"-j{os.cpu_count()}"]
    must(*make, "tinyconfig")
    with open(source / ".config", "a", encoding="utf-8") as file:
        file.write(config)
    must(*make, "olddefconfig")
    taken = (source / ".config").read_text(encoding="utf-8").splitlines()
    if missing := [line for line in config.splitlines() if line.startswith("CONFIG_") and line not in taken]:
        raise Failed(f"{source.name} does not take {missing}")
    must(*make, "linux", timeout=7200)
    os.rename(source / "linux", scratch / "linux")


class Machine:
    """A Linux in user mode, whose second disk has the files of `staged`; its console is in a file."""

    def __init__(self, place, staged):
        self.place, self.console, self.disk, self.process = place, place / "console", place / "proof.ext4", None
        must("mke2fs", "-q", "-t", "ext4", "-L", "proof", "-d", staged, self.disk, f"{DISK_MIB}M", timeout=600)

    def command(self, folder):
        """What changes on the first disk stays in a file of its own. With `seccomp=on` programs run nearly as fast as elsewhere."""
        return [folder / "linux", f"mem={MEMORY_MIB}M", "seccomp=on", "root=/dev/ubda", "rw", "quiet", "systemd.show_status=0",
                f"ubd0={self.place}/root.changes,{folder}/root.ext4", f"ubd1={self.disk}", "con0=null,fd:1", "con=null", "ssl=null", f"uml_dir={self.place}"]

    def run(self, seconds, say):
        """Runs until it switches itself off; tells what it says of the proof."""
        end, told, folder = time.monotonic() + seconds, 0, image()
        with open(self.console, "wb") as console:
            self.process = subprocess.Popen(self.command(folder), stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True)
        while self.process.poll() is None:
            if time.monotonic() > end:
                raise Failed(f"the virtual machine is not done after {seconds:,.0f} s: {self.said()[-1500:]}")
            time.sleep(0.5)
            lines = re.findall(r"(?:proof|system|user): .*(?=\n)", self.said())
            for line in lines[told:]:
                say(line)
            told = len(lines)

    def said(self):
        return self.console.read_text(encoding="utf-8", errors="replace").replace("\r", "")

    def file(self, name):
        """A file of the second disk; None if there is none."""
        target = self.place / "taken"
        run("debugfs", "-R", f"dump /{name} {target}", self.disk)
        return target.read_text(encoding="utf-8") if target.exists() and target.stat().st_size else None

    def close(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
