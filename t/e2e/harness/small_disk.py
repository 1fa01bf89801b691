"""A disk that a test can fill."""

import os
import pathlib
import subprocess
import tempfile

import pytest


def mount(*arguments):
    """Raises OSError, with what mount says."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.strip())


class SmallDisk:
    """A file system in memory. It is filled up by making it smaller, which costs no memory."""

    def __init__(self, path, megabytes):
        self.path = path
        self.size = megabytes << 20
        mount("-t", "tmpfs", "-o", f"size={self.size},mode=0755", "tmpfs", path)

    @classmethod
    def or_skip(cls, megabytes):
        path = pathlib.Path(tempfile.mkdtemp(prefix="sluice-disk-", dir="/tmp"))
        try:
            return cls(path, megabytes)
        except OSError as error:
            path.rmdir()
            pytest.skip(f"a small disk cannot be mounted: {error}")

    def leave(self, free_bytes):
        """Refused if it holds more by then, as somebody writes: then once more."""
        for tries_left in reversed(range(20)):
            status = os.statvfs(self.path)
            used = (status.f_blocks - status.f_bfree) * status.f_frsize
            try:
                return self._resize(used + free_bytes)
            except OSError:
                if tries_left == 0:
                    raise

    def make_room(self):
        self._resize(self.size)

    def _resize(self, size):
        mount("-o", f"remount,size={size}", self.path)

    def remove(self):
        subprocess.run(["umount", "--lazy", self.path], check=True)
        self.path.rmdir()
