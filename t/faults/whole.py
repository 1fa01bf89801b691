"""The whole way under load, while everything that can fail is made to fail.

Clients of all kinds post records and write down what they were told of each. Meanwhile a deck of
faults, shuffled by the seed, is played against the real parts, one or two at a time. At the end all
parts run, the stream is drained, and of every record there is told whether what became of it is
what was said: acknowledged ones are stored exactly once, as they were sent; refused ones are not
there; of those without an answer each is there once or not at all; the counters are those of the
rows. Some frames hold a row that Postgres refuses, too.
"""

import argparse
import collections
import os
import random
import shutil
import signal
import sys
import threading
import time
import uuid

import redis
from book import ACKNOWLEDGED, UNKNOWN, Book
from clients import Client
from harness.exact import check_counters, wait_finished
from harness.frames import frame, row
from harness.nginx_server import NginxDaemon
from harness.stack import Stack
from harness.template import make_template
from harness.waiting import wait_until

CLIENTS = 6
# What Redis is set to, and what the edge then demands.
DURABILITY = {
    "always": (("appendfsync always",), "fsync"),
    "everysec": (("appendfsync everysec",), "everysec"),
    "none": (("appendonly no",), "memory"),
}
SETTINGS = {
    "SLUICED_REDIS_TIMEOUT_MS": "1000",
    "SLUICED_POSTGRES_TIMEOUT_MS": "3000",
    "SLUICED_LOAD_CLAIM_IDLE_MS": "1500",
}


class Poisoner(threading.Thread):
    """One frame in a hundred has a row that no edge lets through, as a broken producer's would."""

    def __init__(self, stack, seed):
        super().__init__()
        self.dice = random.Random(seed)
        self.client = stack.redis.new_client(socket_timeout=2)
        self.stopping = threading.Event()
        self.sure, self.unsure = set(), set()  # (u, position) of rows that are to be dead letters

    def run(self):
        while not self.stopping.wait(0.3):
            u = os.urandom(16)
            try:
                self.client.xadd("logs:stream", frame([row(f"poison {u.hex()}", level="LOUD")], u=u))
                self.sure.add((u, 0))
            except redis.RedisError:
                self.unsure.add((u, 0))

    def stop(self):
        self.stopping.set()
        self.join()

    def judge(self, postgres):
        """What is not as it should be."""
        letters = collections.Counter(
            (uuid.UUID(u).bytes, position)
            for u, position in postgres.query("SELECT u::text, position FROM dead_letters"))
        return {"dead letters lost": len(self.sure - set(letters)),
                "dead letters twice": sum(count > 1 for count in letters.values()),
                "strange dead letters": len(set(letters) - self.sure - self.unsure)}


class Faults:
    """Each does its harm, and mends it before it returns."""

    def __init__(self, stack, dice, durability):
        self.stack, self.dice, self.durability = stack, dice, durability
        self.redis_killed_at = 0
        parts = {"loader": stack.loader, "other loader": stack.more_loaders[0],
                 "server": stack.server, "redis": stack.redis, "postgres": stack.postgres}
        self.kinds = {
            **{f"SIGKILL {name}": lambda part=part: self.kill(part) for name, part in parts.items()},
            **{f"SIGSTOP {name}": lambda part=part: self.stop(part) for name, part in parts.items()},
            **{f"clock of {name}": lambda part=part: self.clock(part)
               for name, part in list(parts.items())[:2]},
            "SIGKILL nginx worker": self.kill_worker,
            "SIGSTOP nginx worker": self.stop_worker,
            "SIGKILL nginx master": self.kill_master,
            "HUP nginx": stack.nginx.reload,
            "USR2 nginx": self.upgrade,
            "redis at maxmemory": self.fill_redis,
            "SIGTERM loader": lambda: self.restart(stack.loader),
            "SIGTERM server": lambda: self.restart(stack.server),
            "SIGTERM redis": lambda: self.restart(stack.redis),
        }

    def pause(self):
        time.sleep(self.dice.choice((0, 0.1, 0.5, 2)))

    def kill(self, part):
        part.kill()
        if part is self.stack.redis:
            self.redis_killed_at = time.monotonic()
        self.pause()
        part.start()

    def restart(self, part):
        if part is self.stack.redis and self.durability == "none":
            return self.kill(part)
        part.stop()
        self.pause()
        part.start()

    def stop(self, part):
        """Its processes stand still."""
        part.pause()
        time.sleep(self.dice.choice((0.2, 1, 4)))
        part.resume()

    def clock(self, part):
        """Runs for a while with a clock that is off, then on again."""
        part.stop()
        part.wall_clock = self.dice.choice(("-90s", "+90s", "+3h", "-1d"))
        part.start()
        time.sleep(2)
        part.stop()
        part.wall_clock = None
        part.start()

    def some_worker(self):
        return self.dice.choice(self.stack.nginx.worker_pids())

    def kill_worker(self):
        os.kill(self.some_worker(), signal.SIGKILL)
        wait_until(lambda: len(self.stack.nginx.worker_pids()) == self.stack.nginx.workers, 15,
                   "there is a worker again")

    def stop_worker(self):
        pid = self.some_worker()
        os.kill(pid, signal.SIGSTOP)
        time.sleep(self.dice.choice((0.2, 1, 4)))
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
        client = self.stack.redis.client
        used = client.info("memory")["used_memory"]
        before = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", used + 100000)
        time.sleep(self.dice.choice((0.5, 2)))
        client.config_set("maxmemory", before)


