"""Two loaders under load: everything that can be killed is killed, at each step and between.

Frames of all kinds are added all the time, many of them twice. A deck of faults, shuffled by the
seed, has each fault before and after each step of the loaders' conversations with Redis and
Postgres, and kills at no step in particular. At the end everything that Redis took is in Postgres
exactly once, what Postgres refused is kept once, the counters agree and the stream is empty.
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
from feeder import Feeder
from harness.exact import check_counters, differences, stored_messages, wait_finished
from harness.stack import Stack
from harness.template import make_template
from harness.wire_proxy import COPY_STEPS, PG_STEPS, REDIS_STEPS, Wires, cut, hang

STEPS = [*REDIS_STEPS, *PG_STEPS, *COPY_STEPS.values()]
NO_STEP = "no step"
# The loader is the one that is at the step, the backend is its.
KILLS = ["loader", "other loader", "both loaders", "redis", "postgres", "backend"]
OTHERS = ["cut", "hang", "stop backend"]
OF_A_BACKEND = ["backend", "stop backend"]
SETTINGS = {
    "SLUICED_REDIS_TIMEOUT_MS": "1000",
    "SLUICED_POSTGRES_TIMEOUT_MS": "2000",
    "SLUICED_LOAD_CLAIM_IDLE_MS": "1000",
    "SLUICED_LOAD_BATCH_ROWS": "300",
}


def make_deck(dice):
    """(fault, step, when), each once, but for the kills at no step."""
    deck = [(what, step, when) for step in STEPS for when in ("before", "after")
            for what in KILLS + OTHERS if step not in REDIS_STEPS or what not in OF_A_BACKEND]
    deck += [(what, NO_STEP, "") for what in KILLS * 6]
    dice.shuffle(deck)
    return deck


def signal_backend(pid, number):
    """Whether it was still there."""
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


class Faults:
    """What can be done to the parts of a stack with two loaders."""

    def __init__(self, stack, dice):
        self.stack, self.dice = stack, dice
        larger = {**SETTINGS, "SLUICED_LOAD_BATCH_ROWS": "5000"}
        self.loaders = [stack.loader, stack.add_loader(**larger)]
        self.wires = [Wires(stack, loader) for loader in self.loaders]
        self.killed = collections.Counter()
        self.down = set()  # killed, and not started again

    def do(self, what, number, link):
        """At a step this is done by the proxy's thread; says whether the connection goes on."""
        if what == "cut":
            return cut(link)
        if what == "hang":
            return hang(link)
        if what == "stop backend":
            signal_backend(link.backend_pid, signal.SIGSTOP)
            seconds = self.dice.choice((0.2, 3, 8))
            goes_on = (link.backend_pid, signal.SIGCONT)
            threading.Timer(seconds, signal_backend, goes_on).start()
            return True
        self.kill(what, number, link)
        return False

    def kill(self, what, number, link):
        if what == "backend":
            pids = [link.backend_pid] if link else self.backend_pids(number)
            self.killed["backend"] += sum(signal_backend(pid, signal.SIGKILL) for pid in pids)
            return
        parts = {
            "loader": [self.loaders[number]],
            "other loader": [self.loaders[1 - number]],
            "both loaders": self.loaders,
            "redis": [self.stack.redis],
            "postgres": [self.stack.postgres],
        }[what]
        for part in parts:
            part.signal(signal.SIGKILL)
            self.down.add(part)
            self.killed[part.name] += 1

    def backend_pids(self, number):
        return [link.backend_pid for link in self.wires[number].postgres.links
                if link.is_alive() and link.backend_pid][:1]

    def mend(self):
        """Whoever was killed runs again."""
        for part in (self.stack.redis, self.stack.postgres, *self.loaders):
            if part in self.down:
                part.kill()
                part.start()
        self.down.clear()


