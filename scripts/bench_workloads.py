"""The workloads of `scripts/bench`: each takes a `Side`, a folder on a mount or on the plain disk, and gives its figures by name.

Every reading is checked against what was written before its time counts. MB is 10**6 bytes.
"""
import io
import mmap
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import tarfile
import threading
import time
from pathlib import Path

MIB, KIB = 1 << 20, 1 << 10
PER_FOLDER = 100
SIZES = {
    "small": dict(big_mib=64, folders=10, visible=50, scattered=50, wide=2_000, absent=500, sources=500, commits=30),
    "full": dict(big_mib=1024, folders=100, visible=200, scattered=200, wide=20_000, absent=5_000, sources=5_000, commits=200),
}


class Side:
    """A folder to measure in: on the mount (with its device), or on the plain disk."""

    def __init__(self, folder, device=None):
        self.folder, self.device = folder, device
        folder.mkdir()

    def settle(self):
        """Everything written here is durable: on the server, or on the disk."""
        if self.device:
            self.device.wait()
        else:
            subprocess.run(["sync", "-f", self.folder], check=True)

    def cool(self):
        """Nothing of it is local (on the mount) nor in memory."""
        self.settle()
        if self.device:
            self.device.evict()
        drop_caches()

    def cpu_seconds(self):
        """Of the daemon, since it began; none on the plain disk."""
        return self.device.cpu_seconds() if self.device else 0.0


def drop_caches():
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*as_root, "sh", "-c", "sync; echo 3 >/proc/sys/vm/drop_caches"], check=True)


def seconds(action, *args):
    start = time.perf_counter()
    action(*args)
    return time.perf_counter() - start


def fail_unless(holds, complaint):
    if not holds:
        raise SystemExit(f"bench: {complaint}")


def until(condition, limit, complaint, pause=0.02):
    end = time.monotonic() + limit
    while not condition():
        fail_unless(time.monotonic() < end, complaint)
        time.sleep(pause)


def moved_bytes():
    """What has gone over loopback, where the server is: of the whole machine."""
    lines = Path("/proc/net/dev").read_text(encoding="utf-8").splitlines()
    return next(int(line.split(":")[1].split()[0]) for line in lines if line.strip().startswith("lo:"))


def write_file(path, pieces, sync):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for piece in pieces:
        fail_unless(os.write(fd, piece) == len(piece), f"short write to {path}")
    if sync:
        os.fsync(fd)
    os.close(fd)


# ---------------------------------------------------------------- one large file

