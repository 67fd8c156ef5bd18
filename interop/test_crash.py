"""kill -9 at bad moments: nothing that was acknowledged is lost, all members agree."""
import statistics
import threading
import time

from zk.ensemble import Ensemble, assert_same_trees
from zk.raw import Raw
from zk.server import wait_until


class Writer(threading.Thread):
    """Creates numbered nodes and counts a node of its own up, as fast as it is answered, on
    whichever member answers; keeps what was acknowledged, and when."""

    def __init__(self, ensemble, name):
        super().__init__(daemon=True)
        self.ports = [s.client_port for s in ensemble.servers]
        self.name, self.halt = name, threading.Event()
        self.counter = f"/counter-{name}"
        self.acked, self.unsure, self.times = [], set(), []
        self.next = 0
        self.sets, self.versions = 0, []  # attempts; (attempt, version that was acknowledged)

    def run(self):
        turn = hash(self.name)
        while not self.halt.is_set():
            turn += 1
            try:
                raw = Raw(self.ports[turn % len(self.ports)], timeout=3.0)
            except (OSError, EOFError):
                time.sleep(0.005)
                continue
            try:
                while not self.halt.is_set():
                    self.write(raw)
            except (OSError, EOFError):
                pass
            finally:
                raw.close()

    def write(self, raw):
        path = f"/crash/{self.name}-{self.next:07}"
        self.next += 1
        self.unsure.add(path)
        error, _ = raw.create(path)
        self.unsure.discard(path)
        assert error == 0, f"{path}: error {error}"
        self.acked.append(path)
        self.times.append(time.monotonic())
        self.sets += 1
        error, version = raw.set_and_version(self.counter, str(self.sets).encode())
        assert error == 0, f"{self.counter}: error {error}"
        self.versions.append((self.sets, version))
        self.times.append(time.monotonic())


def check(tree, writers):
    """Every acknowledged write is there, once, in the order of its acknowledgement; nothing is
    there that nobody asked for."""
    present = {p for p in tree if p.startswith("/crash/")}
    for writer in writers:
        lost = [p for p in writer.acked if p not in present]
        assert not lost, f"{len(lost)} acknowledged nodes are lost, among them {lost[:5]}"
        zxids = [tree[p][1][0] for p in writer.acked]
        assert zxids == sorted(zxids) and len(set(zxids)) == len(zxids), "order of acknowledged writes"
        versions = [version for _, version in writer.versions]
        assert all(a < b for a, b in zip(versions, versions[1:])), "an acknowledged count was taken back"
        assert all(version <= attempt for attempt, version in writer.versions), "a count was applied twice"
        final = tree[writer.counter][1][4]
        assert versions[-1] <= final <= writer.sets and len(versions) <= final, "counts lost or applied twice"
    asked = {p for w in writers for p in w.acked} | {p for w in writers for p in w.unsure}
    assert present <= asked, f"nobody acknowledged or lost track of {sorted(present - asked)[:5]}"


def begin(ensemble, count):
    setup = Raw(ensemble.servers[0].client_port, timeout=10)
    setup.create("/crash")
    writers = [Writer(ensemble, f"w{i}") for i in range(count)]
    for writer in writers:
        setup.create(writer.counter)
    setup.close()
    for writer in writers:
        writer.start()
    return writers


def end(writers):
    for writer in writers:
        writer.halt.set()
    for writer in writers:
        writer.join(20)
        assert not writer.is_alive()


def wait_for_service(writers, timeout=60):
    """Until some write is acknowledged that was answered after now."""
    now = time.monotonic()
    wait_until(lambda: any(w.times and w.times[-1] > now for w in writers), timeout, "writes are acknowledged")


def gap_around(writers, moment):
    """Milliseconds between the last acknowledgement before the kill took effect and the first
    after, over all writers."""
    times = sorted(t for w in writers for t in w.times if t > moment - 1)
    gaps = [(b - a, a) for a, b in zip(times, times[1:])]
    return max(gap for gap, at in gaps if at > moment - 0.5) * 1000


def test_the_leader_is_killed_under_load(impl, quick, tmp_path):
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


def test_all_are_killed_at_once(impl, quick, tmp_path):
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
