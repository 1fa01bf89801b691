"""A command run as somebody at a terminal would, and all that the terminal got."""

import os
import pty
import select
import subprocess
import time


def run_at_terminal(command, environment, cwd, typed=b"", timeout=30):
    """Exit status, and what it wrote to stdout and stderr together."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, env=environment, cwd=cwd, stdin=theirs, stdout=theirs,
                               stderr=theirs, start_new_session=True)
    os.close(theirs)
    os.write(ours, typed)
    got = b""
    deadline = time.monotonic() + timeout
    try:
        while time.monotonic() < deadline:
            ended = process.poll() is not None  # before it is looked: what it wrote is there then
            if select.select([ours], [], [], 0.1)[0]:
                got += os.read(ours, 65536)
            elif ended:
                break
    except OSError:
        pass  # how a terminal says that nobody is left
    finally:
        os.close(ours)
    return process.wait(timeout), got
