"""What must hold after every test, whatever it was about."""

import json
import re

# A line that says a program is broken, not that it met trouble it can handle.
BAD_NGINX_LINE = re.compile(r"\[(alert|emerg|crit)\]")
SANITIZER_LINE = re.compile(r"Sanitizer|runtime error:")


def event_of(line):
    """A line of sluiced's log; None if it is none."""
    try:
        event = json.loads(line)
    except json.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and {"time", "level", "message"} <= set(event) else None


# What Postgres says to a connection that it ends with the last byte of its login: libpq writes that
# to stderr itself, before anyone can tell it not to.
ENDED_LOGIN = re.compile(r"(FATAL|WARNING):  terminating connection .*"
                         r"|DETAIL:  The postmaster has commanded .*|HINT:  In a moment .*")


def is_bad_sluiced_line(line):
    if ENDED_LOGIN.fullmatch(line):
        return False
    event = event_of(line)
    return event is None or event["level"] == "ERROR"


def is_allowed(line, allowed):
    return any(re.search(pattern, line) for pattern in allowed)


def bad_lines(folder, allowed):
    """Lines of the logs that fail a test, unless it expects them."""
    found = []

    for path in sorted((folder / "log").iterdir()):
        lines = path.read_text(errors="replace").splitlines()
        if path.name.startswith("sanitizer."):
            text = "\n".join(line for line in lines if not is_allowed(line, allowed))
            if text.strip():
                found.append(f"{path.name}:\n{text[:4000]}")
            continue
        for line in lines:
            is_bad = (
                SANITIZER_LINE.search(line)
                or (path.name.startswith("nginx") and BAD_NGINX_LINE.search(line))
                or (path.name.startswith("sluiced") and is_bad_sluiced_line(line))
            )
            if is_bad and not is_allowed(line, allowed):
                found.append(f"{path.name}: {line}")
    return found