class Soak:
    def __init__(self, template, seed):
        self.dice = random.Random(seed)
        self.stack = Stack(template, load={**SETTINGS, "SLUICED_LOAD_CONSUMERS": "2"})
        self.stack.allow("redis lost state, or its group was set back")
        self.stack.allow("a record cannot be stored: kept in dead_letters")
        self.faults = Faults(self.stack, self.dice)
        self.feeders = [Feeder(self.stack.redis, 2 * seed + n) for n in range(2)]
        self.done = collections.Counter()  # (fault, step)
        self.missed = collections.Counter()  # step: how often it did not come up

    def start(self):
        self.stack.start_loading()
        self.faults.loaders[1].start()
        for feeder in self.feeders:
            feeder.start()

    def run(self, kills):
        deck = []
        while self.faults.killed.total() < kills:
            deck = deck or make_deck(self.dice)
            self.play(*deck.pop())
            self.faults.mend()
            if self.done.total() % 50 == 0:
                print(f"{self.faults.killed.total()} of {kills} kills", flush=True)
        for feeder in self.feeders:
            feeder.stop()

    def play(self, what, step, when):
        number = self.dice.randrange(2)
        if step == NO_STEP:
            self.faults.do(what, number, None)
        elif not self.play_at_step(what, step, when, number):
            self.missed[step] += 1
            return
        self.done[what, step] += 1

    def play_at_step(self, what, step, when, number):
        wires = self.faults.wires[number]
        fault = wires.arm(step, when, lambda link: self.faults.do(what, number, link))
        for _ in range(4):
            self.provoke(step, number)
            if fault.begun.wait(2):
                fault.wait()
                return True
        wires.of(step).cancel(fault)
        return False

    def provoke(self, step, number):
        """The feeders see to it that there is something to do; some steps need more than that."""
        client = self.stack.redis.client
        try:
            if step == "XAUTOCLAIM":
                self.leave_behind(client)
            elif step == "XGROUP":
                client.xgroup_destroy("logs:stream", "log_workers")
        except redis.RedisError:
            pass  # Redis is just being killed, or somebody has removed the group
        if step in ("XAUTOCLAIM", "XREADGROUP own", "ids"):
            self.faults.loaders[number].kill()
            self.faults.loaders[number].launch()
        self.feeders[0].provoke(step)

    @staticmethod
    def leave_behind(client):
        """Entries that were read by a consumer that is gone, and long ago."""
        for _, entries in client.xreadgroup("log_workers", "gone", {"logs:stream": ">"}, count=20,
                                            block=1000):
            client.xclaim("logs:stream", "log_workers", "gone", 0, [entry for entry, _ in entries],
                          idle=3600 * 1000, justid=True)

    def check(self):
        wait_finished(self.stack, 180)
        stored = stored_messages(self.stack)
        plain = collections.Counter()
        for feeder in self.feeders:
            plain.update(feeder.plain)
        counts = {message: stored.pop(message, 0) for message in plain}
        wrong = {message: count for message, count in counts.items()
                 if not 1 <= count <= plain[message]}
        assert not wrong, f"plain entries: {wrong}"
        expected = {message for feeder in self.feeders for message in feeder.messages}
        assert not (wrong := differences(stored, expected)), wrong
        check_counters(self.stack)
        letters = self.stack.postgres.query("SELECT u::text, position FROM dead_letters")
        dead = set().union(*(feeder.dead for feeder in self.feeders))
        assert sorted((uuid.UUID(u).bytes, position) for u, position in letters) == sorted(dead)
        print(f"{len(expected):,} records of frames and {len(plain):,} plain ones are there, each "
              f"once; {sum(feeder.again for feeder in self.feeders):,} entries were sent again; "
              f"{len(dead):,} dead letters, each once; the counters agree, the stream is empty")

    def report(self):
        """How often each fault happened at each step."""
        columns = KILLS + OTHERS + ["not reached"]
        print("  ".join([" " * 14, *columns]))
        for step in [*STEPS, NO_STEP]:
            counts = [self.done[what, step] for what in KILLS + OTHERS] + [self.missed[step]]
            cells = [str(count or "-").rjust(len(what)) for count, what in zip(counts, columns)]
            print("  ".join([step.ljust(14), *cells]))
        killed = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.killed.items()))
        print(f"killed {self.faults.killed.total()} times: {killed}", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="scripts/faults loader")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    options = parser.parse_args()
    print(f"--seed {options.seed}", flush=True)
    template = make_template()
    soak = Soak(template.data, options.seed)
    begin = time.monotonic()
    passed = False
    try:
        soak.start()
        soak.run(options.kills)
        soak.report()
        soak.check()
        troubles = soak.stack.close()
        print("\n".join(troubles) or f"nothing wrong in {time.monotonic() - begin:.0f} s")
        passed = not troubles
    finally:
        for feeder in soak.feeders:
            feeder.stopping.set()
        if not passed:
            print("logs kept in", soak.stack.keep_logs("stress-loader"))
        soak.stack.remove()
        shutil.rmtree(template.folder, ignore_errors=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
