#!/usr/bin/env python3
"""A tree of many entries: how soon a fresh device shows it, what the daemon needs of memory, how fast `find` goes.

    TARN_BIN_DIR=target/release scripts/bench_tree.py [--entries N] [--big N] [--plain] PLACE

The tree is pushed through the API, so that the server has it and no device does. PLACE is an empty folder, removed at the end."""
import argparse
import base64
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from torture_house import USER, Device, Server, remove  # noqa: E402

FILES_PER_FOLDER = 1000
OPS_AT_ONCE = 1000


class Api:
    """The server as a device of its own that has no tree."""

    def __init__(self, server):
        self.line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        self.token = None
        login = self.call("POST", "/auth/login", {"user": USER, "password": server.password, "device_name": "maker"})
        self.token, self.space, self.counter = login["token"], login["home"], 0
        [space] = [space for space in self.call("GET", "/spaces")["spaces"] if space["space"] == self.space]
        self.root, self.cursor = space["root"], space["cursor"]

    def call(self, method, path, body=None):
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        self.line.request(method, f"/api/v1{path}", json.dumps(body) if body else None, headers)
        answer = self.line.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text[:400]}")
        return json.loads(text)

    def push(self, kinds):
        ops = []
        for kind in kinds:
            self.counter += 1
            ops.append({"counter": self.counter, "time": TIME, "alt_name": None, "kind": kind})
        answer = self.call("POST", f"/spaces/{self.space}/push", {"cursor": self.cursor, "answered": self.counter - len(ops), "ops": ops})
        self.cursor = answer["after"]


TIME = {"secs": 1_700_000_000, "nanos": 5}


