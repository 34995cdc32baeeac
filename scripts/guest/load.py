"""Runs inside the virtual machine of `scripts/torture --only systemd`: one program that uses the mount until a file says that it is over.

`load.py PROGRAM FOLDER OVER` prints {"turns", "calls", "slow": [[when, seconds, call]], "error"} at its end. Each call must do what it would on any disk."""
import errno
import fcntl
import json
import mmap
import os
import random
import struct
import sys
import time
import traceback

STILL_FILES = 40
LARGE_BYTES = 4 << 20
KIB = 1 << 10
SLOW_SECONDS = 0.05


class Wrong(Exception):
    """The mount did what no disk does."""


class Calls:
    """Makes calls; keeps how many there were, and the slow ones."""

    def __init__(self):
        self.count, self.slow = 0, []

    def __call__(self, function, *args, **options):
        begin = time.monotonic()
        try:
            return function(*args, **options)
        finally:
            took = time.monotonic() - begin
            self.count += 1
            if took > SLOW_SECONDS:
                self.slow.append((begin, took, function.__name__))


def same(found, expected, what):
    if found != expected:
        at = next((at for at, (one, other) in enumerate(zip(found, expected)) if one != other), None)
        raise Wrong(f"{what} differs: {len(found)} of {len(expected)}, first at {at}")


def bytes_of(seed, count):
    return random.Random(seed).randbytes(count)


class Program:
    """One program in a folder of its own; `turn` is done again and again."""

    def __init__(self, root, call):
        self.root, self.call = root, call
        os.makedirs(root, exist_ok=True)

    def at(self, name):
        return os.path.join(self.root, name)

    def open(self, name, flags):
        return self.call(os.open, self.at(name), flags, 0o644)

    def write(self, name, body, flags=os.O_TRUNC):
        fd = self.open(name, os.O_WRONLY | os.O_CREAT | flags)
        for start in range(0, len(body), 64 * KIB):
            self.write_at(fd, body[start:start + 64 * KIB], start)
        return fd

    def write_at(self, fd, body, start):
        if self.call(os.pwrite, fd, body, start) != len(body):
            raise Wrong("a write was short")

    def read(self, name):
        fd = self.open(name, os.O_RDONLY)
        body = b"".join(iter(lambda: self.call(os.read, fd, 256 * KIB), b""))
        self.call(os.close, fd)
        return body

    def end(self):
        """What must hold at the end."""


class Names(Program):
    """Makes and removes names of each kind."""

    def turn(self, number):
        folder, inner = self.at(f"dir{number}"), os.path.join(f"dir{number}", "file")
        link, moved, symlink = f"link{number}", f"moved{number}", f"symlink{number}"
        body = b"%d" % number
        self.call(os.mkdir, folder)
        fd = self.write(inner, body, os.O_EXCL)
        self.call(os.link, self.at(inner), self.at(link))
        self.call(os.symlink, "target", self.at(symlink))
        self.call(os.rename, self.at(inner), self.at(moved))
        same(self.read(link), body, "a link")
        same(self.call(os.readlink, self.at(symlink)), "target", "a symlink")
        numbers = {self.call(os.fstat, fd).st_ino, self.call(os.stat, self.at(link)).st_ino, self.call(os.stat, self.at(moved)).st_ino}
        if len(numbers) != 1:
            raise Wrong(f"one file has the inode numbers {numbers}")
        self.call(os.close, fd)
        self.call(os.rmdir, folder)
        for name in (link, symlink, moved):
            self.call(os.unlink, self.at(name))


class Replaced(Program):
    """Writes a file anew and puts it over the last one, which is whole whenever it is read."""

    def turn(self, number):
        body = bytes_of(number, 1 + number * 997 % (150 * KIB))
        fd = self.write("part", body)
        if number % 4 == 0:
            self.call(os.fsync, fd)
        self.call(os.close, fd)
        self.call(os.rename, self.at("part"), self.at("whole"))
        same(self.read("whole"), body, "what was put in place")


class Unlinked(Program):
    """Goes on with files that have no name any more."""

    def __init__(self, root, call):
        super().__init__(root, call)
        self.kept = self.without_name("kept", -1)

    def without_name(self, name, seed):
        body = bytearray(bytes_of(seed, 60 * KIB))
        fd = self.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self.write_at(fd, bytes(body), 0)
        self.call(os.unlink, self.at(name))
        return fd, body

    def turn(self, number):
        one = self.without_name(f"unlinked{number}", number)
        for step in range(5):
            for fd, body in (one, self.kept):
                piece = b"%016d" % (number * 5 + step)
                start = (number * 5 + step) * 16 % len(body)
                body[start:start + 16] = piece
                self.write_at(fd, piece, start)
                same(self.call(os.pread, fd, len(body), 0), bytes(body), "an unlinked file")
                if self.call(os.fstat, fd).st_nlink:
                    raise Wrong("an unlinked file has a name")
        self.call(os.close, one[0])


