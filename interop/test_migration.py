"""The members of a working Apache ZooKeeper ensemble are replaced by zabkeeper one by one, on the same
directories and ports, and then replaced back. The pauses of clients are not longer than with the same
restarts of Apache ZooKeeper alone."""
import contextlib
import random
import shutil
import time

import pytest
from kazoo.client import KazooClient, KazooState

from zk import parts, programs
from zk.ensemble import Ensemble, assert_same_trees
from zk.load import Reader, begin, check, end, longest_pause, wait_for_service
from zk.server import wait_until

PROGRAMS = ("JavaClient", "JavaWatches", "Mutex")
SETTLE = 1.0  # seconds of work between one member and the next
SESSION_S = 30.0  # longer than an election on a busy machine
PAUSE = 0.01  # seconds between two requests of one client
NOISE_MS = 150  # the difference between two equal measurements on a busy machine


class Owner:
    """A kazoo client that owns an ephemeral and watches a counter of a writer."""

    def __init__(self, ensemble, number, writer):
        self.path, self.states, self.told = f"/owner-{number}", [], []
        self.client = KazooClient(hosts=ensemble.connect_string, timeout=SESSION_S)
        self.client.add_listener(self.states.append)
        self.client.start(timeout=30)
        self.session = self.client.client_id[0]
        self.client.create(self.path, ephemeral=True)
        self.client.DataWatch(writer.counter, lambda data, stat: self.told.append(stat.version))

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.client.stop()
        self.client.close()

    def check(self, final):
        """Session and ephemeral are still those of the beginning, and the last write was reported."""
        assert KazooState.LOST not in self.states, f"{self.path}: the session expired"
        assert self.client.exists(self.path).ephemeralOwner == self.client.client_id[0] == self.session
        wait_until(lambda: self.told[-1] == final, 10, f"{self.path} sees version {final}")
        assert self.told == sorted(self.told), "a watcher saw an older version"


def roll(ensemble, impl, workers, at_rest=False):
    """Replaces one member after the other, the leader last, as in the guide; returns start and end."""
    begun = time.monotonic()
    for server in sorted(ensemble.servers, key=lambda s: s.mode() == "leader"):
        before, server.impl = server.impl, impl
        server.terminate()
        server.start()
        wait_until(lambda: server.mode() or not server.running(), 90, f"server {server.sid} serves clients, or refuses to start")
        if not server.running():
            begin_empty(server, before)
        ensemble.wait_serving(90)
        if not at_rest:
            wait_for_service(workers)
            time.sleep(SETTLE)
    return begun, time.monotonic()


def begin_empty(server, before):
    """3.8.0 can leave a gap in its log; a member that refuses to start is emptied as its message demands."""
    words = server.log_tail(1)
    assert before == "apache-3.8" and "are missing" in words and "empty the data directory" in words, words
    print(f"  server {server.sid}: {words}")
    shutil.rmtree(server.data / "version-2")
    server.start()


def work(ensemble):
    """Starts writers and readers."""
    writers = begin(ensemble, 3, keep=True, pause=PAUSE)
    readers = [Reader(ensemble, f"r{i}", writers[i], pause=PAUSE) for i in range(2)]
    for reader in readers:
        reader.start()
    return writers, readers


@pytest.mark.parametrize("java_impl", ["apache", "apache-3.8"], ids=["3.9.5", "3.8.0"])
def test_there_and_back_without_an_outage(zabkeeper_only, java, quick, request, java_impl, tmp_path):
    reason = programs.missing() or (parts.missing_java_38() if java_impl == "apache-3.8" else None)
    if reason:
        pytest.skip(f"skipped: {reason}")
    if quick and java_impl == "apache-3.8":
        pytest.skip("skipped: only without --quick")
    seed = request.config.getoption("--seed") or random.SystemRandom().randrange(1, 10**6)
    # 3.8 has one watch mode per session and path.
    properties = ["-DmodesApart=true"] if java_impl == "apache-3.8" else []
    pauses = {}

    def measured(what, impl, ensemble, writers, readers):
        window = roll(ensemble, impl, writers)
        for kind, workers in (("writer", writers), ("reader", readers)):
            ms, at = longest_pause(workers, *window)
            pauses.setdefault((what, kind), []).append(ms)
            print(f"  {what}: longest pause of a {kind} {ms:.0f} ms, {at:.1f} s after the first SIGTERM")

    print(f"\n{java_impl}: --seed {seed}")
    # Curator's locks leave containers: wait until they are deleted before trees are compared.
    extra = {"maxSessionTimeout": 60000, "extendedTypesEnabled": "true", "znode.container.checkIntervalMs": 1000}
    if not quick:
        # A separate ensemble, for the pauses only.
        (tmp_path / "alone").mkdir()
        with Ensemble(java_impl, tmp_path / "alone", **extra) as alone, \
                programs.Programs(alone, tmp_path / "alone", seed, *PROGRAMS, properties=properties):
            writers, readers = work(alone)
            for _ in range(2):
                measured("the same restarts with Java alone", java_impl, alone, writers, readers)
            for worker in writers + readers:
                worker.halt.set()
    with contextlib.ExitStack() as stack:
        ensemble = stack.enter_context(Ensemble(java_impl, tmp_path, **extra))
        running = stack.enter_context(programs.Programs(ensemble, tmp_path, seed, *PROGRAMS, properties=properties))
        writers, readers = work(ensemble)
        owners = [stack.enter_context(Owner(ensemble, i, writers[i])) for i in range(3)]
        wait_for_service(writers)
        measured("to zabkeeper", "zabkeeper", ensemble, writers, readers)
        measured("back again", java_impl, ensemble, writers, readers)
        end(writers + readers)
        assert [w.expired for w in writers + readers] == [0] * 5, "a session expired"
        results, trace = running.finish()
        tree = assert_same_trees(ensemble.servers, timeout=120)
        check(tree, writers)
        for owner, writer in zip(owners, writers):
            owner.check(tree[writer.counter][1][4])
        print("  " + ", ".join(f"{n}: {text}" for n, (_, text) in results.items()))
        assert all(outcome == "ok" for outcome, _ in results.values()), f"{results}\n{trace}"
        for owner in owners:
            owner.client.stop()
        # Once more without load: the tree of zabkeeper's ensemble is that of Java's.
        before = assert_same_trees(ensemble.servers, timeout=120)
        roll(ensemble, "zabkeeper", [], at_rest=True)
        assert assert_same_trees(ensemble.servers, timeout=120) == before
    print(f"  {sum(len(w.acked) for w in writers)} acknowledged creations, none lost")
    if not quick:
        for kind in ("writer", "reader"):
            ours = max(max(pauses["to zabkeeper", kind]), max(pauses["back again", kind]))
            java_alone = max(pauses["the same restarts with Java alone", kind])
            print(f"  longest pause of a {kind}: {ours:.0f} ms while members were replaced, "
                  f"{java_alone:.0f} ms while Java members were restarted")
            assert ours <= java_alone + NOISE_MS
