"""The units in conf/systemd: systemd takes them, they leave little to an attacker, and loader and
server can live with what they allow."""

import configparser
import re
import shutil
import subprocess

import pytest

from harness import build
from harness.waiting import wait_until

UNITS = build.ROOT / "conf" / "systemd"
DEBIANS_NGINX = "/lib/systemd/system/nginx.service"
PARTS = ("load", "serve")
STOP_S = 8  # kStopMs
# From 0, nothing, to 10, all that root may.
EXPOSURE_MAX = 1.5


def unit_of(part):
    return UNITS / f"sluiced-{part}.service"


def settings_of(unit):
    """Of its section [Service], each with all its values."""
    service = unit.read_text().partition("[Service]\n")[2].partition("\n[")[0]
    found = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", service, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_systemd_takes_them(tmp_path):
    for name in ("sluiced-load.service", "sluiced-serve.service", "sluiced-serve.socket"):
        text = (UNITS / name).read_text()
        (tmp_path / name).write_text(text.replace("/usr/local/bin/sluiced", str(build.SLUICED)))
    shutil.copytree(UNITS / "nginx.service.d", tmp_path / "nginx.service.d")
    shutil.copy(DEBIANS_NGINX, tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(map(str, tmp_path.glob("*.s*[et]")))],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("part", PARTS)
def test_they_leave_little_to_an_attacker(part):
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:.0f}",
         str(unit_of(part))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout


@pytest.mark.parametrize("part", PARTS)
def test_passwords_are_where_settings_look_for_them(part):
    text = unit_of(part).read_text()
    loaded = re.findall(r"^LoadCredential=([\w-]+):/etc/sluice/", text, re.MULTILINE)
    settings = re.findall(r"^#Environment=SLUICED_(\w+)=%d/([\w-]+)$", text, re.MULTILINE)
    assert sorted(name for _, name in settings) == sorted(loaded)
    known = (build.ROOT / "conf" / "sluiced.toml").read_text()
    for setting, _ in settings:
        assert f"SLUICED_{setting}\n" in known


def test_whoever_stops_them_waits_long_enough():
    supervisor = configparser.RawConfigParser()
    supervisor.read(build.ROOT / "conf" / "supervisord.conf")
    for part in PARTS:
        program = supervisor[f"program:sluiced-{part}"]
        assert program["stopsignal"] == "TERM" and program.getint("stopwaitsecs") > STOP_S
        unit = settings_of(unit_of(part))
        assert "KillSignal" not in unit and int(unit["TimeoutStopSec"][0]) > STOP_S
    shutdown = re.search(r"worker_shutdown_timeout (\d+)s;",
                         (build.ROOT / "conf" / "nginx.conf").read_text())
    nginx = settings_of(UNITS / "nginx.service.d" / "sluice.conf")
    quit_s = int(re.search(r"--retry QUIT/(\d+)", nginx["ExecStop"][-1])[1])
    assert int(shutdown[1]) < quit_s < int(nginx["TimeoutStopSec"][0])
    assert int(shutdown[1]) < supervisor["program:nginx"].getint("stopwaitsecs")


def system_calls(names):
    """Those in sets such as @system-service."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True,
                            check=True).stdout
    sets, name = {}, None
    for line in re.sub(r"\x1b\[[0-9;]*m", "", listed).splitlines():
        if line.startswith("@"):
            name = line.strip()
            sets[name] = []
        elif line.startswith(" ") and name and not line.lstrip().startswith("#"):
            sets[name].append(line.strip())
        elif line.startswith("#"):
            name = None

    def members(name):
        return set().union(*map(members, sets[name])) if name.startswith("@") else {name}

    return set().union(*map(members, names))


def allowed_calls(part):
    allowed = set()
    for words in settings_of(unit_of(part))["SystemCallFilter"]:
        if words.startswith("~"):
            allowed -= system_calls(words[1:].split())
        else:
            allowed |= system_calls(words.split())
    return allowed


@pytest.mark.parametrize("part", PARTS)
def test_they_need_no_system_call_that_is_not_allowed(make_stack, part):
    stack = make_stack()
    traced = {"load": stack.loader, "serve": stack.server}[part]
    trace = stack.folder / "trace"
    command = traced.command()
    traced.command = lambda: ["strace", "-f", "-qq", "-o", trace, *command]
    # A tracer is in the way of the search for leaks. It passes signals on only when it gets none.
    traced.environment = lambda: {**type(traced).environment(traced),
                                  "ASAN_OPTIONS": "detect_leaks=0"}
    traced.is_ready = lambda: traced.pid_path.exists()
    stack.start()
    api = stack.api()
    for number in range(5):
        assert api.log(message=f"m{number}").status == 200
    stack.wait_rows(5)
    assert api.logs("pump-7").json["total"] == 5
    stack.redis.kill()
    stack.postgres.kill()
    wait_until(lambda: stack.loader.events("redis failed, trying again"), 10)
    stack.redis.start()
    stack.postgres.start()
    stack.wait_healthy()
    subprocess.run(["kill", "-HUP", traced.pid_path.read_text().strip()], check=True)
    wait_until(lambda: traced.events("settings are read anew"), 10)
    subprocess.run(["kill", "-TERM", traced.pid_path.read_text().strip()], check=True)
    traced.process.wait(20)
    called = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE))
    assert {"sendto", "epoll_wait" if part == "serve" else "poll"} <= called
    # The sanitizer's own.
    assert not called - allowed_calls(part) - {"personality"}