class Still(Program):
    """Looks at what stays: names, inode numbers, and a large file through a handle that was opened before all kills."""

    def __init__(self, root, call):
        super().__init__(root, call)
        self.large, self.dice = bytes_of(1, LARGE_BYTES), random.Random(2)
        self.fd, self.numbers = self.open("large", os.O_RDONLY), self.listed()

    def listed(self):
        def names():
            with os.scandir(self.root) as entries:
                return {entry.name: entry.inode() for entry in entries}
        return self.call(names)

    def turn(self, _):
        start = self.dice.randrange(LARGE_BYTES - 100_000)
        same(self.call(os.pread, self.fd, 100_000, start), self.large[start:start + 100_000], "the large file")
        if self.listed() != self.numbers:
            raise Wrong("the listing or its inode numbers differ")
        name = str(self.dice.randrange(STILL_FILES))
        if self.call(os.stat, self.at(name)).st_ino != self.numbers[name]:
            raise Wrong(f"{name} has another inode number")
        same(self.read(name), name.encode(), "a file that stays")


class Held(Program):
    """Appends through one handle and overwrites through another, with locks held all the while; each line is there once."""

    def __init__(self, root, call):
        super().__init__(root, call)
        self.log = self.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.fixed, self.other = self.open("fixed", os.O_RDWR | os.O_CREAT), self.open("fixed", os.O_RDWR)
        self.lines = 0
        fcntl.flock(self.log, fcntl.LOCK_EX)
        fcntl.fcntl(self.fixed, fcntl.F_OFD_SETLK, self.lock())
        self.rival = self.open("log", os.O_RDONLY)

    @staticmethod
    def lock():
        return struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 100, 0)

    def turn(self, number):
        line = b"%09d\n" % number
        if self.call(os.write, self.log, line) != len(line):
            raise Wrong("a write was short")
        self.lines += 1
        self.write_at(self.fixed, line, number % 100 * 10)
        same(self.call(os.pread, self.fixed, 10, number % 100 * 10), line, "what was written through a handle")
        if number % 16 == 0:
            self.is_locked(lambda: fcntl.flock(self.rival, fcntl.LOCK_EX | fcntl.LOCK_NB))
            self.is_locked(lambda: fcntl.fcntl(self.other, fcntl.F_OFD_SETLK, self.lock()))

    def is_locked(self, attempt):
        try:
            self.call(attempt)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        else:
            raise Wrong("a lock that is held was given to another")

    def end(self):
        same(self.read("log"), b"".join(b"%09d\n" % number for number in range(self.lines)), "the log")


class Mapped(Program):
    """Writes through a map and reads through a handle, and the other way round; both were made before all kills."""

    def __init__(self, root, call):
        super().__init__(root, call)
        self.body = bytearray(bytes_of(3, 256 * KIB))
        os.close(self.write("mapped", bytes(self.body)))
        self.fd = self.open("mapped", os.O_RDWR)
        self.map = mmap.mmap(self.fd, len(self.body))

    def turn(self, number):
        piece, start = b"%016d" % number, number * 4099 % (len(self.body) - 16)
        self.body[start:start + 16] = piece
        if number % 2:
            self.call(self.map.__setitem__, slice(start, start + 16), piece)
            if number % 32 == 1:
                self.call(self.map.flush)
        else:
            self.write_at(self.fd, piece, start)
        same(self.call(os.pread, self.fd, 16, start), piece, "a mapped file")
        if number % 8 == 0:
            same(self.call(self.map.__getitem__, slice(None)), bytes(self.body), "a map")
            same(self.call(os.pread, self.fd, len(self.body), 0), bytes(self.body), "a mapped file")


PROGRAMS = dict(names=Names, replaced=Replaced, unlinked=Unlinked, still=Still, held=Held, mapped=Mapped)


def plant(root):
    """What `Still` looks at."""
    os.makedirs(root)
    for name, body in [("large", bytes_of(1, LARGE_BYTES)), *((str(number), b"%d" % number) for number in range(STILL_FILES))]:
        with open(os.path.join(root, name), "wb") as file:
            file.write(body)


def main():
    name, root, over = sys.argv[1:]
    calls, turns, error = Calls(), 0, None
    try:
        program = PROGRAMS[name](os.path.join(root, name), calls)
        while not os.path.exists(over):
            program.turn(turns)
            turns += 1
        program.end()
    except Exception:  # noqa: BLE001 - it is told, whatever it is
        error = f"at {time.monotonic():.3f}: {traceback.format_exc()}"
    print(json.dumps(dict(turns=turns, calls=calls.count, slow=calls.slow, error=error)), flush=True)


if __name__ == "__main__":
    main()
