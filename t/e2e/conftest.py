"""Fixtures: a stack of real parts for each test, and the checks that end every test."""

import re
import shutil

import pytest

from harness.build import MODULE, NGINX, SLUICED
from harness.stack import Stack
from harness.template import make_template


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
def stack(make_stack):
    """Everything, started and healthy."""
    return make_stack().start()


@pytest.fixture
def api(stack):
    return stack.api()
