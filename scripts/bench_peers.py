"""The drives that a person could pick instead, for `scripts/bench --peers` and `--wan`: each serves a folder of this machine on
loopback, mounted beside Tarn. What is not installed, or cannot run here, is skipped with a word.
"""
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

SFTP_SERVER = "/usr/lib/openssh/sftp-server"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def until_mounted(mount, process):
    end = time.monotonic() + 30
    while not os.path.ismount(mount):
        if time.monotonic() > end or process.poll():
            raise OSError("it does not mount")
        time.sleep(0.02)


class Peer:
    """A folder mounted through another drive. `port_of` maps the server's port to the one to connect to (a relay's)."""

    name, programs = "", {}

    def __init__(self, place, port_of=lambda port: port):
        self.mount, self.served = place / f"mount-{self.name}", place / f"served-{self.name}"
        self.cache, self.processes, self.mounting = place / f"cache-{self.name}", [], None
        self.mount.mkdir()
        self.served.mkdir()
        self.port = port_of(self.serve())
        self.attach()

    @classmethod
    def missing(cls):
        return [package for program, package in cls.programs.items() if not shutil.which(program)]

    def start(self, *command):
        quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return subprocess.Popen(command, start_new_session=True, **quiet)

    def attach(self):
        self.mounting = self.start(*self.mount_command())
        until_mounted(self.mount, self.mounting)

    def detach(self):
        subprocess.run(["fusermount3", "-u", "-z", self.mount], check=False, stderr=subprocess.DEVNULL)
        end(self.mounting)

    def settle(self):
        """Everything written is on the server's disk."""
        subprocess.run(["sync", "-f", self.served], check=True)

    def cool(self):
        """Nothing is kept on this side: mounted anew, with an empty cache."""
        self.settle()
        self.detach()
        shutil.rmtree(self.cache, ignore_errors=True)
        self.attach()

    # What `bench` asks of a device of Tarn.
    def wait(self):
        self.settle()

    def evict(self):
        self.cool()

    def cpu_seconds(self):
        return 0.0

    def close(self):
        self.detach()
        for process in self.processes:
            end(process)


def end(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Rclone(Peer):
    """`rclone mount` over WebDAV, with its cache for whole files and for writing."""

    name, programs = "rclone", {"rclone": "rclone"}

    def serve(self):
        port = free_port()
        self.processes.append(self.start("rclone", "serve", "webdav", self.served, "--addr", f"127.0.0.1:{port}"))
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return port
            time.sleep(0.02)
        raise OSError("its server does not answer")

    def mount_command(self):
        remote = f":webdav,url='http://127.0.0.1:{self.port}',vendor=other:"
        return ("rclone", "mount", remote, self.mount, "--vfs-cache-mode", "full", "--cache-dir", self.cache,
                "--vfs-write-back", "0s")

    def settle(self):
        # Its own count of uploads is 0 for a moment before the last ones begin.
        end = time.monotonic() + 300
        while sizes(self.mount) != sizes(self.served):
            if time.monotonic() > end:
                raise SystemExit("bench: rclone does not upload what was written")
            time.sleep(0.05)
        super().settle()


def sizes(folder):
    """{path: size} of all files below, as far as they stay there meanwhile."""
    found = {}
    for root, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):
                path = os.path.join(root, file)
                found[os.path.relpath(path, folder)] = os.stat(path).st_size
    return found


class Sshfs(Peer):
    """`sshfs`, spoken to without ssh in between: the protocol alone, as on a trusted network."""

    name, programs = "sshfs", {"sshfs": "sshfs", SFTP_SERVER: "openssh-sftp-server"}

    def serve(self):
        listener = socket.create_server(("127.0.0.1", 0))

        def accept():
            while True:
                try:
                    stream, _ = listener.accept()
                except OSError:
                    return
                with stream:
                    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.processes.append(subprocess.Popen([SFTP_SERVER], stdin=stream, stdout=stream,
                                                           stderr=subprocess.DEVNULL, start_new_session=True))

        threading.Thread(target=accept, daemon=True).start()
        return listener.getsockname()[1]

    def mount_command(self):
        return ("sshfs", f"127.0.0.1:{self.served}", self.mount, "-f", "-o", f"directport={self.port}")


class S3fs(Peer):
    """`s3fs` needs an S3 server, of which Debian has none."""

    name, programs = "s3fs", {"s3fs": "s3fs"}

    def serve(self):
        raise OSError("there is no S3 server here to mount")

    def mount_command(self):
        return ()


@contextlib.contextmanager
def peers(place, port_of=lambda port: port):
    """All that are here, mounted."""
    with contextlib.ExitStack() as stack:
        standing = []
        for kind in (Rclone, Sshfs, S3fs):
            if kind.missing():
                print(f"== {kind.name}: skipped, {' and '.join(kind.missing())} not installed", file=sys.stderr)
                continue
            try:
                peer = kind(place, port_of)
            except OSError as error:
                print(f"== {kind.name}: skipped, {error}", file=sys.stderr)
                continue
            stack.callback(peer.close)
            standing.append(peer)
        yield standing
