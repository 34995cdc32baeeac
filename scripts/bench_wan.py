"""A line that is slow, for `scripts/bench --wan`: a relay that delays, limits and now and then stalls what goes through it."""
import contextlib
import os
import queue
import socket
import threading
import time

PIECE_BYTES = 8 << 10
# What the two ends and the line between may hold: beyond it the sender waits.
PIECES_UNDER_WAY = 64


class Line:
    """A line of both directions: seconds one way, bytes a second, and every so many seconds a stall of some."""

    def __init__(self, name, delay, rate, stall_every=0.0, stall=0.0):
        self.name, self.delay, self.rate, self.stall_every, self.stall = name, delay, rate, stall_every, stall
        self.start, self.lock, self.free = time.monotonic(), threading.Lock(), {"up": 0.0, "down": 0.0}

    def arrival(self, way, size):
        """When a piece that is sent now is through: all connections share the line."""
        with self.lock:
            begin = max(time.monotonic(), self.free[way])
            if self.stall_every:
                into = (begin - self.start) % self.stall_every
                begin += max(0.0, self.stall - into)
            self.free[way] = begin + size / self.rate
            return self.free[way] + self.delay

    def relay(self, port):
        """Listens on a port of its own and relays to this one of loopback."""
        listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, args=(listener, port), daemon=True).start()
        return listener.getsockname()[1]

    def accept(self, listener, port):
        while True:
            client, _ = listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", port))
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for way, source, sink in (("up", client, server), ("down", server, client)):
                pieces = queue.Queue(PIECES_UNDER_WAY)
                threading.Thread(target=self.take, args=(way, source, pieces), daemon=True).start()
                threading.Thread(target=give, args=(sink, pieces), daemon=True).start()

    def take(self, way, source, pieces):
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                pieces.put((self.arrival(way, len(piece)), piece))
        pieces.put((0, b""))


def give(sink, pieces):
    with contextlib.suppress(OSError):
        while (item := pieces.get())[1]:
            time.sleep(max(0.0, item[0] - time.monotonic()))
            sink.sendall(item[1])
        sink.shutdown(socket.SHUT_WR)


def lines():
    """The two lines that are measured."""
    return [Line("20 ms, 20 Mbit/s", 0.010, 2_500_000), Line("100 ms, 5 Mbit/s with stalls", 0.050, 625_000, 10.0, 1.5)]


# ---------------------------------------------------------------- the reading part, over such a line

BIG_BYTES, SMALL_BYTES, SMALL_COUNT, PER_FOLDER, SCATTERED = 8 << 20, 4 << 10, 200, 50, 30
ROWS = [
    ("listed", "first listing of all folders, ms"),
    ("small", "read small files, files/s"),
    ("scattered", "read 4 KiB here and there of a large file, ms each"),
    ("large", "sequential read, MB/s"),
]


def data():
    """What is read: {relative path: bytes}."""
    files = {f"folder-{n // PER_FOLDER}/file-{n}": os.urandom(SMALL_BYTES) for n in range(SMALL_COUNT)}
    return {**files, "large": os.urandom(BIG_BYTES), "scattered": os.urandom(BIG_BYTES)}


def fill(folder, files):
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def read_all(folder, files):
    """{row: figure} of reading all of it once, cold; every byte is compared."""
    lap = time.monotonic()
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if names != set(files):
        raise SystemExit(f"bench: {folder} lists {len(names)} of {len(files)} files")
    listed, lap = time.monotonic() - lap, time.monotonic()
    for path in sorted(files, key=lambda path: (len(path), path)):
        if path.startswith("folder") and (folder / path).read_bytes() != files[path]:
            raise SystemExit(f"bench: {folder / path} is not what was written")
    small, lap = time.monotonic() - lap, time.monotonic()
    with open(folder / "scattered", "rb", buffering=0) as file:
        # Far enough apart that nothing read ahead serves the next.
        for n in range(SCATTERED):
            at = (n * 7919 % SCATTERED) * (BIG_BYTES // SCATTERED) // 4096 * 4096
            if os.pread(file.fileno(), 4096, at) != files["scattered"][at:at + 4096]:
                raise SystemExit(f"bench: {folder}/scattered is not what was written")
    scattered, lap = time.monotonic() - lap, time.monotonic()
    if (folder / "large").read_bytes() != files["large"]:
        raise SystemExit(f"bench: {folder}/large is not what was written")
    large = time.monotonic() - lap
    return dict(listed=listed * 1e3, small=SMALL_COUNT / small, scattered=scattered * 1e3 / SCATTERED,
                large=BIG_BYTES / 1e6 / large)


def table(line, columns):
    """`columns`: {drive: figures}."""
    rows = [f"| over {line.name} | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
    for name, label in ROWS:
        rows.append(f"| {label} | {' | '.join(f'{figures[name]:,.1f}' for figures in columns.values())} |")
    return "\n".join(rows)
