"""What `scripts/torture` runs: one function for each proof. It gives its figures, or raises Failed. MB is 10**6 bytes."""
import argparse
import contextlib
import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from torture_budget import budget, readers
from torture_copy import Copy
from torture_crash import contents, crash, devices, power, server, survive
from torture_house import BIN, Device, Failed, Postgres, Relay, Server, remove, run, until
from torture_look import Stage, blocks, content_blocks, names, walk
from torture_offline import offline
from torture_suites import changes, fsx, latency, listings
from torture_systemd import systemd

MIB, KIB = 1 << 20, 1 << 10


# ---------------------------------------------------------------- trees

def same_trees(left, right):
    """Raises unless names, bytes, modes and the times of files agree."""
    code, output = run("diff", "-r", "--no-dereference", left, right, timeout=7200)
    if code:
        raise Failed(f"diff -r {left.name} {right.name} ended with {code}: {output[:600]}")
    for path, wanted in walk(left):
        found = os.lstat(right / path)
        if stat.S_ISLNK(wanted.st_mode):
            continue
        if found.st_mode != wanted.st_mode:
            raise Failed(f"{path}: mode {found.st_mode:o} instead of {wanted.st_mode:o}")
        if stat.S_ISREG(wanted.st_mode) and found.st_mtime_ns != wanted.st_mtime_ns:
            raise Failed(f"{path}: time {found.st_mtime_ns} instead of {wanted.st_mtime_ns}")


# ---------------------------------------------------------------- copy

def copy(house, args):
    """A large tree, whole on a fresh second device, fetched as it is read."""
    server, stage = house.server(), Stage()
    a = house.device("A", server.url).up()
    subprocess.run(["cp", "-a", "--no-preserve=ownership,links", args.tree, a.mount / "tree"], check=True)
    stage.mark("copied in")
    a.wait()
    stage.mark("durable")
    relay = house.enter(Relay(server.port))
    b = house.device("B", relay.url).up()
    wanted = names(args.tree)
    until(lambda: (b.mount / "tree").is_dir() and names(b.mount / "tree") == wanted, 300, "B does not see all names")
    stage.mark("all names on B")
    shown, kept = blocks(b.mount), content_blocks(b)
    if max(shown, kept) > max(MIB, 16 * KIB):
        raise Failed(f"B has {shown} bytes of blocks in the mount and {kept} of contents before anything was read")
    one = one_small_file(server, relay, b, args.tree)
    same_trees(args.tree, b.mount / "tree")
    stage.mark("diff on B")
    server.check()
    stage.mark("check")
    return f"{wanted:,} names; {stage}; on B before: {shown:,} bytes of blocks in the mount, {kept:,} of contents; {one}"


def one_small_file(server, relay, b, tree):
    """Reads one file of 4 to 32 KiB: one chunk by B's counter and by the server's, few bytes on the socket."""
    small = next(path for path, info in walk(tree) if stat.S_ISREG(info.st_mode) and 4 * KIB < info.st_size < 32 * KIB)
    until(lambda: b.status()["online"], 30, "B is not online")
    passed = relay.quiet(2)
    fetched, served = b.counter("chunks_fetched"), server.metric("tarn_chunks_served_total")
    body = (b.mount / "tree" / small).read_bytes()
    moved = relay.quiet(1) - passed
    fetched, served = b.counter("chunks_fetched") - fetched, server.metric("tarn_chunks_served_total") - served
    if body != (tree / small).read_bytes():
        raise Failed(f"{small} differs")
    figures = f"one file of {len(body):,} bytes: {fetched} chunk by B, {served} by the server, {moved:,} bytes on the socket"
    if fetched != 1 or served != 1 or moved > 2 * len(body) + 16 * KIB:
        raise Failed(figures)
    return figures


# ---------------------------------------------------------------- kills

def kills(house, args):
    """The same copy, with client and server killed at random moments."""
    server, stage, dice = house.server(), Stage(), random.Random(args.seed)
    print(f"   seed {args.seed}", file=sys.stderr, flush=True)
    a = house.device("A", server.url).up()
    work = Copy(args.tree, a.mount / "tree", list(walk(args.tree)))
    moments = sorted(dice.randrange(len(work.entries)) for _ in range(args.kills))
    count = dict(client=0, server=0, both=0)
    in_flight = 0
    for number, moment in enumerate(moments):
        work.limit = [*moments, *[len(work.entries)] * 4][number + 4] + 1
        if number == 0:
            work.start()
        work.reach(moment)
        time.sleep(dice.random() * 0.2)
        in_flight += wait_for_upload(a, work)
        victim = dice.choice(("client", "client", "server", "server", "both"))
        count[victim] += 1
        kill_one(server, a, work, victim, dice)
    if not moments:
        work.start()
    work.finish()
    stage.mark(f"copied in with {args.kills} kills")
    a.wait()
    stage.mark("durable")
    server.check()
    same_trees(args.tree, a.mount / "tree")
    b = house.device("B", server.url).up()
    until(lambda: (b.mount / "tree").is_dir() and names(b.mount / "tree") == len(work.entries) - 1, 300, "B does not see all names")
    same_trees(args.tree, b.mount / "tree")
    stage.mark("A, B and the source are equal")
    puts = server.puts()
    acknowledged, again = {}, []
    for line in puts:
        again += [chunk for chunk in line["ids"] if acknowledged.get(chunk, line["began_ms"]) < line["began_ms"]]
        for chunk in line["ids"]:
            acknowledged.setdefault(chunk, line["time_ms"])
    sent = sum(len(line["ids"]) for line in puts)
    figures = (f"{len(work.entries) - 1:,} names; kills of client {count['client']}, server {count['server']}, both {count['both']}, "
               f"{in_flight} of {args.kills} with an upload in flight; {work.checked:,} files checked right after, {work.postponed_count} of them fetched again; {sent:,} chunks "
               f"in the put log, {len(again)} sent again; {stage}")
    if again or in_flight < 0.8 * args.kills:
        raise Failed(figures)
    return figures


