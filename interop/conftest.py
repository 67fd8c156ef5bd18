"""Options and fixtures of the interop tests."""
import signal
import sys
import time

import pytest

from zk import parts, server


def pytest_configure(config):
    """SIGTERM ends the tests like an exception, so that the servers are stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("interop: ended by SIGTERM"))
    if config.getoption("--binary"):
        parts.choose_binary(config.getoption("--binary"))


def pytest_collection_modifyitems(config, items):
    """`--second` selects the tests that depend on the runtime and need no Java."""
    if config.getoption("--second"):
        kept = [item for item in items if item.get_closest_marker("both") and "java" not in item.fixturenames]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def pytest_addoption(parser):
    parser.addoption("--impl", default="zabkeeper", choices=["zabkeeper", "apache"],
                     help="the server under test")
    parser.addoption("--binary", metavar="smol|std|PATH", help="which zabkeeper (default: smol)")
    parser.addoption("--second", action="store_true", help="only the tests that every commit runs on both binaries")
    parser.addoption("--quick", action="store_true", help="fewer rounds, for every commit")
    parser.addoption("--seed", type=int, help="seed of the random tests (default: a random one, printed)")
    parser.addoption("--pairings", action="store_true", help="every kind of leader with every kind of learner")
    parser.addoption("--fault-seconds", type=float, help="duration of the faults of members in namespaces")
    parser.addoption("--members", metavar="IMPL,IMPL,IMPL", help="the implementation of each member: zabkeeper or apache")
    parser.addoption("--xids-go-on", action="store_true",
                     help="clients continue their xids after a reconnect")
    parser.addoption("--recipe-seconds", type=int, help="duration of the recipes while members are killed")


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
    """The implementation under test; skips tests that cannot run here, with the reason."""
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
        pytest.skip("skipped: a test of zabkeeper alone")


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
