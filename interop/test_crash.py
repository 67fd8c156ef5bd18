"""kill -9 under load: no acknowledged write is lost, and all members agree."""
import statistics
import time

import pytest

from zk.ensemble import Ensemble, assert_same_trees
from zk.load import begin, check, end, wait_for_service

pytestmark = pytest.mark.both


def gap_around(writers, moment):
    """The time in milliseconds from the last acknowledgement before the failover to the first one
    after it, over all writers."""
    times = sorted(t for w in writers for t in w.times if t > moment - 1)
    gaps = [(b - a, a) for a, b in zip(times, times[1:])]
    return max(gap for gap, at in gaps if at > moment - 0.5) * 1000


def test_leader_is_killed_under_load(impl, quick, tmp_path):
    rounds = 8 if quick else 50
    gaps = []
    with Ensemble(impl, tmp_path) as ensemble:
        writers = begin(ensemble, 4)
        for _ in range(rounds):
            time.sleep(0.5)
            leader = ensemble.leader()
            moment = time.monotonic()
            leader.kill()
            ensemble.leader()
            wait_for_service(writers)
            time.sleep(0.7)
            gaps.append(gap_around(writers, moment))
            leader.start()
            ensemble.wait_serving()
            wait_for_service(writers)
        end(writers)
        tree = assert_same_trees(ensemble.servers)
        check(tree, writers)
        total = sum(len(w.acked) for w in writers)
    print(f"\n{impl}: {rounds} leaders killed, {total} acknowledged writes; time without service "
          f"min/median/max {min(gaps):.0f}/{statistics.median(gaps):.0f}/{max(gaps):.0f} ms")


def test_all_members_are_killed_at_once(impl, quick, tmp_path):
    rounds = 4 if quick else 20
    with Ensemble(impl, tmp_path) as ensemble:
        writers = begin(ensemble, 4)
        for _ in range(rounds):
            time.sleep(0.6)
            for server in ensemble.servers:
                server.process.kill()
            for server in ensemble.servers:
                server.kill()
            for server in ensemble.servers:
                server.start()
            ensemble.wait_serving()
            wait_for_service(writers)
        end(writers)
        tree = assert_same_trees(ensemble.servers)
        check(tree, writers)
        print(f"\n{impl}: {rounds} times all killed, {sum(len(w.acked) for w in writers)} acknowledged writes")
