"""Runs as root inside the virtual machine of `scripts/torture --only systemd`: a server, then both units, one after the other.

What came of them is in result.json of the second disk, with what the journal says if one failed."""
import json
import os
import pwd
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

PROOF, BIN, DATA = "/proof", "/usr/local/bin", "/var/lib/tarn-server"
USER = "ana"
SERVER = """[Service]
ExecStart=/usr/local/bin/tarn-server serve --data /var/lib/tarn-server --listen 127.0.0.1:7420
StandardOutput=append:/var/log/tarn-server.log
StandardError=append:/var/log/tarn-server.log
"""


def say(text):
    print(f"proof: {text}", file=sys.stderr, flush=True)


def must(*command, text=""):
    subprocess.run(command, input=text, text=True, check=True, timeout=300)


def serve(password):
    for name in ("tarn", "tarn-server"):
        shutil.copy(f"{PROOF}/{name}", f"{BIN}/{name}")
        os.chmod(f"{BIN}/{name}", 0o755)
    # Whoever proves a unit installs another version under it.
    os.chmod(BIN, 0o777)
    for account in ("system", "user"):
        must("tarn-server", "user", "add", account, "--password-stdin", "--data", DATA, text=password)
    with open("/etc/systemd/system/tarn-server.service", "w", encoding="utf-8") as unit:
        unit.write(SERVER)
    must("systemctl", "daemon-reload")
    must("systemctl", "start", "tarn-server")
    while True:
        try:
            return urllib.request.urlopen("http://127.0.0.1:7420/readyz", timeout=5).close()
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)


def as_user(name):
    """What a command begins with so that it runs as that user, who has a manager of his own without being there."""
    if name == "root":
        return ["env", "HOME=/root"]
    must("loginctl", "enable-linger", name)
    entry = pwd.getpwnam(name)
    while not os.path.exists(f"/run/user/{entry.pw_uid}/systemd/private"):
        time.sleep(0.2)
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--init-groups", "env", f"HOME={entry.pw_dir}", f"XDG_RUNTIME_DIR=/run/user/{entry.pw_uid}"]


def prove(kind, user):
    say(f"{kind} unit")
    done = subprocess.run([*as_user(user), sys.executable, f"{PROOF}/unit.py", kind], cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    try:
        outcome = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        outcome = dict(error=f"unit.py ended with {done.returncode}: {done.stdout[-2000:]}")
    if "error" in outcome:
        journal = subprocess.run(["journalctl", "-b", "-o", "short-monotonic", "--no-pager", "-n", "150"], stdout=subprocess.PIPE, text=True, check=False)
        outcome["journal"] = journal.stdout
        logs = [f"{home}/daemon.log" for home in ("/var/lib/tarn", f"/home/{USER}/.local/share/tarn")]
        outcome["logs"] = {path: open(path, encoding="utf-8").read()[-20000:] for path in logs if os.path.exists(path)}
    return outcome


def main():
    with open(f"{PROOF}/settings.json", encoding="utf-8") as file:
        settings = json.load(file)
    version = subprocess.run(["systemctl", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[1]
    results = dict(kernel=os.uname().release, systemd=version)
    say(f"Linux {results['kernel']}, systemd {version}")
    serve(settings["password"])
    for kind, user in (("system", "root"), ("user", USER)):
        if kind in settings["units"]:
            results[kind] = prove(kind, user)
            with open(f"{PROOF}/result.json", "w", encoding="utf-8") as file:
                json.dump(results, file)
                file.flush()
                os.fsync(file.fileno())
    say("over")


if __name__ == "__main__":
    main()
