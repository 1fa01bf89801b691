"""A disk that a test can fill."""

import os
import pathlib
import subprocess
import tempfile

import pytest


class SmallDisk:
    """A file system in memory, and a file that fills it up."""

    def __init__(self, megabytes):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="sluice-disk-", dir="/tmp"))
        self.ballast = self.path / "ballast"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs",
                               self.path], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.path.rmdir()
            pytest.skip(f"a small disk cannot be mounted: {done.stderr}")

    def leave(self, free_bytes):
        status = os.statvfs(self.path)
        with open(self.ballast, "wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0,
                               status.f_bavail * status.f_frsize - free_bytes)

    def make_room(self):
        self.ballast.unlink()

    def remove(self):
        subprocess.run(["umount", "--lazy", self.path], check=True)
        self.path.rmdir()
