"""A process of a test: started in a group of its own, stopped by its id and by nothing else."""

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time

from .waiting import PATIENCE, wait_until

PR_SET_CHILD_SUBREAPER = 36
# What libfaketime is told by; and the search for leaks, which is at the end and would ask for the
# time when libfaketime has ended, is left out.
CLOCK_NAMES = ("LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE", "FAKETIME_CACHE_DURATION",
               "FAKETIME_DONT_FAKE_MONOTONIC", "LSAN_OPTIONS")
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


class StopFailure(Exception):
    """A process did not leave in time after its stop signal, or left badly."""


def stat_of(pid):
    """State, parent and process group; None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as stat:
            state, parent, group = stat.read().rpartition(")")[2].split()[:3]
    except OSError:
        return None
    return state, int(parent), int(group)


def processes_of_group(group):
    """Living processes (no zombies) of a process group."""
    found = []
    for name in os.listdir("/proc"):
        stat = stat_of(name) if name.isdigit() else None
        if stat and stat[2] == group and stat[0] != "Z":
            found.append(int(name))
    return found


def parent_of(pid):
    stat = stat_of(pid)
    return stat and stat[1]


def adopt_orphans(adopt):
    """Whether what its parent leaves behind becomes a child of ours, instead of init's."""
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0) == 0


class Adopted:
    """A child that we did not start; it can be polled and waited for as those that we did."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        if self.returncode is None and parent_of(self.pid) == os.getpid():
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=None):
        deadline = time.monotonic() + (timeout or float("inf"))
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.01)
        return self.returncode


def open_files(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def names_of_open_files(pid):
    """Some may be closed while they are looked at."""
    found = []
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    return found


class Process:
    """Base of the real parts. A subclass says how it is started and when it is ready."""

    name = "process"
    stop_signal = signal.SIGTERM
    stop_timeout = 15
    start_timeout = 20
    clock_libraries = FAKETIME

    def __init__(self, folder):
        self.folder = folder
        self.process = None
        self.paused = False

    # What a subclass fills in.
    def command(self):
        raise NotImplementedError

    def environment(self):
        return {}

    def inherited_files(self):
        """Descriptors that it gets under the same numbers."""
        return ()

    def whole_environment(self):
        return {**os.environ, "LC_ALL": "C.UTF-8", **self.environment(),
                **self.clock_environment()}

    def clock_environment(self):
        if self.wall_clock is None:
            return {}
        return dict(zip(CLOCK_NAMES, (self.clock_libraries, str(self.clock_path), "1", "1",
                                      "detect_leaks=0")))

    def is_ready(self):
        raise NotImplementedError

    def before_start(self):
        pass

    @property
    def log_path(self):
        return self.folder / "log" / f"{self.name}.log"

    @property
    def clock_path(self):
        return self.folder / f"{self.name}.clock"

    @property
    def wall_clock(self):
        """By how much it is off from the next start on: "+1d". If it was off at the last start, too,
        it is so a second from now."""
        return self.clock_path.read_text() if self.clock_path.exists() else None

    @wall_clock.setter
    def wall_clock(self, off):
        if off is None:
            self.clock_path.unlink(missing_ok=True)
        else:
            new_path = self.clock_path.with_suffix(".new")
            new_path.write_text(off)
            new_path.rename(self.clock_path)

    @property
    def pid(self):
        return self.process.pid

    @property
    def group(self):
        """The process group that it and its children are in."""
        return self.pid

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
                env=self.whole_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self.inherited_files(),
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
        """Of several threads the first one stops the others, once it is its turn to run."""
        os.killpg(self.group, signal.SIGSTOP)
        self.paused = True
        wait_until(lambda: self._thread_states() <= {"T", "Z", "X"}, 5, "all threads stand still")

    def _thread_states(self):
        found = set()
        for pid in processes_of_group(self.group):
            with contextlib.suppress(OSError):
                for thread in os.listdir(f"/proc/{pid}/task"):
                    found |= set((stat_of(f"{pid}/task/{thread}") or ("X",))[0])
        return found

    def resume(self):
        os.killpg(self.group, signal.SIGCONT)
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
        group = self.group
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
            status = self.process.wait(self.stop_timeout * PATIENCE)
            if status != 0:
                trouble = f"{self.name} left with status {status}:\n{self.log_tail()}"
        except subprocess.TimeoutExpired:
            trouble = f"{self.name} did not leave within {self.stop_timeout * PATIENCE} s"
        left = processes_of_group(self.group)
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
