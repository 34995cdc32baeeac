# Sourced by the scripts beside it; defines functions only.
# shellcheck shell=bash

say() { printf '== %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# as_root COMMAND...: runs it as root: directly, or through sudo (which asks only on a terminal).
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif [ -t 0 ] && command -v sudo >/dev/null; then sudo "$@"
    elif command -v sudo >/dev/null; then sudo -n "$@" </dev/null
    else return 127
    fi
}

# need_packages FILE=PACKAGES...: installs the Debian packages whose FILE (a program, or an absolute path, * allowed)
# is missing.
need_packages() {
    local pair wanted=()
    for pair in "$@"; do
        # shellcheck disable=SC2206 # the list of packages is split on purpose
        have "${pair%%=*}" || wanted+=(${pair#*=})
    done
    [ ${#wanted[@]} -gt 0 ] || return 0
    say "installing ${wanted[*]}"
    command -v apt-get >/dev/null || die "these Debian packages are missing, and there is no apt-get here: ${wanted[*]}"
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
    # An index that cannot be refreshed may still be good enough: the installation decides.
    as_root "${apt[@]}" update >&2 </dev/null || true
    as_root "${apt[@]}" install -y --no-install-recommends "${wanted[@]}" >&2 </dev/null ||
        die "cannot install what is missing; as root: apt-get install ${wanted[*]}"
}

# have FILE: whether the program, or the absolute path, is there.
have() {
    case $1 in
        /*) compgen -G "$1" >/dev/null ;;
        *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
    esac
}

# need_rust: puts cargo on PATH or says how to get it.
need_rust() {
    command -v cargo >/dev/null || PATH=$PATH:$HOME/.cargo/bin
    command -v cargo >/dev/null || die "no cargo here: install Rust first, https://rustup.rs"
}

PJDFSTEST_VERSION=0.2.2 FSX_VERSION=0.3.2

# need_suites FOLDER: puts pjdfstest and fsx of the pinned versions on PATH, built once in FOLDER unless the machine has them.
need_suites() {
    PATH=$1/bin:$PATH
    [ "$(pjdfstest --version 2>/dev/null)" = "pjdfstest $PJDFSTEST_VERSION" ] && [ "$(fsx --version 2>/dev/null)" = "fsx $FSX_VERSION" ] && return
    say "building pjdfstest $PJDFSTEST_VERSION and fsx $FSX_VERSION (once)"
    # Without optimisation, which takes twice as long, but for what fsx itself does all the time.
    local crate fast=()
    for crate in fsx rand rand_core rand_xorshift; do fast+=(--config "profile.dev.package.$crate.opt-level=2"); done
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --debug --locked --root "$1" --target-dir "$1/build" --force "${fast[@]}" \
        "pjdfstest@$PJDFSTEST_VERSION" "fsx@$FSX_VERSION" </dev/null 2>"$1/log" || { cat "$1/log" >&2; return 1; }
    rm -rf "$1/build" "$1/log"
}

# need_fuse_device: /dev/fuse exists and this user may open it.
need_fuse_device() {
    [ -e /dev/fuse ] || as_root modprobe fuse 2>/dev/null || as_root mknod /dev/fuse c 10 229 || true
    [ -e /dev/fuse ] || die "there is no /dev/fuse: the kernel module 'fuse' is missing, or this container may not use it"
    # A minimal machine has it 0600; every distribution with udev makes it 0666.
    [ "$(stat -c %a /dev/fuse)" = 666 ] || as_root chmod 0666 /dev/fuse 2>/dev/null || true
    [ -r /dev/fuse ] && [ -w /dev/fuse ] || die "/dev/fuse is not open to $(id -un); as root: chmod 0666 /dev/fuse"
}

# port_is_free PORT: nobody listens on it on loopback.
port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# process_mark PID: names one process for ever (a pid alone is given again): its pid, start time and boot.
process_mark() {
    local line
    line=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The program's name may hold blanks and parentheses: count the fields after its last ")".
    local fields
    read -ra fields <<<"${line##*) }"
    echo "$1 ${fields[19]} $(cat /proc/sys/kernel/random/boot_id)"
}

# process_lives MARK: the process of this mark runs (a zombie does not).
process_lives() {
    local pid=${1%% *}
    [ -n "$pid" ] && [ "$(process_mark "$pid" || true)" = "$1" ] && ! grep -q '^State:.[ZX]' "/proc/$pid/status" 2>/dev/null
}

# end_process MARK [SECONDS]: ends exactly that process: TERM, then KILL after SECONDS (default 6).
end_process() {
    local pid=${1%% *} tries=$((${2:-6} * 20))
    process_lives "$1" || return 0
    kill -TERM "$pid" 2>/dev/null || return 0
    while process_lives "$1"; do
        [ $((tries -= 1)) -gt 0 ] || { kill -KILL "$pid" 2>/dev/null || true; return 0; }
        sleep 0.05
    done
}
