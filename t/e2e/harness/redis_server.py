"""The private Redis, with the shipped configuration."""

import redis

from .build import render_conf
from .process import Process


class RedisServer(Process):
    name = "redis"

    def __init__(self, folder):
        super().__init__(folder)
        self.socket_path = folder / "redis.sock"
        self.url = f"unix://{self.socket_path}"
        self.conf = render_conf("redis.conf", state=folder, maxmemory="256mb")
        self.client = redis.Redis(unix_socket_path=str(self.socket_path), socket_timeout=5)

    def before_start(self):
        (self.folder / "redis").mkdir(exist_ok=True)
        (self.folder / "app" / "conf" / "redis.conf").write_text(self.conf)

    def command(self):
        return ["redis-server", self.folder / "app" / "conf" / "redis.conf"]

    def is_ready(self):
        try:
            return self.client.ping()
        except redis.RedisError:
            return False

    def stream_length(self, stream="logs:stream"):
        return self.client.xlen(stream)

    def pending(self, stream="logs:stream", group="log_workers"):
        try:
            return self.client.xpending(stream, group)["pending"]
        except redis.ResponseError:
            return 0
