"""sluiced: the loader and the server, each a process."""

import http.client
import socket
import subprocess

from . import build
from .checks import event_of
from .process import Process
from .service_manager import command_with_socket, held_socket


class Sluiced(Process):
    def __init__(self, folder, redis_url, postgres_dsn, settings=None):
        super().__init__(folder)
        self.settings = {
            "SLUICED_REDIS_URL": redis_url,
            "SLUICED_REDIS_PASSWORD_FILE": f"{folder}/secrets/redis-loader",
            "SLUICED_REDIS_READER_URL": redis_url.replace("loader@", "reader@"),
            "SLUICED_REDIS_READER_PASSWORD_FILE": f"{folder}/secrets/redis-reader",
            "SLUICED_POSTGRES_DSN": postgres_dsn,
            "SLUICED_POSTGRES_LOADER_DSN": "user=sluice_loader",
            "SLUICED_POSTGRES_READER_DSN": "user=sluice_reader",
            "SLUICED_POSTGRES_MIGRATOR_DSN": "user=sluice_migrator",
            "SLUICED_LOAD_LISTEN": f"unix:{folder}/load.sock",
            # What is stored is gone, so that a test can tell that nothing is left in the stream.
            "SLUICED_LOAD_TAIL_WINDOW_MB": "0",
            "SLUICED_SERVE_LISTEN": f"unix:{folder}/serve.sock",
            **(settings or {}),
        }
        self.conf = build.render_conf("sluiced.toml", state=folder)

    def before_start(self):
        self.conf_path.write_text(self.conf)

    @property
    def conf_path(self):
        return self.folder / "app" / "conf" / "sluiced.toml"

    @property
    def pid_path(self):
        return self.folder / f"{self.name}.pid"

    def command(self):
        return [build.SLUICED, self.verb, "--config", self.conf_path, "--pid-file", self.pid_path]

    def environment(self):
        return {**build.sanitizer_environment(self.folder, self.name), **self.settings}

    def events(self, message):
        """What it has logged with this message."""
        events = map(event_of, self.log_text().splitlines())
        return [event for event in events if event and event["message"] == message]

    def run(self, *arguments):
        """Runs a verb that ends by itself."""
        self.before_start()
        return subprocess.run(
            [build.SLUICED, *arguments, "--config", self.conf_path],
            env=self.whole_environment(), cwd=self.folder,
            capture_output=True, text=True, timeout=60,
        )


class Loader(Sluiced):
    name = "sluiced-load"
    verb = "load"

    def is_ready(self):
        """It does not wait for Redis or Postgres to be there: it is ready when its pid is told."""
        try:
            return int(self.pid_path.read_text()) == self.pid
        except (FileNotFoundError, ValueError):
            return False


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Server(Sluiced):
    name = "sluiced-serve"
    verb = "serve"

    listening = None  # a socket that it is handed at its start

    def command(self):
        command = super().command()
        return command_with_socket(self.listening, command) if self.listening else command

    def inherited_files(self):
        return (self.listening.fileno(),) if self.listening else ()

    def hold_socket(self):
        """From the next start on, as a service manager does: it outlives the server."""
        self.listening = held_socket(self.folder / "serve.sock")

    def connection(self):
        """Past nginx, straight to the server."""
        return UnixConnection(self.folder / "serve.sock")

    def is_ready(self):
        try:
            connection = self.connection()
            connection.request("GET", "/health/live")
            status = connection.getresponse().status
            connection.close()
            return status == 200
        except OSError:
            return False
