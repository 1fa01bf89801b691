"""The power of a Redis, which can go: then there is of its AOF what was on the disk, and no more."""

import os
import pathlib
import subprocess

SOURCE = pathlib.Path(__file__).with_name("synced.cpp")


class Power:
    def __init__(self, redis_server):
        """Before it is started."""
        self.redis = redis_server
        self.folder = redis_server.folder / "synced"
        self.folder.mkdir()
        library = self.folder / "synced.so"
        subprocess.run(["c++", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE],
                       check=True)
        redis_server.preloaded = str(library)
        redis_server.variables["SLUICE_SYNCED"] = str(self.folder)

    def synced_bytes(self, path):
        """Of a file that Redis has written to."""
        noted = self.folder / path.name
        return int(noted.read_text()) if noted.exists() else 0

    def lose(self):
        """Returns how many bytes were lost with it. Redis is to be started again."""
        self.redis.kill()
        lost = 0
        for path in (self.redis.folder / "redis" / "appendonlydir").glob("*.incr.aof"):
            bytes_left = min(self.synced_bytes(path), path.stat().st_size)
            lost += path.stat().st_size - bytes_left
            os.truncate(path, bytes_left)
        return lost
