"""Fixtures: a stack of real parts for each test, and the checks that end every test."""

import re
import shutil

import pytest

from harness.build import MODULE, NGINX, SLUICED
from harness.scripted_redis import ScriptedRedis
from harness.scripted_server import ScriptedServer
from harness.stack import Stack
from harness.template import make_template
from harness.waiting import released_ports, wait_until


class Tally:
    """A process of tests that dies takes none with it unseen: each one collected must have ended."""

    def __init__(self):
        self.missing = set()
        self.ended = set()

    def pytest_collection_finish(self, session):
        self.missing = {item.nodeid for item in session.items}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids):
        self.missing.update(ids)

    def pytest_runtest_logreport(self, report):
        if report.when == "teardown":
            self.ended.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session):
        self.missing -= self.ended
        if self.missing and not session.config.option.collectonly:
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter, config):
        if self.missing and not config.option.collectonly:
            terminalreporter.section(f"{len(self.missing)} did not run to their end", red=True)
            terminalreporter.write("".join(f"{name}\n" for name in sorted(self.missing)))


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Tally())


def pytest_collection_modifyitems(items):
    """What runs one after the other begins first, so that not all wait for it in the end."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


@pytest.fixture(scope="session")
def template():
    for path in (NGINX, MODULE, SLUICED):
        assert path.exists(), f"{path} is not built: run scripts/test, which builds it"
    postgres = make_template()
    yield postgres.data
    shutil.rmtree(postgres.folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def ports():
    """What a test asked for is free again after it; what its module asked for before stays."""
    with released_ports():
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        item.failed = True


@pytest.fixture
def make_stack(request, template):
    """Makes stacks (not started); checks and removes them when the test is over."""
    stacks = []

    def make(**options):
        stacks.append(Stack(template, **options))
        return stacks[-1]

    yield make
    troubles = []
    try:
        for stack in stacks:
            troubles += stack.close()
    finally:
        for number, stack in enumerate(stacks):
            if troubles or getattr(request.node, "failed", False):
                name = re.sub(r"[^\w.-]+", "_", request.node.nodeid.rpartition("/")[2])
                kept = stack.keep_logs(f"{name}-{number}" if number else name)
                print(f"logs kept in {kept}")
            stack.remove()
    assert not troubles, "\n".join(troubles)


@pytest.fixture
def make_edge(make_stack):
    """Makes stacks of which only nginx runs, in front of a scripted Redis, and starts them."""
    started = []

    def make(*nginx_edits, workers=1):
        stack = make_stack(workers=workers, nginx_edits=nginx_edits)
        stack.scripted = ScriptedRedis(stack.folder).start()
        started.append(stack.scripted)
        stack.nginx.start()
        wait_until(lambda: stack.api().get("/health/ready").status == 200, 10, "the edge is ready")
        return stack

    yield make
    for scripted in started:
        scripted.stop()


@pytest.fixture
def make_reading(make_edge):
    """Makes edges in front of a scripted server, with a scripted Redis behind them."""
    servers = []

    def make(*nginx_edits, workers=1):
        stack = make_edge(*nginx_edits, workers=workers)
        stack.scripted_server = ScriptedServer(stack.folder).start()
        servers.append(stack.scripted_server)
        return stack

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def stack(make_stack):
    """Everything, started and healthy."""
    return make_stack().start()


@pytest.fixture
def api(stack):
    return stack.api()