class Large:
    """A file of random bytes, and how it is read."""

    def __init__(self, side, scale):
        self.side, self.path = side, side.folder / "large"
        self.pieces = [os.urandom(MIB) for _ in range(scale["big_mib"])]
        self.size = len(self.pieces) * MIB

    def block(self, number):
        piece, at = divmod(number * 4 * KIB, MIB)
        return self.pieces[piece][at:at + 4 * KIB]

    def check(self):
        with open(self.path, "rb") as file:
            same = all(file.read(MIB) == piece for piece in self.pieces) and not file.read(1)
        fail_unless(same, f"{self.path} is not what was written")

    def read_through(self):
        buffer, size = bytearray(MIB), 0
        with open(self.path, "rb", buffering=0) as file:
            while got := file.readinto(buffer):
                size += got
        fail_unless(size == self.size, f"{self.path} has {size} bytes")

    def map_through(self):
        with open(self.path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
            for at in range(0, self.size, MIB):
                fail_unless(view[at:at + MIB] == self.pieces[at // MIB], f"{self.path} is mapped wrongly")

    def some_blocks(self, count, seed):
        return random.Random(seed).sample(range(self.size // (4 * KIB)), count)

    def read_blocks(self, blocks, laps=None):
        fd = os.open(self.path, os.O_RDONLY)
        for number in blocks:
            lap = time.perf_counter()
            got = os.pread(fd, 4 * KIB, number * 4 * KIB)
            if laps is not None:
                laps.append(time.perf_counter() - lap)
            fail_unless(got == self.block(number), f"block {number} of {self.path} is wrong")
        os.close(fd)

    def rate_of_threads(self, count):
        """Reads a second of so many threads, of what is in memory."""
        blocks = [self.some_blocks(5_000, f"hot {n}") for n in range(count)]
        threads = [threading.Thread(target=self.read_blocks, args=(some,)) for some in blocks]

        def run():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return sum(map(len, blocks)) / seconds(run)

    def edit(self):
        """4 KiB in the middle, written over."""
        fd = os.open(self.path, os.O_RDWR)
        body, at = os.urandom(4 * KIB), self.size // 2 // (4 * KIB)
        os.pwrite(fd, body, at * 4 * KIB)
        os.close(fd)
        piece, begin = divmod(at * 4 * KIB, MIB)
        whole = self.pieces[piece]
        self.pieces[piece] = whole[:begin] + body + whole[begin + 4 * KIB:]


def large_file(side, scale):
    """Written, read through and here and there, cold and hot, and edited in the middle while nothing of it is local."""
    large, figures = Large(side, scale), {}
    wrote = seconds(write_file, large.path, large.pieces, True)
    figures["write_durable"] = large.size / 1e6 / (wrote + seconds(side.settle))
    figures["write"] = large.size / 1e6 / wrote
    side.cool()
    laps, before = [], moved_bytes()
    figures["scattered_total"] = seconds(large.read_blocks, large.some_blocks(scale["scattered"], "cold"), laps)
    figures["scattered_p50"] = 1e3 * statistics.median(laps)
    figures["scattered_moved"] = (moved_bytes() - before) / 1e6
    side.cool()
    for name in ("read_cold", "read_hot"):
        figures[name] = large.size / 1e6 / seconds(large.read_through)
        large.check()
    figures["map_hot"] = large.size / 1e6 / seconds(large.map_through)
    figures["scattered_hot"], figures["scattered_hot_4"] = large.rate_of_threads(1), large.rate_of_threads(4)
    side.cool()
    before = moved_bytes()
    edited = seconds(large.edit)
    figures["edit_close"], figures["edit_durable"] = 1e3 * edited, 1e3 * (edited + seconds(side.settle))
    figures["edit_moved"] = (moved_bytes() - before) / 1e6
    large.check()
    return figures


# ---------------------------------------------------------------- many small files

class Small:
    """Files of 4 KiB in folders of 100."""

    def __init__(self, side, scale):
        self.side = side
        self.bodies = [os.urandom(4 * KIB) for _ in range(scale["folders"] * PER_FOLDER)]
        self.paths = [f"{side.folder}/folder-{n // PER_FOLDER}/file-{n}" for n in range(len(self.bodies))]

    def create(self):
        for number, (path, body) in enumerate(zip(self.paths, self.bodies)):
            if number % PER_FOLDER == 0:
                os.mkdir(os.path.dirname(path))
            write_file(path, [body], False)

    def read(self):
        for path, body in zip(self.paths, self.bodies):
            with open(path, "rb", buffering=0) as file:
                fail_unless(file.read(8 * KIB) == body, f"{path} is not what was written")

    def stat(self):
        for path in self.paths:
            fail_unless(os.stat(path).st_size == 4 * KIB, f"{path} has another size")

    def rates(self, action):
        """A second, cold and hot."""
        self.side.cool()
        return [len(self.paths) / seconds(action) for _ in ("cold", "hot")]


def small_files(side, scale):
    """Made, sent, read, looked at and removed."""
    small, figures, busy = Small(side, scale), {}, side.cpu_seconds()
    created = seconds(small.create)
    durable = created + seconds(side.settle)
    figures["create"], figures["create_durable"] = len(small.paths) / created, len(small.paths) / durable
    figures["small_cold"], figures["small_hot"] = small.rates(small.read)
    figures["cpu_per_file"] = 1e3 * (side.cpu_seconds() - busy) / len(small.paths)
    figures["stat_cold"], figures["stat_hot"] = small.rates(small.stat)
    figures["remove"] = len(small.paths) / seconds(shutil.rmtree, side.folder)
    side.folder.mkdir()
    return figures


def wide_folder(side, scale):
    """Many empty files in one folder: made, listed, and names asked for that are not there."""
    folder, names = side.folder / "wide", [f"entry-{n:06}" for n in range(scale["wide"])]
    absent = [f"{folder}/absent-{n}" for n in range(scale["absent"])]
    folder.mkdir()

    def create():
        for name in names:
            os.close(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))

    def list_all():
        fail_unless(len(os.listdir(folder)) == len(names), f"{folder} lists something else")

    def miss():
        fail_unless(not any(map(os.path.lexists, absent)), "a name is there that was never made")
    figures = dict(wide_create=len(names) / seconds(create))
    side.cool()
    figures["wide_cold"], figures["wide_hot"] = (1e3 * seconds(list_all) for _ in ("cold", "hot"))
    fail_unless(sorted(os.listdir(folder)) == names, f"{folder} lists something else")
    figures["absent_first"], figures["absent_again"] = (len(absent) / seconds(miss) for _ in ("first", "again"))
    return figures


# ---------------------------------------------------------------- programs

def sources(count):
    """An archive of a tree of sources of some KiB each, and {name: bytes} of what is in it."""
    dice, files = random.Random("sources"), {}
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 10))) for _ in range(2_000)]
    for number in range(count):
        lines = (" ".join(dice.choices(words, k=8)) for _ in range(dice.randint(5, 150)))
        files[f"part-{number % 50}/deep-{number % 7}/source-{number}.txt"] = "\n".join([*lines, ""]).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, body in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(body), 1_700_000_000
            archive.addfile(entry, io.BytesIO(body))
    return packed.getvalue(), files


