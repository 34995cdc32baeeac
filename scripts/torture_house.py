"""What `scripts/torture` drives: a server, devices, a relay that counts, a private PostgreSQL. Each ends with `close`."""
import glob
import http.client
import json
import os
import pwd
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

BIN = Path(os.environ["TARN_BIN_DIR"]).resolve()
USER = "torture"


class Failed(Exception):
    """A proof did not hold, or could not be carried out."""


def until(condition, seconds, complaint, pause=0.02):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(complaint)
        time.sleep(pause)


def run(*command, text=None, timeout=300, env=None):
    """(exit status, output). In a session of its own: Ctrl-C must not reach the daemon that `tarn mount` leaves behind."""
    done = subprocess.run([str(part) for part in command], input=text or "", text=True, timeout=timeout, env=env, check=False,
                          start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.strip()


def must(*command, **options):
    code, output = run(*command, **options)
    if code:
        raise Failed(f"{Path(command[0]).name} {command[1]} ended with {code}: {output[-400:]}")
    return output


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """One process, for ever: a pid alone is given again, a descriptor of it is not."""

    def __init__(self, pid):
        self.fd = os.pidfd_open(pid)

    def signal(self, number):
        try:
            signal.pidfd_send_signal(self.fd, number)
        except ProcessLookupError:
            pass

    def ended(self, seconds):
        return bool(select.select([self.fd], [], [], seconds)[0])

    def end(self, seconds=5):
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if not self.ended(seconds):
            self.signal(signal.SIGKILL)
            self.ended(5)

    def close(self):
        os.close(self.fd)


class Postgres:
    """A private cluster, run by an ordinary user (it refuses root), that ends when this program does."""

    def __init__(self, place):
        self.bin = Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))[-1])
        self.dir, self.port, self.password = place / "postgres", free_port(), secrets.token_hex(16)
        self.dir.mkdir()
        word = self.dir / "password"
        word.write_text(self.password + "\n", encoding="ascii")
        self.as_user = ["setpriv", "--pdeathsig", "INT"]
        if os.geteuid() == 0:
            names = {entry.pw_name: entry for entry in pwd.getpwall()}
            user = names.get("postgres") or names["nobody"]
            os.chown(self.dir, user.pw_uid, user.pw_gid)
            os.chown(word, user.pw_uid, user.pw_gid)
            self.as_user += ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
        must(*self.as_user, self.bin / "initdb", "-D", self.dir / "data", "--username=tarn", "--auth=scram-sha-256",
             f"--pwfile={word}", "--encoding=UTF8", "--locale=C", "--no-sync")
        options = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=100", "dynamic_shared_memory_type=mmap"]
        with open(place / "postgres.log", "w", encoding="utf-8") as log:
            self.server = subprocess.Popen(
                [*self.as_user, self.bin / "postgres", "-D", self.dir / "data", "-p", str(self.port),
                 *[word for option in options for word in ("-c", option)]],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.dir)
        ready = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        until(lambda: run(*ready)[0] == 0, 60, "PostgreSQL does not answer", 0.1)

    def database(self, name):
        url = f"postgres://tarn:{self.password}@127.0.0.1:{self.port}"
        must(self.bin / "psql", f"{url}/postgres", "-q", "-c", f'create database "{name}"')
        return f"{url}/{name}"

    def close(self):
        self.server.send_signal(signal.SIGINT)
        try:
            self.server.wait(20)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()


