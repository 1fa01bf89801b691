"""A Postgres data folder that every stack starts from a copy of."""

from .postgres_server import PostgresServer
from .sluiced import Loader
from .stack import make_folder


def make_template():
    """Migrated and shut down; its folder is the caller's to remove."""
    folder = make_folder()
    postgres = PostgresServer(folder)
    postgres.initdb()
    postgres.start()
    try:
        postgres.make_database()
        migrated = Loader(folder, f"unix://loader@{folder}/redis.sock", postgres.dsn).run("migrate")
        assert migrated.returncode == 0, migrated.stderr
        postgres.stop()
    finally:
        postgres.kill()
    return postgres
