"""Two devices at work while the server is stopped or dead: every call is timed, and afterwards both are the same."""
import os
import random
import signal
import threading
import time

from torture_house import Failed, until

KIB = 1 << 10
SLOWEST_SECONDS = 1.0


class Calls:
    """File-system calls, each timed. The slowest of each kind is kept."""

    def __init__(self):
        self.count, self.slowest = 0, {}

    def __call__(self, function, *args):
        start = time.perf_counter()
        try:
            return function(*args)
        finally:
            took, name = time.perf_counter() - start, function.__name__
            self.count += 1
            self.slowest[name] = max(took, self.slowest.get(name, 0))

    def worst(self):
        return max((took, name) for name, took in self.slowest.items())

    def read(self, path):
        fd = self(os.open, path, os.O_RDONLY)
        pieces = []
        while piece := self(os.read, fd, 1 << 20):
            pieces.append(piece)
        self(os.close, fd)
        return b"".join(pieces)

    def write(self, path, body, flags, at=0):
        fd = self(os.open, path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
        for start in range(0, len(body), 128 * KIB):
            self(os.pwrite, fd, body[start:start + 128 * KIB], at + start)
        self(os.close, fd)


class Person:
    """Someone at a device: reads everything that is local, and changes what is theirs."""

    def __init__(self, device, number, shared):
        self.root, self.calls, self.dice = device.mount, Calls(), random.Random(number)
        self.own = f"of-{device.name}"
        self.mine = {name: body for name, body in shared.items() if int(name.rsplit("-", 1)[1]) % 2 == number}
        self.others = {name: body for name, body in shared.items() if name not in self.mine}
        self.made, self.failure = 0, None

    def begin(self):
        os.mkdir(self.root / self.own)

    def work(self, seconds):
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                self.read_one()
                self.change_one()
        except Exception as failure:  # noqa: BLE001 - told to whoever waits
            self.failure = failure

    def read_one(self):
        everything = {**self.mine, **self.others}
        name = self.dice.choice(sorted(everything))
        self.calls(os.stat, self.root / name)
        if self.calls.read(self.root / name) != everything[name]:
            raise Failed(f"{name} read on {self.own[3:]} is not what was written")
        self.calls(os.listdir, self.root / os.path.dirname(name))

    def change_one(self):
        self.dice.choice((self.create, self.create, self.edit, self.edit, self.rename, self.remove, self.sync))()

    def create(self):
        folder = f"{self.own}/folder-{self.made // 20}"
        if self.made % 20 == 0:
            self.calls(os.mkdir, self.root / folder)
        name, body = f"{folder}/made-{self.made}", self.dice.randbytes(self.dice.choice((100, 5 * KIB, 80 * KIB, 700 * KIB)))
        self.calls.write(self.root / name, body, os.O_EXCL)
        self.mine[name] = body
        self.made += 1

    def edit(self):
        name = self.dice.choice(sorted(self.mine))
        body, at = self.mine[name], self.dice.randrange(len(self.mine[name]))
        piece = self.dice.randbytes(3 * KIB)
        self.calls.write(self.root / name, piece, 0, at)
        self.mine[name] = body[:at] + piece + body[at + len(piece):]

    def rename(self):
        name = self.dice.choice(sorted(self.mine))
        target = f"{self.own}/renamed-{self.dice.randrange(1 << 60)}"
        self.calls(os.rename, self.root / name, self.root / target)
        self.mine[target] = self.mine.pop(name)

    def remove(self):
        if len(self.mine) > 20:
            name = self.dice.choice(sorted(self.mine))
            self.calls(os.unlink, self.root / name)
            del self.mine[name]

    def sync(self):
        name = self.dice.choice(sorted(self.mine))
        fd = self.calls(os.open, self.root / name, os.O_RDWR)
        self.calls(os.fsync, fd)
        self.calls(os.close, fd)


def everything(root):
    """{path: bytes} of all files."""
    found = {}
    for folder, _, files in os.walk(root):
        for file in files:
            path = os.path.join(folder, file)
            with open(path, "rb") as body:
                found[os.path.relpath(path, root)] = body.read()
    return found


def meet(devices, people, seconds):
    """Waits until both devices show what the two wrote, and nothing else; they then know of each other's."""
    for device in devices:
        device.wait(seconds)
    wanted = {**people[0].mine, **people[1].mine}
    for device in devices:
        shows = lambda at=device.mount: set(everything(at)) == set(wanted)
        until(shows, seconds, f"{device.name} does not show the same names", 0.2)
        until(lambda at=device.mount: everything(at) == wanted, seconds, f"{device.name} does not show the same bytes", 0.2)
    people[0].others, people[1].others = dict(people[1].mine), dict(people[0].mine)
    return len(wanted)


def status_seconds(device):
    start = time.perf_counter()
    device.status()
    return time.perf_counter() - start


def offline(house, args):
    """The server stopped, then killed: both devices go on, and meet again."""
    server = house.server()
    devices = [house.device(name, server.url).up() for name in ("A", "B")]
    dice, shared = random.Random(args.seed), {}
    os.mkdir(devices[0].mount / "shared")
    for number in range(120):
        shared[f"shared/file-{number}"] = dice.randbytes(dice.choice((2, 20, 200, 3000)) * KIB)
    for name, body in shared.items():
        (devices[0].mount / name).write_bytes(body)
    people = [Person(device, number, shared) for number, device in enumerate(devices)]
    for person in people:
        person.begin()
    meet(devices, people, 120)
    figures = []
    for how, begin, end in (("stopped", lambda: server.signal(signal.SIGSTOP), lambda: server.signal(signal.SIGCONT)),
                            ("killed", server.kill, server.start)):
        begin()
        try:
            figures.append(f"{how}: {at_work(devices, people, args.seconds)}")
        finally:
            end()
        start = time.monotonic()
        count = meet(devices, people, 180)
        figures.append(f"the same {count} files on both {time.monotonic() - start:.1f} s after")
    server.check()
    return "; ".join(figures)


def at_work(devices, people, seconds):
    for person in people:
        person.calls = Calls()
    threads = [threading.Thread(target=person.work, args=(seconds,), daemon=True) for person in people]
    for thread in threads:
        thread.start()
    answers = []
    while any(thread.is_alive() for thread in threads):
        answers += [status_seconds(device) for device in devices]
        time.sleep(0.5)
    for person in people:
        if person.failure:
            raise person.failure
    (took, name), count = max(person.calls.worst() for person in people), sum(person.calls.count for person in people)
    figures = f"{count:,} calls, the slowest {1e3 * took:.0f} ms ({name}), status {1e3 * max(answers):.0f} ms"
    if took > SLOWEST_SECONDS or max(answers) > SLOWEST_SECONDS:
        raise Failed(figures)
    return figures
