"""The proofs that the cache keeps to its size, whatever is read. MB is 10**6 bytes."""
import hashlib
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

from torture_house import Failed, until
from torture_look import Stage, blocks, content_blocks, mb, names

MIB, KIB = 1 << 20, 1 << 10
READERS = 8
PIECE_BYTES = 4 * MIB


class Blocks(threading.Thread):
    """Looks at the blocks of a device's state every 50 ms."""

    def __init__(self, device):
        super().__init__(daemon=True)
        self.device, self.most, self.most_contents, self.samples, self.over = device, 0, 0, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.05):
            self.most = max(self.most, blocks(self.device.state))
            self.most_contents = max(self.most_contents, content_blocks(self.device))
            self.samples += 1


def budget(house, args):
    """Four times the cache is read: it keeps to its size, and to what was read last."""
    limit, server, stage = args.budget * MIB, house.server(), Stage()
    sizes = [8 * MIB] * (args.budget // 4) + [MIB] * args.budget + [16 * KIB] * (64 * args.budget)
    random.Random(args.seed).shuffle(sizes)
    a = house.device("A", server.url).up()
    for number, size in enumerate(sizes):
        folder = a.mount / str(number // 256)
        folder.mkdir(exist_ok=True)
        (folder / str(number)).write_bytes(random.Random(number).randbytes(size))
    stage.mark("written")
    a.wait()
    stage.mark("durable")
    b = house.device("B", server.url, "--cache-size", str(limit)).up()
    until(lambda: names(b.mount) == names(a.mount), 120, "B does not see all names")
    watch = Blocks(b)
    watch.start()
    read_numbered(b.mount, sizes, 0)
    stage.mark("read")
    fetched = b.counter("bytes_fetched")
    quarter, quarter_bytes = last_files(sizes, sum(sizes) // 4)
    read_numbered(b.mount, sizes, quarter)
    again = b.counter("bytes_fetched") - fetched
    stage.mark("last quarter again")
    kept, kept_bytes = last_files(sizes, limit * 7 // 8)
    drop_pages(b.mount, sizes, kept)
    read_numbered(b.mount, sizes, kept)
    from_disk = b.counter("bytes_fetched") - fetched - again
    stage.mark("what the disk holds again")
    watch.over.set()
    watch.join()
    figures = (f"budget {mb(limit)}, read {mb(sum(sizes))} in {len(sizes):,} files, fetched {mb(fetched)}; the last quarter, {mb(quarter_bytes)}, again: "
               f"{again} bytes fetched; the last {mb(kept_bytes)} again, without the kernel's pages: {from_disk} bytes; most blocks of {watch.samples:,} "
               f"samples: {mb(watch.most_contents)} contents, {mb(watch.most)} with log and database; {stage}")
    if again or from_disk or watch.most > limit or not watch.most_contents:
        raise Failed(figures)
    return figures


def write_random(path, size):
    """Writes a large file; gives the hash of what is in it."""
    digest = hashlib.blake2b()
    with path.open("wb") as file:
        for _ in range(size // PIECE_BYTES):
            piece = os.urandom(PIECE_BYTES)
            digest.update(piece)
            file.write(piece)
    return digest.digest()


def hash_of(path):
    digest = hashlib.blake2b()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.digest()


def readers(house, args):
    """Eight programs read GIB at once through the cache: at no moment is there more of it than it may be, and none fails."""
    limit, size, server, stage = args.budget * MIB, args.gib * 1024 * MIB // READERS, house.server(), Stage()
    a = house.device("A", server.url, "--cache-size", str(1024 * MIB)).up()
    written = []
    for number in range(READERS):
        written.append(write_random(a.mount / str(number), size))
        a.wait()
    stage.mark("written and durable")
    b = house.device("B", server.url, "--cache-size", str(limit)).up()
    until(lambda: names(b.mount) == READERS, 120, "B does not see all names")
    watch = Blocks(b)
    watch.start()
    with ThreadPoolExecutor(READERS) as pool:
        read = list(pool.map(hash_of, [b.mount / str(number) for number in range(READERS)]))
    stage.mark("read")
    watch.over.set()
    watch.join()
    figures = (f"budget {mb(limit)}, {READERS} programs read {mb(READERS * size)} at once; most blocks of {watch.samples:,} samples: "
               f"{mb(watch.most_contents)} contents, {mb(watch.most)} with log and database; {stage}")
    if read != written or watch.most > limit or not watch.most_contents:
        raise Failed(figures)
    return figures


def last_files(sizes, count):
    """The first of the last files that have at most so many bytes together, and how many they have."""
    first, seen = len(sizes), 0
    while first and seen + sizes[first - 1] <= count:
        first -= 1
        seen += sizes[first]
    return first, seen


def drop_pages(root, sizes, first):
    """Has the kernel forget what it keeps of these files: what is read then is read from Tarn."""
    for number in range(first, len(sizes)):
        with (root / str(number // 256) / str(number)).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_numbered(root, sizes, first):
    for number in range(first, len(sizes)):
        if (root / str(number // 256) / str(number)).read_bytes() != random.Random(number).randbytes(sizes[number]):
            raise Failed(f"file {number} is not what was written")