def wait_for_upload(device, work):
    """Whether something is queued; lets the copy go on for a moment if nothing is."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        if device.status()["queue"]["operations"]:
            return 1
        work.limit += 16
    return 0


def kill_one(server, device, work, victim, dice):
    if victim != "client":
        server.kill()
    if victim != "server":
        device.kill()
        with work.paused():
            device.up()
            work.check_done(dice, victim != "both")
    if victim != "client":
        time.sleep(dice.random() * 0.3)
        server.start()
        work.check_postponed()


# ---------------------------------------------------------------- the run

class House:
    """What one proof starts; everything ends with it."""

    def __init__(self, place, stack, postgres):
        self.place, self.stack, self.postgres, self.password = place, stack, postgres, None

    def enter(self, thing):
        self.stack.callback(thing.close)
        return thing

    def server(self):
        database = self.postgres.database(self.place.name) if self.postgres else None
        server = self.enter(Server(self.place, database))
        self.password = server.password
        return server

    def device(self, name, url, *mount_args):
        device = Device(self.place, name, url, self.password, *mount_args)
        return self.enter(device)


def prove(name, proof, args, database, postgres, place):
    """Runs one proof and prints its line; whether it holds."""
    label, kept = f"{name} on {database}", False
    print(f"== {label}", file=sys.stderr, flush=True)
    try:
        with contextlib.ExitStack() as stack:
            inner = place / f"{name}-{database}"
            inner.mkdir()
            stack.callback(lambda: kept or remove(inner))
            try:
                with contextlib.ExitStack() as things:
                    print(f"ok      {label}: {proof(House(inner, things, postgres), args)}", flush=True)
            except Exception:
                kept = bool(os.environ.get("TARN_TORTURE_KEEP"))
                raise
        return True
    except Failed as failure:
        print(f"FAILED  {label}: {failure}", flush=True)
    except Exception as failure:  # noqa: BLE001 - a proof that cannot be carried out does not hold either
        traceback.print_exc()
        print(f"FAILED  {label}: {failure!r}", flush=True)
    return False


PROOFS = dict(contents=contents, copy=copy, kills=kills, crash=crash, power=power, server=server, survive=survive, devices=devices, fsx=fsx, changes=changes, listings=listings, latency=latency, offline=offline,
              budget=budget, readers=readers, systemd=systemd)


def plan(args):
    chosen = args.only or list(PROOFS)
    for name in chosen:
        default = ["sqlite", "postgres"] if name == "copy" else ["sqlite"]
        yield from ((name, database) for database in ([args.database] if args.database else default))


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/torture", allow_abbrev=False)
    parser.add_argument("--only", action="append", choices=PROOFS)
    parser.add_argument("--database", choices=["sqlite", "postgres"])
    parser.add_argument("--tree", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--operations", type=int, default=1_000_000, help="of each profile of fsx")
    parser.add_argument("--changes", type=int, default=100_000, help="that one device makes while programs on the other look")
    parser.add_argument("--names", type=int, default=1_000_000, help="of the folder that is listed while it changes")
    parser.add_argument("--budget", type=int, default=256, metavar="MIB")
    parser.add_argument("--gib", type=int, default=20, help="that eight programs read at once")
    parser.add_argument("--seconds", type=float, default=30, help="of each half of the offline proof")
    parser.add_argument("--spread", type=int, default=0, metavar="SECONDS", help="of the work of five devices; 0: as fast as it goes")
    parser.add_argument("--minutes", type=float, default=240, help="after which what is not done has failed")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    args = parser.parse_args()
    if args.tree is None and {"copy", "kills"} & set(args.only or PROOFS):
        sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
        args.tree = Path(sysroot) / "share/doc/rust/html"
    if args.tree is not None and not args.tree.is_dir():
        parser.error(f"there is no tree {args.tree}: rustup component add rust-docs, or --tree DIR")
    return args


def out_of_time(*_):
    raise Failed("out of time")


def main():
    args = arguments()
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda *_: sys.exit(130))
    signal.signal(signal.SIGALRM, out_of_time)
    passed, steps = 0, list(plan(args))
    print(f"programs of {BIN}", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="tarn-torture.", dir=os.environ.get("TARN_TORTURE_DIR", "/var/tmp")))
        place.chmod(0o711)
        stack.callback(lambda: os.environ.get("TARN_TORTURE_KEEP") or remove(place))
        postgres = None
        if any(database == "postgres" for _, database in steps):
            postgres = Postgres(place)
            stack.callback(postgres.close)
        signal.setitimer(signal.ITIMER_REAL, args.minutes * 60, 1)
        for name, database in steps:
            passed += prove(name, PROOFS[name], args, database, postgres if database == "postgres" else None, place)
        signal.setitimer(signal.ITIMER_REAL, 0)
    print(f"{passed} passed, {len(steps) - passed} failed")
    return int(passed < len(steps))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
