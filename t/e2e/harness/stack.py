"""All parts together in a folder laid out as scripts/up lays out its state folder."""

import os
import pathlib
import shutil
import tempfile

from .api import Api
from .build import LOGS_OF_FAILED
from .checks import bad_lines, is_allowed
from .nginx_server import NginxServer
from .postgres_server import PostgresServer
from .process import StopFailure, open_files
from .redis_server import RedisServer, make_secrets
from .sluiced import Loader, Server
from .waiting import wait_until

# Connections that may stay open on purpose: nginx's to the server, the server's to Postgres.
IDLE_CONNECTIONS_MAX = 20


MEMORY = "/dev/shm"
MEMORY_FREE_MIN = 2 << 30


def has_memory():
    """A small machine, or a container, has little room there."""
    try:
        status = os.statvfs(MEMORY)
    except OSError:
        return False
    return status.f_bavail * status.f_frsize >= MEMORY_FREE_MIN


def make_folder():
    """Short, as the names of Unix sockets must be, and open to the user Postgres runs as. In memory,
    if there is room: a cluster has a thousand files, and where ext4 has just removed so many, as
    after each test, making as many takes it seconds. Who measures says where the disk is."""
    where = os.environ.get("SLUICE_TEST_FOLDERS") or (MEMORY if has_memory() else "/tmp")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-", dir=where))
    os.chmod(folder, 0o1777 if os.geteuid() == 0 else 0o755)
    for name in ("log", "app", "app/conf"):
        (folder / name).mkdir()
    make_secrets(folder)
    return folder


