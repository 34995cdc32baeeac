"""What `scripts/bench` runs: workloads on a mount and on the plain disk that holds its state, in turn, in the same run.

Every reading is checked against what was written before its time counts. MB is 10**6 bytes.
"""
import argparse
import contextlib
import http.client
import os
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench_wan
from bench_peers import peers

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(os.environ["TARN_BIN_DIR"]).resolve()
MIB, KIB = 1 << 20, 1 << 10
SIZES = {
    "small": dict(big_mib=64, folders=10, visible=50),
    "full": dict(big_mib=1024, folders=100, visible=200),
}
PER_FOLDER = 100


# ---------------------------------------------------------------- what is measured: a server and two devices

class Device:
    """A signed-in device, mounted."""

    def __init__(self, place, name, url, password):
        self.mount = place / f"mount-{name}"
        self.env = {**os.environ, "TARN_HOME": str(place / f"device-{name}")}
        self.mount.mkdir()
        self.tarn("login", "--server", url, "--user", "bench", "--password-stdin", "--device", name, text=password)
        self.tarn("mount", str(self.mount))

    def tarn(self, *args, text=None, check=True):
        # A session of its own: Ctrl-C here must not reach the daemon that `mount` leaves behind.
        done = subprocess.run([BIN / "tarn", *args], env=self.env, input=text, text=True, start_new_session=True,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=900, check=False)
        if check and done.returncode:
            raise SystemExit(f"bench: tarn {args[0]} failed: {done.stderr.strip()}")

    def wait(self):
        self.tarn("wait", str(self.mount))

    def evict(self):
        self.tarn("evict", "--all", str(self.mount))

    def close(self):
        self.tarn("unmount", "--now", str(self.mount), check=False)
        if os.path.ismount(self.mount):
            subprocess.run(["fusermount3", "-u", "-z", str(self.mount)], check=False)


@contextlib.contextmanager
def serve(place):
    """A server on a free port of loopback, with the account `bench`: gives its URL and the password."""
    data, password = place / "server", secrets.token_hex(16)
    subprocess.run([BIN / "tarn-server", "user", "add", "bench", "--password-stdin", "--data", data], input=password,
                   text=True, check=True, stdout=subprocess.DEVNULL)
    with open(place / "server.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen([BIN / "tarn-server", "serve", "--data", data, "--listen", "127.0.0.1:0"],
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        until(lambda: answers(data / "address"), 60, "the server does not answer")
        yield f"http://{(data / 'address').read_text().strip()}", password
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def answers(address):
    try:
        connection = http.client.HTTPConnection(address.read_text().strip(), timeout=5)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False


def until(condition, seconds, complaint, pause=0.02):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"bench: {complaint}")
        time.sleep(pause)


# ---------------------------------------------------------------- the workloads

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


def drop_caches():
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*as_root, "sh", "-c", "sync; echo 3 >/proc/sys/vm/drop_caches"], check=True)


def seconds(action, *args):
    start = time.perf_counter()
    action(*args)
    return time.perf_counter() - start


def write_file(path, pieces, sync):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for piece in pieces:
        if os.write(fd, piece) != len(piece):
            raise SystemExit(f"bench: short write to {path}")
    if sync:
        os.fsync(fd)
    os.close(fd)


def read_through(path):
    buffer, size = bytearray(MIB), 0
    with open(path, "rb", buffering=0) as file:
        while got := file.readinto(buffer):
            size += got
    return size


def large_file(side, scale):
    """One large file of random bytes: MB/s of writing with fsync, until durable, of reading cold and hot."""
    pieces, path = [os.urandom(MIB) for _ in range(scale["big_mib"])], side.folder / "large"
    size = len(pieces) * MIB
    wrote = seconds(write_file, path, pieces, True)
    durable = wrote + seconds(side.settle)
    side.cool()
    cold, hot = seconds(read_through, path), seconds(read_through, path)
    with open(path, "rb") as file:
        if not all(file.read(MIB) == piece for piece in pieces) or file.read(1):
            raise SystemExit(f"bench: {path} is not what was written")
    rates = dict(write=wrote, write_durable=durable, read_cold=cold, read_hot=hot)
    return {name: size / 1e6 / took for name, took in rates.items()}


