"""Backups as the handbook (conf/README.md) makes them, and what is there when they are restored: of
what is in a backup nothing is lost, and nothing is stored twice."""

import shutil
import subprocess

import pytest

from harness.exact import Sent, check_exact
from harness.postgres_server import BIN, as_user, own
from harness.waiting import wait_until

STREAM, GROUP = "logs:stream", "log_workers"
STATE_LOST = "redis lost state, or its group was set back"


@pytest.fixture
def stack(make_stack):
    return make_stack().start_loading()


def copy_redis(stack):
    """The append-only files, while none of them is taken away by a rewrite."""
    client = stack.redis.client
    client.config_set("auto-aof-rewrite-percentage", 0)
    wait_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"], 10)
    shutil.copytree(stack.folder / "redis", stack.folder / "redis-backup")
    client.config_set("auto-aof-rewrite-percentage", 100)


def restore_redis(stack):
    stack.redis.stop()
    shutil.rmtree(stack.folder / "redis")
    shutil.copytree(stack.folder / "redis-backup", stack.folder / "redis")
    stack.redis.start()


def client_program(stack, name, *arguments):
    subprocess.run([BIN / name, "-h", stack.folder, "-U", "sluice", *arguments], check=True,
                   stdout=subprocess.DEVNULL)


def dump_postgres(stack):
    client_program(stack, "pg_dump", "-Fc", "-f", stack.folder / "dump", "sluice")


def restore_dump(stack):
    """Into a database of the same name; without loaders, which hold row ids for later."""
    assert not stack.loader.running
    client_program(stack, "dropdb", "sluice")
    client_program(stack, "createdb", "-E", "UTF8", "-T", "template0", "sluice")
    client_program(stack, "pg_restore", "--exit-on-error", "-d", "sluice", stack.folder / "dump")
    migrated = stack.loader.run("migrate")
    assert migrated.returncode == 0, migrated.stderr


def copy_postgres(stack):
    """pg_basebackup, which runs as the user of Postgres, too."""
    folder = stack.folder / "postgres-backup"
    folder.mkdir(mode=0o700)
    own(folder)
    subprocess.run(as_user(BIN / "pg_basebackup", "-h", stack.folder, "-U", "sluice", "-D", folder,
                           "-c", "fast"), check=True, cwd="/")


def restore_copy(stack):
    stack.postgres.stop()
    shutil.rmtree(stack.postgres.data)
    (stack.folder / "postgres-backup").rename(stack.postgres.data)
    stack.postgres.start()


WAYS = [(dump_postgres, restore_dump), (copy_postgres, restore_copy)]


@pytest.mark.parametrize("back_up, restore", WAYS)
def test_redis_first_and_then_postgres(stack, back_up, restore):
    """What waits in Redis when it is copied may be stored before Postgres is: it is in both."""
    sent = Sent(stack)
    stack.loader.stop()
    sent.add(20)
    copy_redis(stack)
    stack.loader.start()
    sent.add(10)
    stack.wait_drained()
    back_up(stack)
    kept = len(sent.messages)
    sent.add(5)
    stack.wait_drained()
    stack.loader.stop()
    restore_redis(stack)
    restore(stack)
    gone = sent.messages[kept:]
    stack.loader.start()
    sent.add(5)
    check_exact(stack, set(sent.messages) - set(gone))


def test_an_older_postgres_gets_again_what_redis_still_has(make_stack):
    """A group that moves on with each backup holds back trimming until then."""
    stack = make_stack(load={"SLUICED_REDIS_OTHER_GROUPS": "backup"})
    stack.start_loading()
    client = stack.redis.client
    client.xgroup_create(STREAM, "backup", id="0")
    sent = Sent(stack)
    sent.add(20)
    stack.wait_drained(by=GROUP)
    dump_postgres(stack)
    sent.add(20)
    stack.wait_drained(by=GROUP)
    stack.loader.stop()
    restore_dump(stack)
    client.xgroup_setid(STREAM, GROUP, "0")
    stack.loader.start()
    stack.wait_drained(by=GROUP)
    client.xgroup_setid(STREAM, "backup", "$")
    sent.check()