def creation(parent, name, like=None):
    attrs = {"mode": 0o644 if like else 0o755, "uid": os.getuid(), "gid": os.getgid(), "mtime": TIME, "ctime": TIME, "btime": TIME}
    node = os.urandom(16).hex()
    content = {**like, "version": os.urandom(16).hex()} if like else None
    place = {"parent": parent, "name": base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")}
    return node, {"create": {"node": node, "place": place, "kind": "file" if like else "dir", "attrs": attrs, "content": content}}


def fill(api, folder, names, like):
    kinds = [creation(folder, name, like)[1] for name in names]
    for start in range(0, len(kinds), OPS_AT_ONCE):
        api.push(kinds[start:start + OPS_AT_ONCE])


def prototype(place, server, api):
    """The content of a small file that a device sent."""
    device = Device(place, "first", server.url, server.password)
    try:
        device.up()
        (device.mount / "prototype").write_text("a small file, like all others here\n")
        device.wait(60)
    finally:
        device.close()
    listing = api.call("GET", f"/spaces/{api.space}/nodes/{api.root}/children")
    [child] = [child for child in listing["children"] if child["state"]["file"]]
    api.cursor = next(space for space in api.call("GET", "/spaces")["spaces"] if space["space"] == api.space)["cursor"]
    return child["state"]["file"]["content"]


def make(place, server, entries, big):
    api = Api(server)
    like = prototype(place, server, api)
    began = time.monotonic()
    for number in range(entries // FILES_PER_FOLDER):
        folder, kind = creation(api.root, f"d{number:04}")
        api.push([kind])
        fill(api, folder, [f"file-{count:04}.txt" for count in range(FILES_PER_FOLDER)], like)
    if big:
        folder, kind = creation(api.root, "big")
        api.push([kind])
        fill(api, folder, [f"one of many files, number {count:06}.txt" for count in range(big)], like)
    say(f"made through the API at {(entries + big) / (time.monotonic() - began):,.0f} entries/s")


def say(*words):
    print(*words, flush=True)


def memory(pid, what="VmRSS"):
    """MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith(what)).split()[1]) // 1024


def cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Pulse:
    """How long the longest call of another program took meanwhile."""

    def __init__(self, path):
        self.path, self.longest, self.stopped = path, 0.0, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        number = 0
        while not self.stopped.wait(0.02):
            number += 1
            began = time.monotonic()
            try:
                os.stat(self.path / f"no such name {number}")
            except FileNotFoundError:
                pass
            self.longest = max(self.longest, time.monotonic() - began)

    def stop(self):
        self.stopped.set()
        self.thread.join()
        return self.longest


def timed(label, work, pid=None):
    began, before = time.monotonic(), cpu(pid) if pid else 0
    result = work()
    took = time.monotonic() - began
    extra = f", daemon {cpu(pid) - before:.2f} s of CPU, {memory(pid)} MiB" if pid else ""
    say(f"{label}: {took:.3f} s{f' ({result:,})' if isinstance(result, int) else ''}{extra}")
    return took


def listing(place):
    """Lists a folder as it comes; says when its first name came."""
    def names():
        began = time.monotonic()
        with os.scandir(place) as entries:
            next(entries)
            say(f"  its first name after {time.monotonic() - began:.3f} s")
            return 1 + sum(1 for _ in entries)
    return names


def find(place, *tests):
    return lambda: len(subprocess.run(["find", str(place), *tests], stdout=subprocess.PIPE, check=False).stdout.splitlines())


def quiet_since(*pids):
    """When daemon and server came to rest: from then on they used next to no CPU. Calls of others cost a little meanwhile."""
    def used():
        return sum(cpu(pid) for pid in pids)
    since, last = time.monotonic(), used()
    while time.monotonic() - since < 3:
        time.sleep(0.25)
        if used() - last > 0.05:
            since = time.monotonic()
        last = used()
    return since


def drop_caches(what):
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text(what, encoding="ascii")


def look(place, server, entries, big):
    device = Device(place, "fresh", server.url, server.password)
    try:
        began = time.monotonic()
        device.up()
        pid = device.status()["pid"]
        say(f"mounted after {time.monotonic() - began:.3f} s")
        top = device.mount
        timed("ls of the root, fresh", lambda: len(os.listdir(top)), pid)
        say(f"  since the command to mount: {time.monotonic() - began:.3f} s")
        timed("ls of a folder while the tree streams in", lambda: len(os.listdir(top / "d0000")), pid)
        if big:
            pulse = Pulse(top / "d0000")
            try:
                timed(f"ls of {big:,} in one folder while the tree streams in", listing(top / "big"), pid)
            except OSError as error:
                say(f"ls of {big:,} in one folder while the tree streams in: {error}")
            say(f"  the longest other call meanwhile: {1000 * pulse.stop():.0f} ms")
        pulse = Pulse(top / "d0000")
        device.wait()
        # Waiting is for what this device did; the tree is here when nothing moves any more.
        settled = quiet_since(pid, server.process.pid)
        say(f"full tree after {settled - began:.1f} s, {cpu(pid):.1f} s of CPU, {memory(pid)} MiB, at most {memory(pid, 'VmHWM')} MiB, "
            f"the longest other call: {1000 * pulse.stop():.0f} ms")
        for turn in "first", "again", "again":
            timed(f"find, {turn}", find(top), pid)
        for turn in "first", "again":
            timed(f"find -size, {turn}", find(top, "-size", "+1k"), pid)
        drop_caches("2")
        time.sleep(3)
        say(f"the kernel has forgotten: {memory(pid)} MiB")
        timed("find -size, kernel cold", find(top, "-size", "+1k"), pid)
        say(f"at most {memory(pid, 'VmHWM')} MiB")
        device.tarn("unmount", device.mount)
        timed("mounted again", device.up)
        pid = device.status()["pid"]
        timed("ls of the root", lambda: len(os.listdir(top)), pid)
        if big:
            pulse = Pulse(top / "d0000")
            timed(f"ls of {big:,} in one folder, cold", listing(top / "big"), pid)
            say(f"  the longest other call meanwhile: {1000 * pulse.stop():.0f} ms")
            timed("ls of it again", lambda: len(os.listdir(top / "big")), pid)
        timed("find -size, cold", find(top, "-size", "+1k"), pid)
        say(f"at most {memory(pid, 'VmHWM')} MiB")
    finally:
        device.close()


def plain(place, entries, big):
    top = place / "plain"
    for number in range(entries // FILES_PER_FOLDER):
        folder = top / f"d{number:04}"
        folder.mkdir(parents=True)
        for count in range(FILES_PER_FOLDER):
            (folder / f"file-{count:04}.txt").touch()
    (top / "big").mkdir()
    for count in range(big):
        (top / "big" / f"one of many files, number {count:06}.txt").touch()
    for turn in "first", "again":
        timed(f"plain disk: find, {turn}", find(top))
    for turn in "first", "again":
        timed(f"plain disk: find -size, {turn}", find(top, "-size", "+1k"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--big", type=int, default=100_000, help="entries of one more folder")
    parser.add_argument("--plain", action="store_true", help="measure the plain disk as well")
    parser.add_argument("place", type=Path)
    options = parser.parse_args()
    place = options.place.resolve()
    place.mkdir(parents=True, exist_ok=True)
    server = Server(place)
    try:
        make(place, server, options.entries, options.big)
        look(place, server, options.entries, options.big)
        if options.plain:
            plain(place, options.entries, options.big)
    finally:
        server.close()
        remove(place)


main()