class Stack:
    """Parts are made here but started by start(); a test may start, stop and kill each."""

    def __init__(self, template, workers=2, nginx_edits=(), load=None, serve=None,
                 nginx=NginxServer):
        self.folder = make_folder()
        self.redis = RedisServer(self.folder)
        self.postgres = PostgresServer(self.folder, template)
        self.loader = Loader(self.folder, self.redis.url, self.postgres.dsn, load)
        self.server = Server(self.folder, self.redis.url, self.postgres.dsn, serve)
        self.nginx = nginx(self.folder, workers, nginx_edits)
        self.parts = [self.redis, self.postgres, self.loader, self.server, self.nginx]
        self.nginx_edits = nginx_edits
        self.more_loaders = []
        self.more_edges = []
        self.allowed = []
        self.apis = []
        self.files_at_start = {}

    def start_loading(self):
        """Without nginx and the server: the test writes the stream itself."""
        for part in (self.redis, self.postgres, self.loader):
            part.launch()
        for part in (self.redis, self.postgres, self.loader):
            part.wait_ready()
        self.wait_group()
        return self

    def wait_group(self):
        """Until the loader has made its group there is nothing to be drained."""
        wait_until(lambda: self.redis.client.exists("logs:stream"), 15, "there is a group")

    def wait_partitions(self):
        """Until the loader has made those of logs ahead, which it does once it is connected."""
        wait_until(lambda: self.postgres.value(
            "SELECT count(*) FROM pg_inherits WHERE inhparent IN ('logs'::regclass,"
            " 'ledger'::regclass)") >= 5, 15, "partitions are there")

    def add_loader(self, **settings):
        """Another one, not started, with a name of its own."""
        loader = Loader(self.folder, self.redis.url, self.postgres.dsn, settings)
        loader.name = f"{loader.name}-{len(self.more_loaders) + 2}"
        loader.settings["SLUICED_LOAD_NAME"] = loader.name
        loader.settings["SLUICED_LOAD_LISTEN"] = f"unix:{self.folder}/{loader.name}.sock"
        self.more_loaders.append(loader)
        self.parts.append(loader)
        return loader

    def add_edge(self, workers=1):
        """Another nginx on the same Redis, not started, configured as the first was."""
        folder = self.folder / f"edge-{len(self.more_edges) + 2}"
        for name in ("log", "app/conf"):
            (folder / name).mkdir(parents=True)
        edge = NginxServer(folder, workers, self.nginx_edits)
        edge.edit(f"{folder}/redis.sock", str(self.redis.socket_path))
        edge.edit(f"{folder}/secrets", f"{self.folder}/secrets")
        self.more_edges.append(edge)
        self.parts.append(edge)
        return edge

    def start(self):
        """The stores first, as scripts/up does: whoever does not find them asks again later."""
        stores = (self.redis, self.postgres)
        for parts in (stores, [part for part in self.parts if part not in stores]):
            for part in parts:
                part.launch()
            for part in parts:
                part.wait_ready()
        self.wait_healthy()
        for part in (self.loader, self.server):
            self.files_at_start[part.name] = open_files(part.pid)
        self.files_at_start["worker"] = max(map(open_files, self.nginx.worker_pids()))
        return self

    def api(self, **options):
        """A client; closed at the end of the test."""
        api = Api(self.nginx.port, **options)
        self.apis.append(api)
        return api

    def allow(self, pattern):
        """This test expects lines like this, which would otherwise fail it."""
        self.allowed.append(pattern)

    def health(self):
        api = Api(self.nginx.port)
        try:
            return api.health()
        except OSError:
            return None
        finally:
            api.close()

    def wait_health(self, status, timeout=15):
        def has_status():
            answer = self.health()
            return answer is not None and answer.json["status"] == status

        wait_until(has_status, timeout, f"/health says {status}")

    def wait_healthy(self, timeout=20):
        self.wait_health("healthy", timeout)

    def rows(self):
        return self.postgres.value("SELECT count(*) FROM logs")

    def wait_rows(self, count, timeout=20):
        wait_until(lambda: self.rows() >= count, timeout, f"{count} rows are in Postgres")
        assert self.rows() == count

    def wait_drained(self, timeout=30, by=None):
        """Nothing is left to be loaded: no entry unread, none read but not acknowledged. By all
        groups, or by one."""

        def drained():
            groups = [group for group in self.redis.client.xinfo_groups("logs:stream")
                      if by in (None, group["name"].decode())]
            last = self.redis.client.xinfo_stream("logs:stream")["last-generated-id"]
            return groups and all(
                group["pending"] == 0 and group["last-delivered-id"] == last for group in groups
            )

        wait_until(drained, timeout, "the stream is drained")

    def close(self):
        """Stops everything; returns what was wrong, as a list of texts."""
        for api in self.apis:
            api.close()
        troubles = self._leaked_files("worker", self.nginx)
        for edge in (self.nginx, *self.more_edges):
            troubles += self._stop(edge)
        for part in (self.server, self.loader, *self.more_loaders):
            troubles += self._leaked_files(part.name, part)
            troubles += self._stop(part)
        troubles += self._stop(self.postgres)
        if self.redis.running:
            troubles += [line for line in self.redis.refused() if not is_allowed(line, self.allowed)]
        troubles += self._stop(self.redis)
        for edge in self.more_edges:
            troubles += bad_lines(edge.folder, self.allowed)
        return troubles + bad_lines(self.folder, self.allowed)

    def _leaked_files(self, name, part):
        if name not in self.files_at_start or not part.running or part.paused:
            return []
        most = self.files_at_start[name] + IDLE_CONNECTIONS_MAX

        def now():
            pids = self.nginx.worker_pids() if name == "worker" else [part.pid]
            return max(map(open_files, pids), default=0)

        try:
            wait_until(lambda: now() <= most, 5)
            return []
        except AssertionError:
            return [f"{name} has {now()} open files, after {self.files_at_start[name]} at start"]

    def _stop(self, part):
        try:
            part.stop()
            return []
        except StopFailure as failure:
            return [str(failure)]

    def keep_logs(self, name):
        target = LOGS_OF_FAILED / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.folder / "log", target)
        for edge in self.more_edges:
            shutil.copytree(edge.folder / "log", target / edge.folder.name)
        shutil.copy(self.nginx.conf_path, target) if self.nginx.conf_path.exists() else None
        return target

    def remove(self):
        for part in reversed(self.parts):
            part.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
