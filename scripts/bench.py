"""What `scripts/bench` runs: workloads on a mount and on the plain disk that holds its state, in turn, in the same run."""
import argparse
import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import bench_report
import bench_wan
from bench_peers import peers
from bench_workloads import SIZES, WORKLOADS, Side, large_file, small_files, until, visible

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(os.environ["TARN_BIN_DIR"]).resolve()
TICKS = os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------- what is measured: a server and two devices

class Device:
    """A signed-in device, mounted."""

    def __init__(self, place, name, url, password, *mount_args):
        self.mount = place / f"mount-{name}"
        self.env = {**os.environ, "TARN_HOME": str(place / f"device-{name}")}
        self.mount.mkdir()
        self.tarn("login", "--server", url, "--user", "bench", "--password-stdin", "--device", name, text=password)
        self.mount_args = mount_args
        self.tarn("mount", *mount_args, str(self.mount))

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

    def proc(self, file):
        """What /proc says of the daemon."""
        said = subprocess.run([BIN / "tarn", "status", "--json", str(self.mount)], env=self.env, text=True, check=True,
                              stdout=subprocess.PIPE).stdout
        return Path(f"/proc/{json.loads(said)['pid']}/{file}").read_text(encoding="utf-8")

    def cpu_seconds(self):
        return sum(map(int, self.proc("stat").rsplit(")", 1)[1].split()[11:13])) / TICKS

    def memory_mb(self):
        """At its highest."""
        line = next(line for line in self.proc("status").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6

    @contextlib.contextmanager
    def away(self):
        """Not mounted meanwhile: what it would take in is no part of what another one's work takes."""
        self.tarn("unmount", str(self.mount))
        yield
        self.tarn("mount", *self.mount_args, str(self.mount))
        self.wait()

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


# ---------------------------------------------------------------- runs

def measure(folder, workload, scale, device=None):
    """Its figures in a folder that is gone afterwards."""
    side = Side(folder, device)
    figures = workload(side, scale)
    shutil.rmtree(side.folder)
    if device:
        device.wait()
    return figures


def one_run(place, number, devices, scale):
    """{"tarn", "ordinary", "disk": {row: figure}} of one run."""
    first, second, *ordinary = devices
    run = dict(tarn={}, ordinary={}, disk={})
    for workload in WORKLOADS:
        name = f"run-{number}-{workload.__name__}"
        with contextlib.ExitStack() as others:
            for device in devices[1:]:
                others.enter_context(device.away())
            run["disk"].update(measure(place / name, workload, scale))
            run["tarn"].update(measure(first.mount / name, workload, scale, first))
            run["tarn"]["memory"] = max(first.memory_mb(), run["tarn"].get("memory", 0))
        for device in ordinary:
            with first.away(), second.away():
                run["ordinary"].update(measure(device.mount / name, workload, scale, device))
    shared = Path(f"run-{number}")
    (first.mount / shared).mkdir()
    run["tarn"].update(visible(first.mount / shared, second.mount / shared, scale["visible"]))
    shutil.rmtree(first.mount / shared)
    first.wait()
    return run


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
                    folder = peer.mount / f"run-{number}-{workload.__name__}"
                    run[-1].update(measure(folder, workload, scale, peer))
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
        # What root mounts is passed through; most people's mounts are not.
        kinds = [("A",), ("B",), *[("C", "--no-passthrough")] * bench_report.IS_ROOT]
        for name, *mount_args in kinds:
            devices.append(stack.enter_context(contextlib.closing(Device(place, name, url, password, *mount_args))))
        runs = []
        for number in range(args.runs):
            print(f"== run {number + 1} of {args.runs}", file=sys.stderr, flush=True)
            runs.append(one_run(place, number, devices, scale))
        more = []
        if args.peers and (others := peer_runs(place, args.runs, scale)):
            more.append(bench_report.peer_table(runs, others))
        if args.wan:
            files = bench_wan.data()
            bench_wan.fill(devices[0].mount / "wan", files)
            devices[0].wait()
            for number, line in enumerate(bench_wan.lines()):
                columns = over_a_line(place / f"line-{number}", line, url, password, files)
                more.append(bench_wan.table(line, columns))
        plot = args.output.with_suffix(".svg")
        page = bench_report.document(args, scale, runs, place, plot.name)
    print("\n\n".join([bench_report.table(runs), *more]))
    args.output.write_text("\n\n".join([page.rstrip("\n"), *more]) + "\n", encoding="utf-8")
    plot.write_text(bench_report.plot(runs), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
