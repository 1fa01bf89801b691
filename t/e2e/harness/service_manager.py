"""What a service manager is to a daemon: the socket it is told things on, and one that it holds for
it."""

import os
import socket
import threading
import time

from .waiting import wait_until


class ServiceManager:
    """Hears what a process tells, as systemd does (sd_notify)."""

    def __init__(self, folder, abstract=False):
        self.path = folder / "notify.sock"
        self.name = f"@{self.path}" if abstract else str(self.path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{self.path}" if abstract else str(self.path))
        self.heard = []  # (when, {name: value})
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while datagram := self.socket.recv(65536):
            told = dict(line.split("=", 1) for line in datagram.decode().splitlines())
            self.heard.append((time.monotonic(), told))

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()
        self.path.unlink(missing_ok=True)

    def environment(self, watchdog_s=None):
        names = {"NOTIFY_SOCKET": self.name}
        if watchdog_s:
            names["WATCHDOG_USEC"] = str(int(watchdog_s * 1000000))
        return names

    def told(self, name):
        """All that was told of this, in order."""
        return [told[name] for _, told in list(self.heard) if name in told]

    def wait_told(self, name, times=1, timeout=15):
        wait_until(lambda: len(self.told(name)) >= times, timeout, f"{name} is told")
        return self.told(name)[-1]

    def wait_status(self, *parts, timeout=15):
        wait_until(lambda: all(part in (self.told("STATUS") or [""])[-1] for part in parts), timeout,
                   f"the status has {parts}")

    def last_fed(self):
        fed = [when for when, told in list(self.heard) if "WATCHDOG" in told]
        return fed[-1] if fed else 0


def held_socket(path):
    """A socket that listens, whoever accepts."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    os.chmod(path, 0o666)
    listening.listen(4096)
    return listening


def command_with_socket(listening, command):
    """Becomes the command, with the socket as systemd passes it: descriptor 3, for this process."""
    return ["/bin/bash", "-c", f'exec 3<&{listening.fileno()}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"',
            "bash", *command]
