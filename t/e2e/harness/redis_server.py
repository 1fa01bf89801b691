"""The private Redis, with the shipped configuration and its users."""

import redis

from .build import render_conf
from .process import FAKETIME, Process
from .waiting import wait_until

USERS = ("edge", "loader", "reader", "operator")
# What limits with scope=global take, as conf/redis.acl says.
GLOBAL_LIMITS = "+eval +time +get +set +zadd +zremrangebyscore +zcard +pexpire"


def make_secrets(folder):
    (folder / "secrets").mkdir(mode=0o700)
    for name in USERS:
        path = folder / "secrets" / f"redis-{name}"
        path.write_text(f"{name}-secret\n")
        path.chmod(0o600)


class RedisServer(Process):
    name = "redis"
    def __init__(self, folder):
        super().__init__(folder)
        self.socket_path = folder / "redis.sock"
        self.url = f"unix://loader@{self.socket_path}"
        self.conf = render_conf("redis.conf", state=folder, maxmemory="256mb")
        self.acl = render_conf("redis.acl", state=folder)
        self.client = self.new_client(socket_timeout=20)
        self.preloaded = ""
        self.variables = {}

    def new_client(self, **options):
        """As one who may do everything, if nobody else is named."""
        login = {"username": "operator", "password": "operator-secret"}
        return redis.Redis(unix_socket_path=str(self.socket_path), **{**login, **options})

    def grant(self, user, rights):
        """From the next start on."""
        self.acl = "".join(f"{line} {rights}\n" if line.startswith(f"user {user} ") else f"{line}\n"
                           for line in self.acl.splitlines())

    def before_start(self):
        (self.folder / "redis").mkdir(exist_ok=True)
        (self.folder / "app" / "conf" / "redis.conf").write_text(self.conf)
        (self.folder / "app" / "conf" / "redis.acl").write_text(self.acl)

    def environment(self):
        return {**self.variables, "LD_PRELOAD": self.preloaded} if self.preloaded else {}

    @property
    def clock_libraries(self):
        """jemalloc asks for the time before libfaketime can tell: with the C library's malloc it does
        not."""
        return f"{self.preloaded}:{FAKETIME}:libc.so.6".lstrip(":")

    def command(self):
        return ["redis-server", self.folder / "app" / "conf" / "redis.conf"]

    def is_ready(self):
        try:
            return self.client.ping()
        except redis.RedisError:
            return False

    def rewrite_aof(self):
        """From its beginning to its end; one that runs already is waited for."""

        def begun():
            try:
                return self.client.bgrewriteaof()
            except redis.ResponseError:
                return False

        def ended():
            info = self.client.info("persistence")
            return not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]

        wait_until(begun, 20, "a rewrite of the AOF begins")
        wait_until(ended, 20, "the AOF is rewritten")
        assert self.client.info("persistence")["aof_last_bgrewrite_status"] == "ok"

    def refused(self):
        """What users were refused, a line each."""
        try:
            return [f"redis refused {entry['username']} {entry['object']}: {entry['reason']},"
                    f" {entry['client-info'].get('name', '')}" for entry in self.client.acl_log()]
        except redis.RedisError:
            return []

    def stream_length(self, stream="logs:stream"):
        return self.client.xlen(stream)

    def pending(self, stream="logs:stream", group="log_workers"):
        try:
            return self.client.xpending(stream, group)["pending"]
        except redis.ResponseError:
            return 0
