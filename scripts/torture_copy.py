"""A copy that goes on while the mount below it dies and comes back, and holds it to what it said."""
import contextlib
import errno
import os
import stat
import threading
import time
from pathlib import Path

from torture_house import Failed

PIECE = 128 << 10


class Copy(threading.Thread):
    """Copies a tree call by call. A call that returned has happened for ever; one that failed is made again after the next mount."""

    def __init__(self, source, target, entries):
        super().__init__(daemon=True)
        self.source, self.target = source, target
        self.entries = [(Path(), os.lstat(source)), *entries]
        # Held during each call on the mount: nothing may touch the bare folder below while it is mounted again.
        self.lock, self.generation, self.mounted = threading.Lock(), 0, threading.Condition()
        self.done, self.written, self.checked, self.failure = 0, 0, 0, None
        # What was read when it was neither local nor to be had: it is looked at again when the server is back.
        self.postponed, self.postponed_count = [], 0
        # No further than this: so that a tree that is small does not end before the kills do.
        self.limit = len(self.entries)

    def run(self):
        try:
            for number, (path, info) in enumerate(self.entries):
                self.written = 0
                while number >= self.limit:
                    time.sleep(0.002)
                self.stubbornly(path, info)
                self.done = number + 1
        except BaseException as failure:  # noqa: BLE001 - told to whoever waits
            self.failure = failure

    def stubbornly(self, path, info):
        while True:
            with self.lock:
                generation = self.generation
                try:
                    return self.make(path, info)
                except OSError as error:
                    complaint = f"{path}: {error}"
            with self.mounted:
                if not self.mounted.wait_for(lambda: self.generation > generation, 60):
                    raise Failed(f"a call failed though nothing was killed: {complaint}")

    def make(self, path, info):
        target = self.target / path
        if stat.S_ISDIR(info.st_mode):
            if not target.is_dir():
                os.mkdir(target)
            os.chmod(target, stat.S_IMODE(info.st_mode))
        elif stat.S_ISLNK(info.st_mode):
            with contextlib.suppress(FileExistsError):
                os.symlink(os.readlink(self.source / path), target)
        else:
            self.make_file(self.source / path, target, info)

    def make_file(self, source, target, info):
        body = source.read_bytes()
        fd = os.open(target, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            found = os.pread(fd, len(body) + 1, 0)
            if len(found) < self.written or not body.startswith(found):
                raise Failed(f"{target.name}: {self.written} bytes were written, {len(found)} are there, a prefix: {body.startswith(found)}")
            while self.written < len(body):
                self.written += os.pwrite(fd, body[self.written:self.written + PIECE], self.written)
            os.fchmod(fd, stat.S_IMODE(info.st_mode))
            os.utime(fd, ns=(info.st_atime_ns, info.st_mtime_ns))
        finally:
            os.close(fd)

    def reach(self, number):
        """Waits until so many entries are copied."""
        last, since = -1, time.monotonic()
        while self.done < min(number, len(self.entries)):
            self.raise_failure()
            if self.done != last or self.done >= self.limit:
                last, since = self.done, time.monotonic()
            if time.monotonic() - since > 120:
                raise Failed(f"the copy stands still at {self.done} of {len(self.entries)} entries")
            time.sleep(0.005)

    def raise_failure(self):
        if self.failure:
            raise self.failure

    def finish(self):
        self.reach(len(self.entries))
        self.raise_failure()

    @contextlib.contextmanager
    def paused(self):
        """Nothing touches the mount meanwhile; afterwards it is another one."""
        with self.lock:
            yield
            self.generation += 1
        with self.mounted:
            self.mounted.notify_all()

    def check_done(self, dice, server_lives):
        """What was copied last, and some of the rest, is there exactly."""
        chosen = set(range(max(0, self.done - 64), self.done))
        chosen |= {dice.randrange(self.done) for _ in range(64) if self.done}
        for number in sorted(chosen):
            path, info = self.entries[number]
            if stat.S_ISREG(info.st_mode):
                self.check_file(path, info, server_lives)
                self.checked += 1
        path, info = self.entries[min(self.done, len(self.entries) - 1)]
        if stat.S_ISREG(info.st_mode) and self.written:
            found, body = (self.target / path).read_bytes(), (self.source / path).read_bytes()
            if len(found) < self.written or not body.startswith(found):
                raise Failed(f"{path}: {self.written} bytes were written, {len(found)} are there, a prefix: {body.startswith(found)}")

    def check_postponed(self):
        """With the server back: uploaded, and so nothing that is not local is lost."""
        end = time.monotonic() + 30
        self.postponed_count += len(self.postponed)
        while self.postponed:
            time.sleep(0.01)
            path, info = self.postponed.pop()
            self.check_file(path, info, time.monotonic() > end)

    def check_file(self, path, info, server_lives):
        try:
            found = os.lstat(self.target / path)
            body = (self.target / path).read_bytes()
        except OSError as error:
            if error.errno == errno.ENETUNREACH and not server_lives:
                self.postponed.append((path, info))
                return
            raise Failed(f"lost: {path}: {error}") from error
        if body != (self.source / path).read_bytes():
            raise Failed(f"{path}: its {info.st_size} bytes were written, {len(body)} others are there")
        if found.st_mode != info.st_mode or found.st_mtime_ns != info.st_mtime_ns:
            raise Failed(f"{path}: mode or time is not what was set: {found}")
