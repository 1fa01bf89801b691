"""nginx with the edge, and with the shipped configuration."""

import http.client
import json
import os
import signal
import subprocess

from . import build
from .process import CLOCK_NAMES, Adopted, Process, adopt_orphans, parent_of, processes_of_group
from .waiting import free_port, wait_until


class NginxServer(Process):
    name = "nginx"
    stop_signal = signal.SIGQUIT

    def __init__(self, folder, workers=2, edits=()):
        super().__init__(folder)
        self.port = free_port()
        self.conf = build.render_conf(
            "nginx.conf", state=folder, listen=f"127.0.0.1:{self.port}", workers=workers,
            user="root" if os.geteuid() == 0 else "",
        )
        self.workers = workers
        self.edit("nginx-error.log warn;", "nginx-error.log info;")
        # The shipped limits are in force, but tests may be quicker than a client should be.
        self.edit("rate=10000r/s;", "rate=1000000000r/s;")
        self.edit("burst=20000;", "burst=1000000000;")
        for old, new in edits:
            self.edit(old, new)

    def edit(self, old, new):
        """Changes the configuration for this test; takes effect at the next start or reload."""
        assert old in self.conf, f"the shipped nginx.conf no longer has: {old}"
        self.conf = self.conf.replace(old, new)

    @property
    def conf_path(self):
        return self.folder / "app" / "conf" / "nginx.conf"

    @property
    def error_log(self):
        return self.folder / "log" / "nginx-error.log"

    def before_start(self):
        for name in ("tmp", "cache", "app/modules"):
            (self.folder / name).mkdir(exist_ok=True)
        module = self.folder / "app" / "modules" / build.MODULE.name
        if not module.is_symlink():
            module.symlink_to(build.MODULE)
        www = self.folder / "app" / "www"
        if not www.is_symlink():
            www.symlink_to(build.ROOT / "conf" / "www")
        self.conf_path.write_text(self.conf)

    def command(self, *more):
        return [build.NGINX, "-p", self.folder, "-e", self.error_log, "-c", self.conf_path,
                *(more or ("-g", "daemon off;"))]

    def check(self):
        """nginx -t: its status and what it says."""
        self.before_start()
        done = subprocess.run(
            self.command("-t"), cwd=self.folder, capture_output=True, text=True, check=False,
            env={"ASAN_OPTIONS": "detect_leaks=0"},
        )
        return done.returncode, done.stderr

    def environment(self):
        return build.sanitizer_environment(self.folder, self.name)

    def is_ready(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/health/live")
            status = connection.getresponse().status
            connection.close()
            return status == 200 and len(self.worker_pids()) == self.workers
        except OSError:
            return False

    def worker_pids(self):
        """Workers that are not on their way out, by their process title."""
        return self._children(b"nginx: worker process\0", b"nginx: worker process ")

    def leaving_worker_pids(self):
        return self._children(b"nginx: worker process is shutting down")

    def _children(self, *titles):
        found = []
        for pid in processes_of_group(self.group):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                    title = cmdline.read() + b"\0"
            except OSError:
                continue
            if title.startswith(titles) and (
                len(titles) == 1 or not title.startswith(b"nginx: worker process is")
            ):
                found.append(pid)
        return found

    def reload(self):
        """SIGHUP; returns when new workers serve. The old ones may still be leaving."""
        before = set(self.worker_pids())
        self.conf_path.write_text(self.conf)
        self.signal(signal.SIGHUP)
        wait_until(
            lambda: len(set(self.worker_pids()) - before) == self.workers, 20, "new workers serve"
        )
        return before

    def logged_posts(self, count):
        """What the access log has of POSTs, in order, once it is so many."""
        path = self.folder / "log" / "nginx-posts.log"
        found = []

        def enough():
            # Of what is being written only a part may be there, up to the end of a page.
            whole = path.read_text("ascii").rpartition("\n")[0]
            found[:] = [json.loads(line) for line in whole.splitlines()]
            return len(found) >= count

        wait_until(enough, 5, f"{count} POSTs are logged")
        assert len(found) == count
        return found

    def error_text(self):
        return self.error_log.read_text(errors="replace") if self.error_log.exists() else ""


class NginxDaemon(NginxServer):
    """nginx as a daemon, which is what it must be to be upgraded: it leaves its parent behind, and
    after an upgrade it is another process. Its pid is in its file; this process adopts it, so that
    how it ends is known."""

    def __init__(self, folder, workers=2, edits=()):
        super().__init__(folder, workers, edits)
        self.first_pid = None
        # What is not named here does not get to the next binary.
        names = {**build.sanitizer_environment(folder, self.name), **dict.fromkeys(CLOCK_NAMES)}
        self.edit("events {", "".join(f"env {name};\n" for name in names) + "events {")

    def launch(self):
        adopt_orphans(True)
        super().launch()
        assert self.process.wait(self.start_timeout) == 0, self.log_tail()
        self.follow(None)
        self.first_pid = self.pid

    def command(self, *more):
        return super().command(*(more or ("-g", "daemon on;")))

    @property
    def group(self):
        """A new binary is started in the group of the old one."""
        return self.first_pid or self.pid

    def pid_in(self, suffix=""):
        try:
            return int((self.folder / f"nginx.pid{suffix}").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def follow(self, old):
        """From here on it is the process in the pid file, once that is another than the old."""
        wait_until(lambda: self.pid_in() not in (None, old), 10, "there is a new master")
        self.process = Adopted(self.pid_in())

    def worker_pids_of(self, master):
        return [pid for pid in self.worker_pids() if parent_of(pid) == master]

    def upgrade(self):
        """SIGUSR2; returns the old master when a new one serves beside it."""
        old = self.process
        self.signal(signal.SIGUSR2)
        self.follow(old.pid)
        wait_until(
            lambda: len(self.worker_pids_of(self.pid)) == self.workers, 20, "new workers serve"
        )
        return old

    def kill(self):
        super().kill()
        self.first_pid = None
        adopt_orphans(False)
