"""The choices that conf/nginx.conf offers: lines with a # and no blank behind it, below a comment that
names them."""

import re

from .build import ROOT

CHOICE = re.compile(r"^( *)#(?![ #]|$)(.*)$")
PROSE = re.compile(r"^ *#")
NAME = re.compile(r"\(choice ([\w-]+)")


def find(conf):
    """Name -> numbers of its lines; None is the name of those that have none."""
    found, prose, name = {}, "", None
    for number, line in enumerate(conf.splitlines()):
        if CHOICE.match(line):
            if prose:
                names = NAME.findall(prose)
                name, prose = names[-1] if names else None, ""
            found.setdefault(name, []).append(number)
        elif PROSE.match(line):
            prose += line.strip().removeprefix("#")
        else:
            prose, name = "", None
    return found


def make(conf, *names):
    """The configuration with these choices made."""
    lines, found = conf.splitlines(), find(conf)
    for name in names:
        for number in found[name]:
            lines[number] = CHOICE.sub(r"\1\2", lines[number])
    return "\n".join(lines) + "\n"


SHIPPED = (ROOT / "conf" / "nginx.conf").read_text()
NAMES = sorted(find(SHIPPED), key=str)
