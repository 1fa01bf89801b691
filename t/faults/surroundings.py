"""What the machine lends to a run, if it does: a network, and disks to fill."""

from harness.postgres_server import own
from harness.small_disk import SmallDisk, mount
from network import CLONE_NEWNS, HOST, own_network, unshare

# In megabytes; they take only what is in them.
DISK_SIZE = 8192


def own_mounts():
    """What is mounted from here on nobody else sees, and it is gone with this process."""
    unshare(CLONE_NEWNS)
    mount("--make-rprivate", "/")
    return True


class Surroundings:
    def __init__(self):
        self.not_made = {}  # faults: why not
        self.device = self._attempt("network cut, slow, reset, half open", own_network)
        self.has_disks = self._attempt("disks full", own_mounts)

    def _attempt(self, faults, make):
        try:
            return make()
        except OSError as error:
            self.not_made[faults] = str(error)
            print(f"not made here: {faults}: {error}", flush=True)
            return None


def connect_by(network, stack):
    """The parts by TCP; who is not named, so the other loader and who judges, by Unix sockets."""

    def redis_url(user, link):
        return f"redis://{user}@{network.address(link)}:6379"

    stack.redis.conf = stack.redis.conf.replace("port 0\n", f"port 6379\nbind {HOST}\n")
    stack.postgres.conf = stack.postgres.conf.replace(
        "listen_addresses = ''", f"listen_addresses = '{HOST}'")
    stack.postgres.hba += f"host all all {HOST}/16 trust\n"
    stack.nginx.edit(f"unix://edge@{stack.redis.socket_path}", redis_url("edge", "edge to redis"))
    here = f"listen 127.0.0.1:{stack.nginx.port} backlog=4096;"
    stack.nginx.edit(here, f"{here} listen {HOST}:{stack.nginx.port} backlog=4096;")
    stack.loader.settings["SLUICED_REDIS_URL"] = redis_url("loader", "loader to redis")
    stack.server.settings["SLUICED_REDIS_READER_URL"] = redis_url("reader", "server to redis")
    for name, part in (("loader", stack.loader), ("server", stack.server)):
        address = network.address(f"{name} to postgres")
        part.settings["SLUICED_POSTGRES_DSN"] = f"host={address} dbname=sluice"


def make_disks(stack):
    """Redis and Postgres each keep everything on a disk of their own."""
    disks = {}
    for part in (stack.redis, stack.postgres):
        path = stack.folder / part.name
        path.mkdir(mode=0o700)
        disks[part.name] = SmallDisk(path, DISK_SIZE)
        path.chmod(0o700)
    own(stack.postgres.data)
    return disks
