"""Fixtures: a stack of real parts for each test, and the checks that end every test."""

import re
import shutil

import pytest

from harness.build import MODULE, NGINX, SLUICED
from harness.scripted_redis import ScriptedRedis
from harness.scripted_server import ScriptedServer
from harness.stack import Stack
from harness.template import make_template
from harness.waiting import wait_until


@pytest.fixture(scope="session")
def template():
    for path in (NGINX, MODULE, SLUICED):
        assert path.exists(), f"{path} is not built: run scripts/test, which builds it"
    postgres = make_template()
    yield postgres.data
    shutil.rmtree(postgres.folder, ignore_errors=True)


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
