"""Members in network namespaces of their own are killed, stopped, partitioned (also in one direction) and
slowed down, while clients move between them. The answers to the clients must keep ZooKeeper's promises:
writes have one order, consistent with real time; a session reads its own writes and never an older state;
a watch event precedes the change that it announces; ephemerals are deleted with their sessions, and only then."""
import collections
import math
import random
import subprocess
import time

import pytest

from zk import checker, parts
from zk.ensemble import assert_same_trees
from zk.faults import SYNC_LIMIT, TICK_MS, Faults, Field
from zk.records import WRITES, History
from zk.server import wait_until
from zk.wandering import LIVELY, Wanderer, again, look_until_ephemerals_are_gone, prepare

CLIENTS = 8
ROUND = 30.0  # seconds of faults between two checks
ENOUGH = 5  # rounds with violations
# How long a member that has lost its leader may still answer; its latest writes may be lost with it.
GRACE = (SYNC_LIMIT + 1) * TICK_MS / 1000

pytestmark = pytest.mark.timeout(0)  # bounded by --fault-seconds and the bounds of each round


@pytest.fixture
def field(impl, tmp_path, request):
    impls = (request.config.getoption("--members") or ",".join([impl] * 3)).split(",")
    if any(one.startswith("apache") for one in impls) and (reason := parts.missing_java()):
        pytest.skip(f"skipped: {reason}")
    if reason := parts.missing_namespaces():
        pytest.skip(f"skipped: {reason}")
    with Field(impls, tmp_path) as field:
        yield field


def one_round(field, number, seed, seconds, **options):
    """Runs faults and clients for some seconds; returns the history and the faults."""
    history, parent, servers = History(), f"/round-{number}", field.ensemble.servers
    again(lambda: prepare(field.ensemble.leader(), parent), "a write gets through")
    clients = [Wanderer(history, servers, parent, n, seed, **options) for n in range(CLIENTS)]
    faults = Faults(field, f"{seed}/{number}")
    for thread in [*clients, faults]:
        thread.start()
    time.sleep(seconds)
    faults.end()
    for client in clients:
        client.halt.set()
    for client in clients:
        client.join(150)
        assert not client.is_alive(), f"client {client.number} has not ended"
        if client.broken:
            raise client.broken
    look_until_ephemerals_are_gone(history, servers, parent)
    return history, faults


def report(number, violations, faults, shown=20):
    """A report of a round: violations per rule, faults, and the first violations in full."""
    rules = collections.Counter(violation.rule for violation in violations)
    lines = [f"round {number}: " + ", ".join(f"{count} of {rule}" for rule, count in rules.items())]
    lines += [f"    {at:10.4f} {text}" for at, text in faults.told]
    lines += [str(violation) for violation in violations[:shown]]
    return "\n".join(lines)


def is_quiet(servers):
    """Whether no session is left whose end could still be logged, and all members have logged the same."""
    told = [server.words("mntr") for server in servers]
    zxids = {line for server in servers for line in server.words("srvr").splitlines() if line.startswith("Zxid: ")}
    return len(zxids) == 1 and all("zk_global_sessions\t0\n" in words for words in told)


def assert_same_directories(servers):
    """The stopped members have the same tree on their disks."""
    wait_until(lambda: is_quiet(servers), LIVELY, "all sessions have ended on all members")
    for server in servers:
        assert server.terminate() == 0
    first, *others = servers
    for other in others:
        command = [parts.binary(), "inspect", "--diff", first.data, other.data]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{first.sid} and {other.sid} differ:\n{done.stdout}{done.stderr}"


@pytest.mark.both
def test_answers_keep_the_promises_under_faults(field, quick, request):
    seed = request.config.getoption("--seed") or random.SystemRandom().randrange(1, 10**6)
    seconds = request.config.getoption("--fault-seconds") or (15 if quick else 60)
    print(f"\nfaults: --seed {seed}, {seconds} s")
    answered = lost = events = expired = befell = 0
    kept, wrong = {}, []
    rounds = math.ceil(seconds / ROUND)
    for number in range(1, rounds + 1):
        history, faults = one_round(field, number, seed, seconds / rounds,
                                    xids_go_on=request.config.getoption("--xids-go-on"))
        violations = checker.check(history, GRACE)
        answered += sum(op.answered is not None for op in history.operations)
        lost += sum(op.answered is None and op.kind in WRITES for op in history.operations)
        events += len(history.events)
        expired += sum(session.expired is not None for session in history.sessions.values())
        befell += len(faults.told) // 2
        kept |= checker.final(history)
        if violations:
            wrong.append(report(number, violations, faults))
            print(wrong[-1])
        if len(wrong) == ENOUGH:
            break
    print(f"{number} rounds, {befell} faults, {answered} answers, {lost} writes without an answer, {events} events, "
          f"{expired} sessions expired, {len(wrong)} rounds with violations")
    if wrong:
        pytest.fail("\n".join([f"--seed {seed}", *wrong]), pytrace=False)
    tree = assert_same_trees(field.ensemble.servers)
    changed = [path for path, mzxid in kept.items() if path not in tree or tree[path][1][1] != mzxid]
    assert not changed, f"the final state of a round is lost at the end: {changed[:5]}"
    if set(field.impls) == {"zabkeeper"}:
        assert_same_directories(field.ensemble.servers)
