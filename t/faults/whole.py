"""The whole way under load, while everything that can fail is made to fail.

Clients of all kinds post records and write down what they were told of each, and one reads.
Meanwhile a deck of faults, shuffled by the seed, is played against the real parts, one after the
other. At the end all parts run, the stream is drained, and of every record there is told whether
what became of it is what was said: acknowledged ones are stored exactly once, as they were sent;
refused ones are not there; of those without an answer each is there once or not at all; the counters
are those of the rows. Some frames hold a row that Postgres refuses, too.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import sys
import threading
import time
import traceback
import uuid

import redis
from book import ACKNOWLEDGED, UNKNOWN, Book
from clients import Client
from deck import LINKS, Deck
from harness.exact import check_counters, wait_finished
from harness.frames import frame, row
from harness.nginx_server import NginxDaemon
from harness.stack import Stack
from harness.template import make_template
from network import Network
from power import Power
from reader import Reader
from surroundings import Surroundings, connect_by, make_disks
from tables import print_tables

CLIENTS = 6
# What Redis is set to, and what the edge then demands.
DURABILITY = {
    "always": ("appendfsync always", "fsync"),
    "everysec": ("appendfsync everysec", "everysec"),
    "none": ("appendonly no", "memory"),
}
# What the parts may say of it all.
ALLOWED = ("redis lost state, or its group was set back", "kept in dead_letters",
           "exited on signal 9", "its last write to the AOF failed")
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
        # (u, position) of rows that are to be dead letters: of some it is known since when.
        self.sure, self.unsure = {}, set()

    def run(self):
        while not self.stopping.wait(0.3):
            u = os.urandom(16)
            try:
                self.client.xadd("logs:stream", frame([row(f"poison {u.hex()}", level="LOUD")], u=u))
                self.sure[u, 0] = time.monotonic()
            except redis.RedisError:
                self.unsure.add((u, 0))

    def stop(self):
        self.stopping.set()
        self.join()

    def judge(self, postgres, losses):
        """What is not as it should be. losses: when what was taken may be lost all the same."""
        letters = collections.Counter(
            (uuid.UUID(u).bytes, position)
            for u, position in postgres.query("SELECT u::text, position FROM dead_letters"))
        lost = [moment for letter, moment in self.sure.items() if letter not in letters
                and not any(since <= moment <= until for since, until in losses)]
        return {"dead letters lost": len(lost),
                "dead letters twice": sum(count > 1 for count in letters.values()),
                "strange dead letters": len(set(letters) - set(self.sure) - self.unsure)}


def set_line(redis_server, line):
    name = line.split()[0]
    kept = [old for old in redis_server.conf.splitlines() if old.split()[:1] != [name]]
    redis_server.conf = "\n".join([*kept, line, ""])


class Run:
    def __init__(self, template, seed, durability, surroundings):
        self.dice = random.Random(seed)
        redis_line, demanded = DURABILITY[durability]
        settings = {**SETTINGS, "SLUICED_REDIS_DURABILITY": demanded}
        self.stack = Stack(template, load=settings, nginx=NginxDaemon)
        set_line(self.stack.redis, redis_line)
        set_line(self.stack.redis, "auto-aof-rewrite-min-size 16mb")
        self.stack.nginx.edit("sluice_durability fsync", f"sluice_durability {demanded}")
        self.stack.add_loader(**settings)
        for pattern in ALLOWED:
            self.stack.allow(pattern)
        self.network = surroundings.device and Network(surroundings.device, LINKS)
        if self.network:
            connect_by(self.network, self.stack)
        self.disks = make_disks(self.stack) if surroundings.has_disks else {}
        power = Power(self.stack.redis)
        self.deck = Deck(self.stack, self.dice, durability, power, self.network, self.disks)
        self.book = Book()
        host = self.network.address("clients to edge") if self.network else "127.0.0.1"
        self.clients = [Client((host, self.stack.nginx.port), self.book, seed * 100 + n)
                        for n in range(CLIENTS)]
        self.poisoner = Poisoner(self.stack, seed)
        self.reader = Reader((host, self.stack.nginx.port), self.book, seed)
        self.threads = [*self.clients, self.poisoner, self.reader]
        self.done = collections.Counter()

    def start(self):
        self.stack.start()
        self.stack.files_at_start.clear()  # parts are replaced by others
        self.stack.wait_partitions()
        for thread in self.threads:
            thread.start()

    def play(self, seconds):
        until = time.monotonic() + seconds
        kinds = []
        while time.monotonic() < until:
            if not kinds:
                kinds = list(self.deck.kinds)
                self.dice.shuffle(kinds)
            kind = kinds.pop()
            self.done[kind] += 1
            self.deck.kinds[kind]()
            self.deck.some_time(0, 0.1, 0.5, 1)

    def stop_load(self):
        for thread in self.threads:
            thread.stop()

    def judge(self):
        """What is wrong, and the numbers of this run in the table."""
        self.stack.wait_healthy(60)
        wait_finished(self.stack, 180)
        rows = self.stack.postgres.query(
            "SELECT device_id, log_level::text, message, log_data::text FROM logs")
        wrong = self.book.judge(rows)
        poisoned = self.poisoner.judge(self.stack.postgres, self.deck.losses)
        check_counters(self.stack)
        lost = wrong.pop("lost", [])
        wrong["lost"] = self.book.known_outside(lost, self.deck.losses)
        troubles = [f"{len(found)} {what}: {found[:3]}" for what, found in wrong.items() if found]
        troubles += [f"{count} {what}" for what, count in poisoned.items() if count]
        numbers = {"acknowledged": self.book.count(ACKNOWLEDGED),
                   "unknown": self.book.count(UNKNOWN), "lost": len(lost),
                   "duplicated": len(wrong["twice"])}
        if numbers["acknowledged"] == 0:
            troubles.append("nothing was acknowledged")
        self.reader.read_all()
        if self.reader.rows_shown == 0:
            troubles.append("nothing was read")
        return troubles, numbers

    def remove(self):
        threads = [thread for thread in self.threads if thread.is_alive()]
        for thread in threads:
            thread.stopping.set()
        for part in self.stack.parts:
            part.kill()
        for thread in threads:
            thread.join()
        for disk in self.disks.values():
            disk.remove()
        self.stack.remove()
        if self.network:
            self.network.close()


def run_once(template, seed, durability, seconds, surroundings):
    """What is told of it in the table."""
    print(f"{durability}, --seed {seed}", flush=True)
    run = Run(template, seed, durability, surroundings)
    numbers = {}
    try:
        try:
            run.start()
            run.play(seconds)
            run.stop_load()
            troubles, numbers = run.judge()
            troubles += run.stack.close()
        except Exception:
            troubles = [traceback.format_exc()]
        print("\n".join(troubles) or f"  nothing wrong: {numbers}", flush=True)
        if troubles:
            print("logs kept in", run.stack.keep_logs(f"faults-{durability}-{seed}"), flush=True)
    finally:
        run.remove()
    return {"durability": durability, "seed": seed, "seconds": seconds, "troubles": troubles,
            "faults": dict(run.done), **numbers}


def main():
    parser = argparse.ArgumentParser(prog="scripts/faults")
    parser.add_argument("--seconds", type=int, default=60, help="of faults, in each run")
    parser.add_argument("--runs", type=int, default=1, help="with each setting of Redis")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 20))
    parser.add_argument("--durability", choices=DURABILITY, help="this one only")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE",
                        help="where what is told of each run is kept; --table adds such files up")
    parser.add_argument("--table", type=pathlib.Path, nargs="+", metavar="FILE",
                        help="only prints the tables of these")
    options = parser.parse_args()
    if options.table:
        print_tables([json.loads(path.read_text()) for path in options.table])
        return 0
    surroundings = Surroundings()
    told = {"runs": [], "not made here": surroundings.not_made}
    template = make_template()
    try:
        for number in range(options.runs):
            for durability in [options.durability] if options.durability else DURABILITY:
                told["runs"].append(run_once(template.data, options.seed + number, durability,
                                             options.seconds, surroundings))
                if options.json:
                    options.json.write_text(json.dumps(told, indent=1) + "\n")
    finally:
        shutil.rmtree(template.folder, ignore_errors=True)
    print_tables([told])
    return 1 if any(run["troubles"] for run in told["runs"]) else 0


if __name__ == "__main__":
    sys.exit(main())