def create_all(side, bodies):
    for number, body in enumerate(bodies):
        folder = side.folder / f"folder-{number // PER_FOLDER}"
        if number % PER_FOLDER == 0:
            folder.mkdir()
        write_file(f"{folder}/file-{number}", [body], False)


def read_all(side, bodies):
    for number, body in enumerate(bodies):
        with open(f"{side.folder}/folder-{number // PER_FOLDER}/file-{number}", "rb", buffering=0) as file:
            if file.read(8 * KIB) != body:
                raise SystemExit(f"bench: small file {number} is not what was written")


def small_files(side, scale):
    """Files of 4 KiB in folders of 100: files/s of creating, until durable, of reading cold and hot."""
    bodies = [os.urandom(4 * KIB) for _ in range(scale["folders"] * PER_FOLDER)]
    created = seconds(create_all, side, bodies)
    durable = created + seconds(side.settle)
    side.cool()
    cold, hot = seconds(read_all, side, bodies), seconds(read_all, side, bodies)
    rates = dict(create=created, create_durable=durable, small_cold=cold, small_hot=hot)
    return {name: len(bodies) / took for name, took in rates.items()}


def visible(writer, reader, count):
    """ms from the return of close() in one folder until stat() in the other shows the file whole: p50 and p99."""
    body, laps = os.urandom(KIB), []
    until(reader.is_dir, 30, "the second device does not see the first one's folder")
    for number in range(count):
        seen = reader / f"seen-{number}"
        if seen.exists():
            raise SystemExit("bench: a file is there before it was written")
        write_file(writer / seen.name, [body], False)
        laps.append(1e3 * seconds(until, lambda at=seen: at.exists() and at.stat().st_size == KIB, 30,
                                  f"{seen} does not appear", 0.0002))
    if (reader / "seen-0").read_bytes() != body:
        raise SystemExit("bench: the second device reads something else")
    laps.sort()
    return dict(visible_p50=laps[count // 2], visible_p99=laps[min(count - 1, count * 99 // 100)])


ROWS = [
    ("visible_p50", "change on A visible on B, p50", "ms"),
    ("visible_p99", "change on A visible on B, p99", "ms"),
    ("create", "create small files", "files/s"),
    ("create_durable", "create small files, durable", "files/s"),
    ("small_cold", "read small files, cold", "files/s"),
    ("small_hot", "read small files, hot", "files/s"),
    ("write", "sequential write, fsync", "MB/s"),
    ("write_durable", "sequential write, durable", "MB/s"),
    ("read_cold", "sequential read, cold", "MB/s"),
    ("read_hot", "sequential read, hot", "MB/s"),
]


def one_run(place, number, first, second, scale):
    """{row: (Tarn, plain disk or None)} of one run; its files are gone afterwards."""
    figures = {}
    for workload in (small_files, large_file):
        disk, mount = Side(place / f"disk-{number}"), Side(first.mount / f"run-{number}", first)
        plain, ours = workload(disk, scale), workload(mount, scale)
        figures.update({name: (ours[name], plain[name]) for name in ours})
        for side in (disk, mount):
            shutil.rmtree(side.folder)
        first.wait()
    mount = Side(first.mount / f"run-{number}")
    latencies = visible(mount.folder, second.mount / f"run-{number}", scale["visible"])
    figures.update({name: (value, None) for name, value in latencies.items()})
    shutil.rmtree(mount.folder)
    first.wait()
    return figures


def peer_runs(place, runs, scale):
    """{drive: [figures of each run]} of the drives that are here."""
    figures = {}
    with peers(place) as standing:
        for number in range(runs):
            for peer in standing:
                print(f"== {peer.name}, run {number + 1} of {runs}", file=sys.stderr, flush=True)
                run = figures.setdefault(peer.name, [])
                run.append({})
                for workload in (small_files, large_file):
                    side = Side(peer.mount / f"run-{number}-{workload.__name__}", peer)
                    run[-1].update(workload(side, scale))
                    shutil.rmtree(side.folder)
                    peer.wait()
    return figures


def over_a_line(place, line, url, password, files):
    """{drive: figures} of reading over a slow line what another device has put there."""
    print(f"== over {line.name}", file=sys.stderr, flush=True)
    place.mkdir()
    port = line.relay(int(url.rsplit(":", 1)[1]))
    with contextlib.closing(Device(place, "far", f"http://127.0.0.1:{port}", password)) as device:
        columns = {"Tarn": bench_wan.read_all(device.mount / "wan", files)}
    with peers(place, line.relay) as standing:
        for peer in standing:
            bench_wan.fill(peer.served, files)
            peer.cool()
            columns[peer.name] = bench_wan.read_all(peer.mount, files)
    return columns


# ---------------------------------------------------------------- the report

def figure(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values):
    return f"{figure(statistics.median(values))} ({figure(min(values))} to {figure(max(values))})"


def table(runs):
    lines = ["| workload | Tarn | plain disk | ratio |", "|---|--:|--:|--:|"]
    for name, label, unit in ROWS:
        ours, plain = [run[name][0] for run in runs], [run[name][1] for run in runs]
        beside = ["-", "-"]
        if None not in plain:
            ratio = statistics.median(a / b for a, b in zip(ours, plain))
            beside = [spread(plain), f"{ratio:.2f}"]
        lines.append(f"| {label}, {unit} | {spread(ours)} | {beside[0]} | {beside[1]} |")
    return "\n".join(lines)


def peer_table(runs, others):
    lines = [f"| workload | Tarn | {' | '.join(others)} |", "|---|--:|" + "--:|" * len(others)]
    for name, label, unit in ROWS:
        if all(name in figures[0] for figures in others.values()):
            cells = [[run[name][0] for run in runs], *([run[name] for run in figures] for figures in others.values())]
            lines.append(f"| {label}, {unit} | {' | '.join(map(spread, cells))} |")
    return "\n".join(lines)


def machine(place):
    """The processor and the file system underneath, in one line."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), os.uname().machine)
    kind = subprocess.run(["stat", "-f", "-c", "%T", place], capture_output=True, text=True, check=True).stdout.strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    release = ".".join(os.uname().release.split("-")[0].split(".")[:2])
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {release}, {kind.replace('ext2/ext3', 'ext4')}"


def document(args, scale, runs, place):
    files = scale["folders"] * PER_FOLDER
    user = "root" if os.geteuid() == 0 else "an ordinary user"
    return f"""# Benchmarks

```sh
scripts/bench --size {args.size} --runs {args.runs}{' --peers' * args.peers}{' --wan' * args.wan}
```

wrote this page on {machine(place)}, as {user}. Server and both devices are on that machine, the server with SQLite and a local folder.

{table(runs)}

Median of {args.runs} run{"s"[:args.runs > 1]} (least to most); the ratio is the median of Tarn / plain disk of the same run, more is better. MB is 10^6 bytes.

- Small files: {files:,} files of 4 KiB of random bytes in folders of {PER_FOLDER}. Large file: {scale['big_mib']:,} MiB of random bytes.
- *Durable* counts until `tarn wait` returns, on the plain disk until `sync` does.
- *Cold* is after `tarn evict --all` with the kernel's caches dropped; on the plain disk only the caches are dropped. *Hot* is the
  same reading once more.
- *Visible*: from the return of `close` on A until `stat` on B shows the file in its full size; {scale['visible']} files of 1 KiB per run, one after the other.
"""


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", allow_abbrev=False)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--wan", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    args = parser.parse_args()
    if args.runs < 1:
        parser.error("at least one run")
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda *_: sys.exit(130))
    scale = SIZES[args.size]
    with contextlib.ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="tarn-bench.", dir=os.environ.get("TARN_BENCH_DIR", "/var/tmp")))
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        url, password = stack.enter_context(serve(place))
        devices = []
        for name in ("A", "B"):
            devices.append(stack.enter_context(contextlib.closing(Device(place, name, url, password))))
        runs = []
        for number in range(args.runs):
            print(f"== run {number + 1} of {args.runs}", file=sys.stderr, flush=True)
            runs.append(one_run(place, number, *devices, scale))
        more = []
        if args.peers and (others := peer_runs(place, args.runs, scale)):
            more.append(peer_table(runs, others))
        if args.wan:
            files = bench_wan.data()
            bench_wan.fill(devices[0].mount / "wan", files)
            devices[0].wait()
            for number, line in enumerate(bench_wan.lines()):
                columns = over_a_line(place / f"line-{number}", line, url, password, files)
                more.append(bench_wan.table(line, columns))
        text = "\n\n".join([document(args, scale, runs, place).rstrip("\n"), *more]) + "\n"
    print("\n\n".join([table(runs), *more]))
    args.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
