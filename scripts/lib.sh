# Words the scripts share: how they speak, how they become root, how they install packages.
# Sourced, never run.

# An ordinary user's PATH lacks the folders of servers.
PATH="$PATH:/usr/sbin:/sbin"
readonly root_dir="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"

say() { printf '%s\n' "$*"; }
step() { printf '==> %s\n' "$*"; }

# die WHAT_IS_WRONG WHAT_TO_DO
die() {
    printf '\nerror: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf 'to do: %s\n' "$2" >&2
    exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

as_root() {
    if is_root; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root ($*), but you are $(id -un) and there is no sudo" \
            "run this script as root once, or install sudo"
    fi
}

# What building and running take, and what the tests take on top.
readonly up_packages="cmake ninja-build g++ pkg-config nginx nginx-dev libsimdjson-dev libhiredis-dev
    libpq-dev libmicrohttpd-dev libssl-dev zlib1g-dev libtomlplusplus-dev redis-server postgresql supervisor curl"
readonly test_packages="libcurl4-openssl-dev libcmocka-dev libjansson-dev dpkg-dev clang libclang-rt-14-dev llvm
    python3-pytest python3-pytest-xdist python3-redis python3-psycopg2 python3-h2 python3-yaml
    python3-jsonschema python3-selenium chromium chromium-driver
    openssl logrotate nghttp2-client libfaketime iproute2 prometheus prometheus-node-exporter systemd strace
    libnginx-mod-http-echo libnginx-mod-http-headers-more-filter libnginx-mod-stream"
readonly stress_packages="libcurl4-openssl-dev"
readonly bench_packages="python3-redis python3-psycopg2 wrk redis-tools"
# Their Debian packages would start them on their usual ports; Sluice runs its own.
readonly service_packages="nginx redis-server postgresql supervisor prometheus prometheus-node-exporter"

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# install_packages PACKAGE...: only what is missing, and without starting any system-wide service.
install_packages() {
    local package missing=() services=()
    for package in "$@"; do
        is_installed "$package" && continue
        missing+=("$package")
        [[ " $service_packages " != *" $package "* ]] || services+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "this is not Debian: there is no apt-get" \
        "use Debian 12, or install by hand what stands for: ${missing[*]}"
    step "Installing ${missing[*]}"
    as_root "$root_dir/scripts/install-packages" \
        "${#services[@]}" "${services[@]}" "${missing[@]}" ||
        die "apt-get could not install: ${missing[*]}" \
            "see what it says above; check the network and /etc/apt/sources.list, then run this again"
}

# The cheapest check that an address can be listened on; says why not.
# can_listen HOST PORT
can_listen() {
    /usr/bin/python3 - "$1" "$2" <<'PYTHON'
import socket, sys
host, port = sys.argv[1].strip("[]"), int(sys.argv[2])
try:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM,
                                                  flags=socket.AI_PASSIVE)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)
except OSError as error:
    sys.exit(error.strerror)
PYTHON
}

# Whether a process listens on this port: what its configuration says by now may not be what it read.
# listens PID PORT
listens() {
    /usr/bin/python3 - "$1" "$2" <<'PYTHON'
import os, sys
pid, port = sys.argv[1], int(sys.argv[2])
folder = f"/proc/{pid}/fd"
try:
    open_files = {os.readlink(f"{folder}/{name}") for name in os.listdir(folder)}
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{table}", encoding="ascii") as lines:
            for line in list(lines)[1:]:
                fields = line.split()
                local, state, inode = fields[1], fields[3], fields[9]
                if (state == "0A" and int(local.rpartition(":")[2], 16) == port
                        and f"socket:[{inode}]" in open_files):
                    sys.exit(0)
except OSError:
    pass
sys.exit(1)
PYTHON
}