def output(command, folder, ok=(0,)):
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "bench", f"GIT_{who}_EMAIL": "bench@localhost"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    fail_unless(done.returncode in ok, f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def source_tree(side, scale):
    """Unpacked by tar, kept by git, searched by grep."""
    archive, files = sources(scale["sources"])
    folder, packed = side.folder / "sources", side.folder.parent / f".{side.folder.name}.tar"
    folder.mkdir()
    packed.write_bytes(archive)
    unpacked = seconds(output, ["tar", "-xf", str(packed)], folder)
    packed.unlink()
    figures = dict(untar=len(files) / unpacked)
    figures["untar_durable"] = len(files) / (unpacked + seconds(side.settle))

    def commit():
        for step in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
            output(["git", *step], folder)

    def status():
        fail_unless(not output(["git", "status", "--porcelain"], folder), "git sees changes where there are none")

    def grep():
        fail_unless(not output(["grep", "-r", "--exclude-dir=.git", "NOWHERE", "."], folder, ok=(1,)), "grep found it")
    figures["git_commit"] = seconds(commit)
    status()
    figures["git_status_hot"] = seconds(status)
    for name, action in (("git_status_cold", status), ("grep_cold", grep)):
        side.cool()
        figures[name] = seconds(action)
    figures["grep_hot"] = seconds(grep)
    same = all((folder / name).read_bytes() == body for name, body in files.items())
    fail_unless(same, f"{folder} is not what was unpacked")
    return figures


def transactions(path, journal, count):
    """ms of each."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(f"pragma journal_mode = {journal}")
    database.execute("pragma synchronous = full")
    database.execute("create table rows (n integer, body blob)")

    def insert():
        for number in range(count):
            database.execute("insert into rows values (?, ?)", (number, b"x" * 200))
    took = seconds(insert)
    found = database.execute("select count(*) from rows").fetchone()[0]
    sound = database.execute("pragma integrity_check").fetchone()[0]
    database.close()
    fail_unless((found, sound) == (count, "ok"), f"{path}: {found} rows, {sound}")
    return 1e3 * took / count


def small_writes(side, scale):
    """What waits for fsync: a log that grows, transactions of SQLite, a file that is replaced."""
    count, line = scale["commits"], b"a line of a log of about a hundred bytes, as programs write them when something has happened\n"
    log, replaced = side.folder / "log", side.folder / "replaced"

    def append():
        fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for _ in range(5 * count):
            os.write(fd, line)
            os.fsync(fd)
        os.close(fd)

    def replace():
        for number in range(count):
            write_file(f"{replaced}.new", [b"%d\n" % number * 100], True)
            os.rename(f"{replaced}.new", replaced)
    figures = dict(append=5 * count / seconds(append), replace=count / seconds(replace))
    fail_unless(log.read_bytes() == line * (5 * count) and replaced.read_bytes() == b"%d\n" % (count - 1) * 100, "a log or a file is wrong")
    for journal in ("delete", "wal"):
        figures[f"sqlite_{journal}"] = transactions(side.folder / f"{journal}.db", journal, count)
    return figures


# ---------------------------------------------------------------- two devices

def visible(writer, reader, count):
    """ms from the return of close() in one folder until stat() in the other shows the file whole: p50 and p99."""
    body, laps = os.urandom(KIB), []
    until(reader.is_dir, 30, "the second device does not see the first one's folder")
    for number in range(count):
        seen = reader / f"seen-{number}"
        fail_unless(not seen.exists(), "a file is there before it was written")
        write_file(writer / seen.name, [body], False)
        laps.append(1e3 * seconds(until, lambda at=seen: at.exists() and at.stat().st_size == KIB, 30,
                                  f"{seen} does not appear", 0.0002))
    fail_unless((reader / "seen-0").read_bytes() == body, "the second device reads something else")
    laps.sort()
    return dict(visible_p50=laps[count // 2], visible_p99=laps[min(count - 1, count * 99 // 100)])


WORKLOADS = (small_files, wide_folder, source_tree, small_writes, large_file)
