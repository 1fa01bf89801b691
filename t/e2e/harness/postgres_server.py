"""The private Postgres, with the shipped configuration; each test has a copy of one cluster that
was made and migrated once."""

import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess

import psycopg2

from .build import ROOT, render_conf
from .process import CLOCK_NAMES, Process, stat_of
from .waiting import wait_until


def newest_bin():
    found = pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max(found, key=lambda path: int(re.sub(r"\D", "", path.parts[4]) or 0)).parent


BIN = newest_bin()
# Postgres refuses to run as root.
USER = "postgres" if os.geteuid() == 0 else None


def as_user(*command):
    if USER is None:
        return list(command)
    return ["setpriv", "--reuid", USER, "--regid", USER, "--init-groups", "--", *command]


def own(path):
    if USER is not None:
        entry = pwd.getpwnam(USER)
        os.chown(path, entry.pw_uid, entry.pw_gid)


class PostgresServer(Process):
    name = "postgres"
    stop_signal = signal.SIGINT
    stop_timeout = 30

    def __init__(self, folder, template=None):
        super().__init__(folder)
        self.data = folder / "postgres"
        self.template = template
        self.dsn = f"host={folder} dbname=sluice"
        self.conf = render_conf("postgres.conf", state=folder)
        # Only the user who runs the tests, and root, can reach a socket of mode 0700.
        self.hba = "local all,replication all trust\n"
        self.port = 5432

    def initdb(self):
        self.data.mkdir(mode=0o700)
        own(self.data)
        subprocess.run(
            as_user(BIN / "initdb", "-D", self.data, "-U", "sluice", "-E", "UTF8",
                    "--locale=C.UTF-8", "-A", "trust", "--no-sync"),
            check=True, cwd="/", stdout=subprocess.DEVNULL,
        )
        with open(self.data / "postgresql.conf", "a", encoding="ascii") as conf:
            conf.write("include = '../app/conf/postgres.conf'\n")

    def before_start(self):
        if not (self.data / "PG_VERSION").exists():
            shutil.copytree(self.template, self.data, symlinks=True, dirs_exist_ok=True)
            os.chmod(self.data, 0o700)
            if USER is not None:
                subprocess.run(["chown", "-R", f"{USER}:", self.data], check=True)
        conf = self.folder / "app" / "conf"
        (conf / "postgres.conf").write_text(self.conf)
        (conf / "pg_hba.conf").write_text(self.hba)
        (conf / "pg_ident.conf").write_text("")

    def command(self):
        clock = [f"{name}={value}" for name, value in self.clock_environment().items()]
        return as_user("env", *clock, BIN / "postgres", "-D", self.data,
                       "-c", "unix_socket_permissions=0700")

    def whole_environment(self):
        """What libfaketime shares would be root's, if it were there before the user is changed."""
        return {name: value for name, value in super().whole_environment().items()
                if name not in CLOCK_NAMES}

    def is_ready(self):
        try:
            self.connect("postgres").close()
            return True
        except psycopg2.OperationalError:
            return False

    def connect(self, database="sluice"):
        connection = psycopg2.connect(
            host=str(self.folder), port=self.port, dbname=database, user="sluice",
            connect_timeout=20
        )
        connection.autocommit = True
        return connection

    def make_database(self, name="sluice"):
        """With the roles that Sluice's parts log in as; not migrated."""
        connection = self.connect("postgres")
        connection.cursor().execute(f"CREATE DATABASE {name}")
        connection.close()
        subprocess.run(
            [BIN / "psql", "-X", "-q", "-h", self.folder, "-U", "sluice", "-d", name,
             "-f", ROOT / "conf" / "roles.sql"], check=True, cwd="/",
        )

    def query(self, sql, *parameters):
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters or None)
                return cursor.fetchall()
        finally:
            connection.close()

    def value(self, sql, *parameters):
        return self.query(sql, *parameters)[0][0]

    def pause(self):
        """With its children, which are in groups of their own."""
        super().pause()
        wait_until(lambda: self._signal_children(signal.SIGSTOP) <= {"T"}, 5, "all stand still")

    def resume(self):
        self._signal_children(signal.SIGCONT)
        super().resume()

    def _signal_children(self, number):
        """The states that they are in then."""
        for pid in self.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return {stat[0] for stat in map(stat_of, self.children()) if stat}

    def kill(self):
        """Of the postmaster. Its children notice by themselves."""
        if self.process is None:
            return
        if self.paused:
            self.resume()
        super().kill()
        wait_until(lambda: not self.children(), 20, "Postgres' backends are gone")

    def children(self):
        found = []
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and os.readlink(f"/proc/{name}/cwd") == str(self.data):
                    found.append(int(name))
            except OSError:
                pass
        return found
