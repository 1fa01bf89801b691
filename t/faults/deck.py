"""The faults that a run plays. Each does its harm, and mends it before it returns."""

import functools
import os
import signal
import time

import psycopg2
from harness.process import StopFailure
from harness.waiting import wait_until

KILOBYTE = 1 << 10
LINKS = ("edge to redis", "loader to redis", "server to redis", "loader to postgres",
         "server to postgres", "clients to edge")
# How much of what was acknowledged before its end may be lost with Redis, in seconds.
LOSS_S = {"everysec": 2.5, "none": float("inf")}
LOG_FILES_MAX = 100
CLOCKS = ("-90s", "+90s", "+3h", "-1d", "+2d")


class Deck:
    """kinds: by its name, what does it. losses: spans of time of which Redis may have lost what was
    acknowledged then, as it is set."""

    def __init__(self, stack, dice, durability, power, network, disks):
        self.stack, self.dice, self.durability = stack, dice, durability
        self.power, self.network, self.disks = power, network, disks
        self.losses = []
        parts = {"loader": stack.loader, "other loader": stack.more_loaders[0],
                 "server": stack.server, "redis": stack.redis, "postgres": stack.postgres}
        self.kinds = {
            "SIGKILL nginx worker": self.kill_worker,
            "SIGSTOP nginx worker": self.stop_worker,
            "SIGKILL nginx master": self.kill_master,
            "SIGSTOP nginx master": self.stop_master,
            "HUP nginx": stack.nginx.reload,
            "USR2 nginx": self.upgrade,
            "redis at maxmemory": self.fill_redis,
        }
        for name, part in parts.items():
            self.add(f"SIGKILL {name}", self.kill, part)
            self.add(f"SIGSTOP {name}", self.stop, part)
            if part is not stack.postgres and part is not stack.more_loaders[0]:
                self.add(f"SIGTERM {name}", self.restart, part)
        for name, part in {**parts, "nginx": stack.nginx}.items():
            self.add(f"clock of {name}", self.clock, part)
        if durability != "none":
            self.add("power of redis lost", self.lose_power)
        if durability == "everysec":
            self.add("redis loses its last second", self.lose_second)
        if network:
            self.add_network(parts)
        if disks:
            self.add("disk of postgres full", self.fill_postgres_disk)
            if durability != "none":
                self.add("disk of redis full", self.fill_redis_disk)

    def add(self, name, do, *arguments):
        self.kinds[name] = functools.partial(do, *arguments)

    def add_network(self, parts):
        for link in LINKS:
            self.add(f"cut: {link}", self.disturb, self.network.cut, link)
            self.add(f"delay: {link}", self.delay, link)
            self.add(f"reset: {link}", self.disturb, self.network.reset, link)
            if link != "clients to edge":
                self.add(f"half open: {link}", self.forget, link)
        for name in ("loader", "server", "redis", "postgres"):
            self.add(f"SIGKILL {name}, unheard", self.kill_unheard, parts[name],
                     [link for link in LINKS if name in link.split()])

    def some_time(self, *seconds):
        time.sleep(self.dice.choice(seconds))

    def pause(self):
        self.some_time(0, 0.1, 0.5, 2)

    def start(self, part, ended_at):
        part.start()
        if part is self.stack.redis and self.durability in LOSS_S:
            self.losses.append((ended_at - LOSS_S[self.durability], time.monotonic()))

    def kill(self, part):
        killed_at = time.monotonic()
        part.kill()
        self.pause()
        self.start(part, killed_at)

    def restart(self, part, wall_clock=None):
        try:
            part.stop()
        except StopFailure as failure:
            # What a daemon has begun may take longer than it has: what it leaves is read again.
            if "stopped without waiting any longer" not in str(failure):
                raise
        stopped_at = time.monotonic()
        self.pause()
        part.wall_clock = wall_clock
        self.start(part, stopped_at)

    def stop(self, part):
        """Its processes stand still."""
        part.pause()
        self.some_time(0.2, 1, 4)
        part.resume()

    def clock(self, part):
        """Is off, and then off otherwise while it runs; then on again."""
        self.restart(part, self.dice.choice(CLOCKS))
        self.some_time(1, 2)
        part.wall_clock = self.dice.choice(CLOCKS)
        time.sleep(2)
        self.restart(part)

    def some_worker(self):
        return self.dice.choice(self.stack.nginx.worker_pids())

    def kill_worker(self):
        os.kill(self.some_worker(), signal.SIGKILL)
        wait_until(lambda: len(self.stack.nginx.worker_pids()) == self.stack.nginx.workers, 15,
                   "there is a worker again")

    def stop_worker(self):
        self.stop_process(self.some_worker())

    def stop_master(self):
        self.stop_process(self.stack.nginx.pid)

    def stop_process(self, pid):
        os.kill(pid, signal.SIGSTOP)
        self.some_time(0.2, 1, 4)
        os.kill(pid, signal.SIGCONT)

    def kill_master(self):
        """Workers without one go on; who starts nginx anew ends them first."""
        nginx = self.stack.nginx
        os.kill(nginx.pid, signal.SIGKILL)
        self.pause()
        nginx.kill()
        (nginx.folder / "nginx.pid").unlink(missing_ok=True)
        nginx.start()

    def upgrade(self):
        nginx = self.stack.nginx
        old = nginx.upgrade()
        os.kill(old.pid, signal.SIGQUIT)
        old.wait(60)

    def fill_redis(self):
        """What it has is more than it may have, so that all that would be added is refused."""
        client = self.stack.redis.client
        before = client.config_get("maxmemory")["maxmemory"]
        client.config_resetstat()
        client.config_set("maxmemory", 1)
        self.some_time(0.5, 2)
        wait_until(lambda: "errorstat_OOM" in client.info("errorstats"), 20, "Redis has refused")
        client.config_set("maxmemory", before)

    def lose_power(self):
        lost_at = time.monotonic()
        self.power.lose()
        self.pause()
        self.start(self.stack.redis, lost_at)

    def lose_second(self):
        """At worst: of its AOF there is what it had a second ago."""
        folder = self.stack.folder / "redis" / "appendonlydir"
        sizes = {path: path.stat().st_size for path in folder.glob("*.incr.aof")}
        time.sleep(1)
        killed_at = time.monotonic()
        self.stack.redis.kill()
        for path in folder.glob("*.incr.aof"):
            os.truncate(path, sizes.get(path, 0))
        self.pause()
        self.start(self.stack.redis, killed_at)

    def disturb(self, how, link):
        how(link)
        self.some_time(0.2, 1, 4, 8)
        self.network.mend(link)

    def delay(self, link):
        self.network.slow_down(link, self.dice.choice((0.05, 0.2, 0.5)))
        self.some_time(1, 4)
        self.network.mend(link)

    def forget(self, link):
        self.network.forget(link)
        self.some_time(0.2, 1, 4)

    def kill_unheard(self, part, links):
        """Nobody is told that it is gone; then it is there again, and knows nothing of them."""
        for link in links:
            self.network.cut(link)
        killed_at = time.monotonic()
        part.kill()
        self.pause()
        for link in links:
            self.network.forget(link)
            self.network.mend(link)
        self.start(part, killed_at)

    def fill_redis_disk(self):
        """With fsync always Redis ends when it cannot write, else it refuses until it can; then its
        AOF has to be rewritten, or it may not start again: see the README."""
        self.disks["redis"].leave(64 * KILOBYTE)
        self.some_time(1, 4)
        self.make_room(self.stack.redis)
        if self.durability == "everysec":
            self.stack.redis.rewrite_aof()

    def fill_postgres_disk(self):
        """It may be tables that do not find room, or the log of Postgres, at which it ends."""
        self.disks["postgres"].leave(256 * KILOBYTE)
        if self.dice.random() < 0.5:
            self.use_up_log()
        self.some_time(1, 4)
        self.make_room(self.stack.postgres)

    def use_up_log(self):
        """What there is of it already, so that more has to be made."""
        try:
            for _ in range(LOG_FILES_MAX):
                self.stack.postgres.query("SELECT pg_switch_wal(), pg_current_xact_id()")
        except psycopg2.Error:
            pass

    def make_room(self, part):
        """It may have ended, or be about to: who supervises it starts it until it stays."""
        self.disks[part.name].make_room()

        def is_up():
            if not part.running:
                part.kill()
                part.launch()
            return part.is_ready()

        wait_until(is_up, 60, f"{part.name} is up")
