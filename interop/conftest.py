"""Options and fixtures of the interop tests."""
import signal
import sys
import time

import pytest

from zk import parts, server


def pytest_configure(config):
    """SIGTERM ends the tests as an exception does: the servers are stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("interop: ended by SIGTERM"))
    if config.getoption("--binary"):
        parts.choose_binary(config.getoption("--binary"))


def pytest_collection_modifyitems(config, items):
    """`--second`: a runtime's own doing, and no program of Java's."""
    if config.getoption("--second"):
        kept = [item for item in items if item.get_closest_marker("both") and "java" not in item.fixturenames]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def pytest_addoption(parser):
    parser.addoption("--impl", default="zabkeeper", choices=["zabkeeper", "apache"],
                     help="the server under test")
    parser.addoption("--binary", metavar="smol|std|PATH", help="which zabkeeper (smol if nothing is said)")
    parser.addoption("--second", action="store_true", help="only what every commit runs on both binaries")
    parser.addoption("--quick", action="store_true", help="fewer rounds, for every commit")
    parser.addoption("--seed", type=int, help="of what the tests draw; drawn and printed if not given")
    parser.addoption("--pairings", action="store_true", help="every kind of leader with every kind of learner")
    parser.addoption("--fault-seconds", type=float, help="how long faults befall members in namespaces")
    parser.addoption("--members", metavar="IMPL,IMPL,IMPL", help="those members, of zabkeeper or apache")
    parser.addoption("--xids-go-on", action="store_true",
                     help="their clients do not begin their xids anew on each connection")
    parser.addoption("--recipe-seconds", type=int, help="how long the recipes work while members are killed")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the last lines of every log that was written to during the test."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        begun = getattr(item, "begun", 0)
        for one in server.started:
            if one.log.exists() and one.log.stat().st_mtime >= begun:
                title = f"log of {one.impl} server {one.sid} at {one.address}"
                report.sections.append((title, one.log_tail()))


def pytest_runtest_setup(item):
    item.begun = time.time()


@pytest.fixture
def impl(request):
    """The server under test; skips, with the reason, what cannot run here."""
    name = request.config.getoption("--impl")
    if name == "apache":
        reason = parts.missing_java()
        if reason:
            pytest.skip(f"skipped: {reason}")
    elif not parts.binary().exists():
        pytest.fail(f"{parts.binary()} is not built (cargo build --release -p zabkeeper -p zabkeeper-std)")
    return name


@pytest.fixture
def zabkeeper_only(impl):
    if impl != "zabkeeper":
        pytest.skip("skipped: about what zabkeeper itself promises")


@pytest.fixture
def java():
    reason = parts.missing_java()
    if reason:
        pytest.skip(f"skipped: {reason}")


@pytest.fixture
def c_client():
    reason = parts.missing_c_client()
    if reason:
        pytest.skip(f"skipped: {reason}")


@pytest.fixture
def quick(request):
    return request.config.getoption("--quick")
