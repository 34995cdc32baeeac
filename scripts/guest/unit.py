"""Runs inside the virtual machine of `scripts/torture --only systemd`, as the user whose unit it proves: `unit.py system|user SETTINGS`.

The unit is the one that docs/systemd.md shows. Prints {"figures"} or {"error"} on its last line."""
import errno
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import traceback

import load

TARN = "/usr/local/bin/tarn"
SERVER = "http://127.0.0.1:7420"
PATIENCE_SECONDS = 120
# After so many kills systemd is told to forget them: the unit's StartLimitBurst= is less than what is done here in a minute.
FORGET_EVERY = 10
KEPT = 4


class Failed(Exception):
    """The proof does not hold."""


def until(condition, complaint, seconds=PATIENCE_SECONDS):
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise Failed(complaint)
        time.sleep(0.01)
    return found


def run(*command, text="", **env):
    done = subprocess.run(command, input=text, text=True, check=False, timeout=600, env={**os.environ, **env},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.strip()


def must(*command, **options):
    code, output = run(*command, **options)
    if code:
        raise Failed(f"{' '.join(command)} ended with {code}: {output[-600:]}")
    return output


def units(document):
    """The units that the document shows: (path, text, mount) of the system's and of the user's."""
    found = {}
    for path, text in re.findall(r"`([~/][^`]*/tarn\.service)`.*?```ini\n(.*?)```", document, re.DOTALL):
        kind = "user" if path.startswith("~") else "system"
        mount = re.search(r"^ExecStart=/usr/local/bin/tarn mount .* (\S+)$", text, re.MULTILINE)[1]
        home = os.path.expanduser("~")
        found[kind] = path.replace("~", home), text, mount.replace("%h", home)
    return found


class Unit:
    """The service of one unit, and the mount that it serves."""

    def __init__(self, kind, settings):
        self.settings, self.dice = settings, random.Random(settings["seed"])
        with open("/proof/systemd.md", encoding="utf-8") as document:
            self.path, self.text, self.mount = units(document.read())[kind]
        self.systemctl = ["systemctl", "--user"] if kind == "user" else ["systemctl"]
        self.env = dict(re.findall(r"^Environment=(\w+)=(.*)$", self.text, re.MULTILINE))
        self.over, self.account = f"/tmp/over-{kind}", kind
        self.group = self.manager = None

    def control(self, *args, may_fail=False):
        return run(*self.systemctl, *args)[1] if may_fail else must(*self.systemctl, *args)

    def shown(self, name):
        return self.control("show", "--value", "-p", name, "tarn")

    def tarn(self, *args, **options):
        return must(TARN, *args, **{**self.env, **options})

    def status(self):
        return json.loads(self.tarn("status", self.mount, "--json"))

    def log_in(self, device, **env):
        self.tarn("login", "--server", SERVER, "--user", self.account, "--password-stdin", "--device", device,
                  text=self.settings["password"], **env)

    def install(self):
        os.makedirs(self.mount)
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self.log_in("first")
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(self.text)
        self.control("daemon-reload")
        self.control("enable", "--now", "tarn")
        self.group = f"/sys/fs/cgroup{self.shown('ControlGroup')}/cgroup.procs"
        self.manager = parent(int(self.shown("MainPID")))
        self.serves(0)

    def serves(self, life=None):
        """The daemon answers, of this life if one is given, and systemd has all that the next one needs."""
        until(lambda: self.control("is-active", "tarn", may_fail=True) == "active", "the service does not become active")
        until(lambda: self.shown("NFileDescriptorStore") == str(KEPT), f"systemd does not keep {KEPT} descriptors")
        found = self.status()
        if found["pid"] != self.daemon() or life not in (None, found["life"]):
            raise Failed(f"life {found['life']} of process {found['pid']} instead of {life} of {self.daemon()}")
        return found["life"]

    def daemon(self):
        """The main process of the service, which systemd itself has started; 0 while there is none. Asks nobody: that would take time from who starts one."""
        try:
            with open(self.group, encoding="ascii") as group:
                pids = [int(line) for line in group]
            return next((pid for pid in pids if parent(pid) == self.manager), 0)
        except OSError as error:
            # Between two daemons the group is gone, or going.
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise
            return 0

    def kill(self):
        """Kills the daemon; how long a call then takes."""
        pid = until(self.daemon, "systemd starts no daemon")
        time.sleep(self.dice.random() * 0.4)
        os.kill(pid, signal.SIGKILL)
        begin = time.monotonic()
        try:
            os.lstat(os.path.join(self.mount, f"not there {pid}"))
        except FileNotFoundError:
            took = time.monotonic() - begin
        if self.daemon() in (0, pid):
            raise Failed("a call was answered without a daemon")
        return took


def parent(pid):
    """The parent of a process; None if there is no such process any more."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


class Load:
    """All programs of load.py at work."""

    def __init__(self, unit):
        self.root, self.over, self.results = os.path.join(unit.mount, "load"), unit.over, {}
        load.plant(os.path.join(self.root, "still"))
        unit.tarn("wait", unit.mount)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "load.py")
        self.programs = {name: subprocess.Popen([sys.executable, script, name, self.root, self.over], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
                         for name in load.PROGRAMS}
        self.began = time.monotonic()

    def goes_on(self):
        ended = [name for name, program in self.programs.items() if program.poll() is not None]
        if ended:
            raise Failed(f"{ended[0]} has ended: {self.programs[ended[0]].stdout.read()[-3000:]}")

    def end(self):
        with open(self.over, "w", encoding="ascii"):
            pass
        for name, program in self.programs.items():
            output, _ = program.communicate(timeout=PATIENCE_SECONDS)
            self.results[name] = json.loads(output)
            if self.results[name]["error"]:
                raise Failed(f"{name} met an error {self.results[name]['error']}")
        os.unlink(self.over)

    def longest(self, begin, end):
        """The longest call that began in between: seconds, its kind."""
        slow = [(took, f"{call} of {name}") for name, result in self.results.items()
                for at, took, call in result["slow"] if begin <= at < end]
        return max(slow, default=(load.SLOW_SECONDS, "none was longer"))


def numbers(root):
    """Inode numbers of everything."""
    found = {}
    for folder, folders, files in os.walk(root):
        found.update({os.path.join(folder, name): os.lstat(os.path.join(folder, name)).st_ino for name in folders + files})
    return found


def tree(root):
    """Everything that another device shows as well."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            info, body = os.lstat(path), None
            if stat.S_ISREG(info.st_mode):
                with open(path, "rb") as file:
                    body = file.read()
            found[os.path.relpath(path, root)] = stat.S_IFMT(info.st_mode), body
    return found


def killed_again_and_again(unit, say):
    """The load, with all kills, a systemd that starts itself anew amid them, and a new version of the program."""
    work = Load(unit)
    passthrough = unit.status()["passthrough"]["active"]
    time.sleep(unit.settings["quiet_seconds"])
    work.goes_on()
    first, pauses = time.monotonic(), []
    for number in range(unit.settings["kills"]):
        if number % FORGET_EVERY == 0:
            unit.control("reset-failed", "tarn")
            if unit.serves() > number:
                raise Failed(f"more daemons than {number} were killed")
            say(f"{number} kills, the longest pause {max(pauses, default=0):.2f} s")
        if number == unit.settings["kills"] // 2:
            unit.control("daemon-reexec")
        pauses.append(unit.kill())
        work.goes_on()
    unit.serves()
    last = time.monotonic()
    upgraded(unit)
    work.goes_on()
    end = time.monotonic()
    work.end()
    quiet, killed, upgrade = work.longest(work.began, first), work.longest(first, last), work.longest(last, end)
    calls = sum(result["calls"] for result in work.results.values())
    # A call of a program may last through two kills.
    bound, worst = unit.settings["pause_seconds"], max(pauses)
    figures = (f"{len(pauses)} kills in {last - first:,.0f} s, no error in {calls:,} calls of programs; the longest pause {max(pauses):.2f} s, "
               f"the longest call of a program {killed[0]:.2f} s ({killed[1]}), {upgrade[0]:.2f} s with `tarn restart`, {quiet[0]:.2f} s before the first kill; "
               f"passthrough {'on' if passthrough else 'off'}")
    if worst >= bound:
        raise Failed(f"a pause of {worst:.2f} s: {figures}")
    return figures


def upgraded(unit):
    """Another file takes the place of the program; `tarn restart` has the mount go on under it."""
    shutil.copy(TARN, f"{TARN}.new")
    os.rename(f"{TARN}.new", TARN)
    life = unit.serves()
    said = unit.tarn("restart")
    if "goes on under version" not in said:
        raise Failed(f"tarn restart says: {said}")
    unit.serves(life + 1)
    if not os.path.samefile(f"/proc/{unit.daemon()}/exe", TARN):
        raise Failed("after tarn restart another program serves the mount than the one that is installed")


def same_elsewhere(unit):
    """All is sent, and a second device shows the same."""
    unit.tarn("wait", unit.mount)
    place = os.path.expanduser("~/second")
    home, mount = os.path.join(place, "home"), os.path.join(place, "mount")
    os.makedirs(mount)
    unit.log_in("second", TARN_HOME=home)
    unit.tarn("mount", mount, TARN_HOME=home)
    wanted = tree(unit.mount)
    until(lambda: len(numbers(mount)) == len(wanted), "the second device does not see all names")
    found = tree(mount)
    if found != wanted:
        raise Failed(f"the second device differs: {[name for name in wanted if found.get(name) != wanted[name]][:5]}")
    unit.tarn("unmount", mount, TARN_HOME=home)
    return len(wanted)


def given_up(unit):
    """After too many ends systemd gives up; after how many."""
    unit.control("reset-failed", "tarn")
    limit, count = int(re.search(r"^StartLimitBurst=(\d+)$", unit.text, re.MULTILINE)[1]), 0
    while unit.control("is-failed", "tarn", may_fail=True) != "failed":
        if pid := unit.daemon():
            os.kill(pid, signal.SIGKILL)
            count += 1
            until(lambda: unit.daemon() != pid, "a killed daemon is still there")  # noqa: B023
        if count > limit + 1:
            raise Failed(f"systemd goes on after {count} ends")
    if unit.shown("NFileDescriptorStore") != "0":
        raise Failed("systemd keeps descriptors of a service that it gave up")
    unit.control("reset-failed", "tarn")
    unit.control("start", "tarn")
    return count


def begun_anew(unit):
    """What systemd gave up, restarted, or stopped and started shows what was there. After how many ends it gave up."""
    wanted, inodes = tree(unit.mount), numbers(unit.mount)

    def is_same(begun):
        unit.serves(0)
        if tree(unit.mount) != wanted or numbers(unit.mount) != inodes:
            raise Failed(f"after {begun} the tree, or an inode number, is another")
    count = given_up(unit)
    is_same("systemd gave up")
    unit.control("restart", "tarn")
    is_same("systemctl restart")
    unit.control("stop", "tarn")
    if os.path.ismount(unit.mount) or unit.shown("ActiveState") != "inactive":
        raise Failed("systemctl stop leaves the mount")
    unit.control("start", "tarn")
    is_same("systemctl stop and start")
    return count


def ended(unit):
    unit.tarn("unmount", unit.mount)
    until(lambda: unit.shown("ActiveState") == "inactive", f"after tarn unmount the service is {unit.shown('ActiveState')}")
    if os.path.ismount(unit.mount) or (unit.shown("Result"), unit.shown("NFileDescriptorStore")) != ("success", "0"):
        raise Failed(f"after tarn unmount: {unit.shown('Result')}, {unit.shown('NFileDescriptorStore')} descriptors kept")
    unit.control("disable", "tarn")


def prove(kind, say):
    with open("/proof/settings.json", encoding="utf-8") as file:
        unit = Unit(kind, json.load(file))
    unit.install()
    say("serves")
    figures = killed_again_and_again(unit, say)
    say(figures)
    names = same_elsewhere(unit)
    limit = begun_anew(unit)
    ended(unit)
    return f"{figures}; {names} names on a second device; given up after {limit} kills in a minute, and begun anew"


def main():
    kind = sys.argv[1]

    def say(text):
        print(f"{kind}: {text}", file=sys.stderr, flush=True)
    try:
        outcome = dict(figures=prove(kind, say))
    except Exception:  # noqa: BLE001 - it is told, whatever it is
        outcome = dict(error=traceback.format_exc())
    print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main()