class Server:
    """A server on a port that stays the same, with the account `torture` and a put log."""

    def __init__(self, place, database=None):
        self.dir, self.port, self.password = place / "server", free_port(), secrets.token_hex(16)
        self.url, self.put_log, self.process = f"http://127.0.0.1:{self.port}", place / "put.log", None
        self.log, self.database = place / "server.log", ["--database", database] if database else []
        self.stores = ["--data", self.dir]
        if database:
            self.stores = [*self.database, "--objects", f"file://{self.dir / 'objects'}"]
        user = self.database or ["--data", self.dir]
        must(BIN / "tarn-server", "user", "add", USER, "--password-stdin", *user, text=self.password)
        self.start()

    def start(self):
        command = ["serve", "--data", self.dir, "--listen", f"127.0.0.1:{self.port}", "--put-log", self.put_log, *self.database]
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen([BIN / "tarn-server", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        until(lambda: self.process.poll() is not None or self.get("/readyz"), 60, "the server does not answer")
        if self.process.poll() is not None:
            raise Failed(f"the server ended with {self.process.returncode}: {self.log.read_text(encoding='utf-8')[-400:]}")

    def get(self, path):
        """The body, or None."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.read().decode() + "\n" if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def metric(self, name):
        found = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", self.get("/metrics") or "", re.MULTILINE)
        return int(sum(float(value) for value in found))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def signal(self, number):
        self.process.send_signal(number)

    def check(self):
        code, output = run(BIN / "tarn-server", "check", *self.stores, timeout=1800)
        if code:
            raise Failed(f"tarn-server check ended with {code}: {output[-600:]}")

    def puts(self):
        """All lines of the put log."""
        with open(self.put_log, encoding="utf-8") as log:
            return [json.loads(line) for line in log]

    def close(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


class Device:
    """A signed-in device with a place to be mounted."""

    def __init__(self, place, name, url, password, *mount_args):
        self.name, self.mount_args, self.daemon = name, mount_args, None
        self.mount, self.home = place / f"mount-{name}", place / f"device-{name}"
        self.env = {**os.environ, "TARN_HOME": str(self.home)}
        self.mount.mkdir()
        self.tarn("login", "--server", url, "--user", USER, "--password-stdin", "--device", name, text=password)

    @property
    def state(self):
        return self.home / "state"

    def tarn(self, *args, **options):
        return must(BIN / "tarn", *args, env=self.env, **options)

    def up(self):
        self.tarn("mount", self.mount, "--no-supervisor", *self.mount_args)
        self.daemon = Process(self.status()["pid"])
        return self

    def status(self):
        return json.loads(self.tarn("status", self.mount, "--json", timeout=10))

    def counter(self, name):
        return self.status()["counters"][name]

    def wait(self, seconds=3600):
        self.tarn("wait", self.mount, "--timeout", seconds, timeout=seconds + 30)

    def kill(self):
        self.daemon.signal(signal.SIGKILL)
        if not self.daemon.ended(10):
            raise Failed(f"the daemon of {self.name} survives kill -9")

    def close(self):
        try:
            run(BIN / "tarn", "unmount", "--now", self.mount, env=self.env, timeout=20)
        except subprocess.TimeoutExpired:
            pass
        if is_mounted(self.mount):
            run("fusermount3", "-u", "-z", self.mount)
        for process in self.processes():
            process.end()
            process.close()
        if is_mounted(self.mount):
            run("umount", "-l", self.mount)

    def processes(self):
        """All that were started with this TARN_HOME."""
        mark, found = f"TARN_HOME={self.home}".encode(), []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.append(Process(int(pid)))
            except OSError:
                continue
        return found


def is_mounted(path):
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    return any(line.split(" ")[1] == str(path) for line in mounts.splitlines())


def remove(place):
    """Removes the files of a proof; never through a mount that could not be taken away."""
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    if f" {place}/" in mounts:
        raise Failed(f"something stays mounted below {place}")
    shutil.rmtree(place, ignore_errors=True)


class Relay:
    """Between a device and the server; counts what passes."""

    def __init__(self, port):
        self.upstream, self.bytes, self.lock = ("127.0.0.1", port), 0, threading.Lock()
        self.streams = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.upstream)
            except OSError:
                client.close()
                continue
            for stream in (client, server):
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.streams += [client, server]
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=ends, daemon=True).start()

    def pump(self, source, sink):
        try:
            while data := source.recv(1 << 16):
                with self.lock:
                    self.bytes += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def quiet(self, seconds):
        """The bytes so far, once nothing has passed for so long."""
        before = -1
        while before != self.bytes:
            before = self.bytes
            time.sleep(seconds)
        return before

    def close(self):
        self.listener.close()
        for stream in self.streams:
            stream.close()