class Run:
    def __init__(self, template, seed, durability):
        self.dice = random.Random(seed)
        self.durability = durability
        conf, demanded = DURABILITY[durability]
        settings = {**SETTINGS, "SLUICED_REDIS_DURABILITY": demanded}
        self.stack = Stack(template, load=settings, nginx=NginxDaemon)
        self.set_durability(conf, demanded)
        self.stack.add_loader(**settings)
        for pattern in ("redis lost state, or its group was set back", "kept in dead_letters",
                        r"exited on signal", r"worker process \d+ exited", "clock"):
            self.stack.allow(pattern)
        self.book = Book()
        self.clients = [Client(self.stack.nginx.port, self.book, seed * 100 + n)
                        for n in range(CLIENTS)]
        self.poisoner = Poisoner(self.stack, seed)
        self.done = collections.Counter()

    def set_durability(self, lines, demanded):
        redis_server = self.stack.redis
        for line in lines:
            name = line.split()[0]
            kept = [old for old in redis_server.conf.splitlines() if old.split()[:1] != [name]]
            redis_server.conf = "\n".join([*kept, line, ""])
        self.stack.nginx.edit("sluice_durability fsync", f"sluice_durability {demanded}")

    def start(self):
        self.stack.start()
        self.stack.files_at_start.clear()  # parts are replaced by others
        self.stack.wait_partitions()
        self.faults = Faults(self.stack, self.dice, self.durability)
        for thread in (*self.clients, self.poisoner):
            thread.start()

    def play(self, seconds):
        until = time.monotonic() + seconds
        deck = []
        while time.monotonic() < until:
            if not deck:
                deck = list(self.faults.kinds)
                self.dice.shuffle(deck)
            kind = deck.pop()
            self.faults.kinds[kind]()
            self.done[kind] += 1
            time.sleep(self.dice.choice((0, 0.1, 0.5, 1)))

    def stop_load(self):
        for thread in self.clients:
            thread.stop()
        self.poisoner.stop()

    def judge(self):
        """The line of this run in the table, and whether all is well."""
        self.stack.wait_healthy(60)
        wait_finished(self.stack, 180)
        rows = self.stack.postgres.query("SELECT message, log_data::text FROM logs")
        wrong = self.book.judge(rows)
        poisoned = self.poisoner.judge(self.stack.postgres)
        check_counters(self.stack)
        lost = wrong.pop("lost", [])
        # Without an AOF a Redis that is killed takes with it what it had; never what came later.
        bounded = self.durability == "none"
        if bounded:
            poisoned.pop("dead letters lost")
        excused = bounded and self.book.known_before(lost, self.faults.redis_killed_at)
        troubles = [f"{len(found)} {what}: {found[:3]}" for what, found in wrong.items() if found]
        troubles += [f"{count} {what}" for what, count in poisoned.items() if count]
        if lost and not excused:
            troubles.append(f"{len(lost)} lost: {lost[:3]}")
        return troubles, {"faults": self.done.total(),
                          "acknowledged": self.book.count(ACKNOWLEDGED),
                          "unknown": self.book.count(UNKNOWN), "lost": len(lost),
                          "twice": len(wrong.get("twice", []))}


def run_once(template, seed, durability, seconds):
    run = Run(template.data, seed, durability)
    print(f"{durability}, --seed {seed}", flush=True)
    passed = False
    try:
        run.start()
        run.play(seconds)
        run.stop_load()
        troubles, line = run.judge()
        troubles += run.stack.close()
        print("\n".join(troubles) or f"  nothing wrong: {line}", flush=True)
        passed = not troubles
        return passed, line, run.done
    finally:
        for thread in (*run.clients, run.poisoner):
            thread.stopping.set()
        if not passed:
            print("logs kept in", run.stack.keep_logs(f"faults-{durability}-{seed}"))
        run.stack.remove()


def print_tables(lines, done):
    columns = ("faults", "acknowledged", "unknown", "lost", "twice")
    print(f"\n{'':<10}{'runs':>6}" + "".join(f"{name:>14}" for name in columns))
    for durability, runs in lines.items():
        sums = [sum(run[name] for run in runs) for name in columns]
        print(f"{durability:<10}{len(runs):>6}" + "".join(f"{count:>14,}" for count in sums))
    print("\nhow often each was made:")
    for kind, count in sorted(done.items()):
        print(f"  {count:>6}  {kind}")


def main():
    parser = argparse.ArgumentParser(prog="scripts/faults")
    parser.add_argument("--seconds", type=int, default=60, help="of faults, in each run")
    parser.add_argument("--runs", type=int, default=1, help="with each setting of Redis")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 20))
    parser.add_argument("--durability", choices=DURABILITY, help="this one only")
    options = parser.parse_args()
    template = make_template()
    lines, done, good = collections.defaultdict(list), collections.Counter(), True
    try:
        for number in range(options.runs):
            for durability in [options.durability] if options.durability else DURABILITY:
                passed, line, kinds = run_once(template, options.seed + number, durability,
                                               options.seconds)
                lines[durability].append(line)
                done.update(kinds)
                good = good and passed
    finally:
        shutil.rmtree(template.folder, ignore_errors=True)
    print_tables(lines, done)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
