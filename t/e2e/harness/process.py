"""A process of a test: started in a group of its own, stopped by its id and by nothing else."""

import os
import signal
import subprocess
import threading

from .waiting import wait_until


class StopFailure(Exception):
    """A process did not leave in time after its stop signal, or left badly."""


def processes_of_group(group):
    """Living processes (no zombies) of a process group."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="latin-1") as stat:
                state, _, pgrp = stat.read().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(pgrp) == group and state != "Z":
            found.append(int(name))
    return found


def open_files(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


class Process:
    """Base of the real parts. A subclass says how it is started and when it is ready."""

    name = "process"
    stop_signal = signal.SIGTERM
    stop_timeout = 15
    start_timeout = 20

    def __init__(self, folder):
        self.folder = folder
        self.process = None
        self.paused = False

    # What a subclass fills in.
    def command(self):
        raise NotImplementedError

    def environment(self):
        return {}

    def is_ready(self):
        raise NotImplementedError

    def before_start(self):
        pass

    @property
    def log_path(self):
        return self.folder / "log" / f"{self.name}.log"

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def launch(self):
        """Starts it without waiting until it is ready."""
        assert not self.running, f"{self.name} runs already"
        self.before_start()
        self.paused = False
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env={**os.environ, "LC_ALL": "C.UTF-8", **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self):
        def ready_or_dead():
            assert self.running, f"{self.name} ended at its start:\n{self.log_tail()}"
            return self.is_ready()

        wait_until(ready_or_dead, self.start_timeout, f"{self.name} is ready")

    def start(self):
        self.launch()
        self.wait_ready()
        return self

    def signal(self, number):
        os.kill(self.pid, number)

    def pause(self):
        os.killpg(self.pid, signal.SIGSTOP)
        self.paused = True

    def resume(self):
        os.killpg(self.pid, signal.SIGCONT)
        self.paused = False

    def pause_for(self, seconds):
        """Stands still from now; goes on by itself, so that a test can look at it meanwhile."""
        self.pause()
        timer = threading.Timer(seconds, self.resume)
        timer.start()
        return timer

    def kill(self):
        """SIGKILL, to it and to all its children; returns when none is left."""
        if self.process is None:
            return
        group = self.pid
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        wait_until(lambda: not processes_of_group(group), 10, f"{self.name}'s children are gone")
        self.process = None

    def stop(self):
        """The stop signal, then a clean exit in time; otherwise killed, and a StopFailure."""
        if self.process is None:
            return
        if self.paused:
            self.resume()
        trouble = None
        if self.running:
            self.signal(self.stop_signal)
        try:
            status = self.process.wait(self.stop_timeout)
            if status != 0:
                trouble = f"{self.name} left with status {status}:\n{self.log_tail()}"
        except subprocess.TimeoutExpired:
            trouble = f"{self.name} did not leave within {self.stop_timeout} s"
        left = processes_of_group(self.pid)
        self.kill()
        if left and not trouble:
            trouble = f"{self.name} left children behind: {left}"
        if trouble:
            raise StopFailure(trouble)

    def log_text(self):
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def log_tail(self, lines=15):
        return "\n".join(self.log_text().splitlines()[-lines:])
