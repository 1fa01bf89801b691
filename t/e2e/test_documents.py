"""What the README and the shipped configuration say of directives and variables is what there is."""

import re

import pytest

from harness.build import ROOT
from harness.choices import SHIPPED

README = (ROOT / "README.md").read_text()
SOURCES = "\n".join(path.read_text() for path in (ROOT / "ngx_module").glob("*.cpp"))
PLACES = (("NGX_HTTP_MAIN_CONF", "http"), ("NGX_HTTP_SRV_CONF", "server"),
          ("NGX_HTTP_LOC_CONF", "location"))
# The table of commands: a name, and the line with where it may stand.
DIRECTIVES = {
    name: ", ".join(place for flag, place in PLACES if flag in where.split("|"))
    for name, where in re.findall(r'\{ ngx_string\("(sluice\w*)"\),\s+((?:NGX_\w+\|)+NGX_\w+),', SOURCES)
}
VARIABLES = re.findall(r'\{ ngx_string\("(sluice_\w+)"\), NULL, ngx_http_sluice_', SOURCES)


def row(name):
    """The cells of the row that begins with the directive."""
    found = re.findall(rf"^\| `{name}[ `].*$", README, re.M)
    assert len(found) == 1, f"the README has {len(found)} rows of {name}"
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", found[0])[1:-1]]


def test_the_table_of_commands_was_found():
    assert len(DIRECTIVES) == SOURCES.count("ngx_string(\"sluice\"),") + len(
        re.findall(r'\{ ngx_string\("sluice_\w+"\),\s+NGX_', SOURCES)) > 20
    assert len(VARIABLES) > 7


@pytest.mark.parametrize("name", DIRECTIVES)
def test_each_directive_is_in_the_readme(name):
    cells = row(name)
    assert len(cells) == 4 and cells[2] == DIRECTIVES[name] and cells[3]


@pytest.mark.parametrize("name", DIRECTIVES)
def test_each_directive_has_an_example_in_the_shipped_configuration(name):
    assert re.search(rf"^ *#?{name}[ ;]", SHIPPED, re.M)


@pytest.mark.parametrize("name", VARIABLES)
def test_each_variable_is_in_the_readme_and_used(name):
    assert len(re.findall(rf"^\| `\${name}` \|", README, re.M)) == 1
    assert f"${name}" in SHIPPED


def test_the_readme_names_no_directive_that_is_not_there():
    said = set(re.findall(r"`(sluice(?:_\w+)?)[ `]", README))
    rows = {name for name in re.findall(r"^\| `(sluice(?:_\w+)?)[ `]", README, re.M)}
    assert rows <= set(DIRECTIVES), rows - set(DIRECTIVES)
    roles = {"sluice_loader", "sluice_reader", "sluice_migrator"}  # of Postgres
    known = set(DIRECTIVES) | set(VARIABLES) | roles
    unknown = {name for name in said - known if not name.startswith("sluice_edge_")}
    assert not unknown, unknown
