"""Clients that work as fast as they are answered, on whichever member answers, and remember what
they were told: writers and readers, and what must hold of it."""
import struct
import threading
import time

from .raw import Expired, Raw, ustring
from .server import wait_until

LOAD = "/crash"  # the parent of what writers create


class Worker(threading.Thread):
    """A client in a loop. It goes from one member to the next when its connection breaks, with a
    new session each time, or (`keep`) with the one that it has."""

    def __init__(self, ensemble, name, keep=False, pause=0.0):
        super().__init__(daemon=True)
        self.ports = [s.client_port for s in ensemble.servers]
        self.name, self.halt, self.keep, self.pause = name, threading.Event(), keep, pause
        self.times = []  # of answers
        self.session, self.last_zxid, self.expired = (0, bytes(16)), 0, 0
        self.broken = None

    def run(self):
        try:
            turn = hash(self.name)
            while not self.halt.is_set():
                turn += 1
                self.visit(self.ports[turn % len(self.ports)])
        except BaseException as error:
            self.broken = error
            raise

    def visit(self, port):
        try:
            session_timeout = 30000 if self.keep else 10000
            raw = Raw(port, timeout=3.0, session=self.session, session_timeout=session_timeout,
                      last_zxid=self.last_zxid)
        except Expired:
            self.expired += 1
            self.session = (0, bytes(16))
            return
        except (OSError, EOFError):
            time.sleep(0.005)
            return
        if self.keep:
            self.session = (raw.session, raw.password)
        try:
            while not self.halt.is_set():
                self.turn(raw)
                if self.pause:
                    time.sleep(self.pause)
        except (OSError, EOFError):
            pass
        finally:
            if self.keep:
                self.last_zxid = max(self.last_zxid, raw.last_zxid)
            raw.close()

    def answered(self):
        self.times.append(time.monotonic())

    def turn(self, raw):
        """One round of requests."""
        raise NotImplementedError


class Writer(Worker):
    """Creates numbered nodes and counts a node of its own up; keeps what was acknowledged, and
    when."""

    def __init__(self, ensemble, name, **options):
        super().__init__(ensemble, name, **options)
        self.counter = f"/counter-{name}"
        self.acked, self.unsure = [], set()
        self.next = 0
        self.sets, self.versions = 0, []  # attempts; (attempt, version that was acknowledged)

    def turn(self, raw):
        path = f"{LOAD}/{self.name}-{self.next:07}"
        self.next += 1
        self.unsure.add(path)
        error, _ = raw.create(path)
        self.unsure.discard(path)
        assert error == 0, f"{path}: error {error}"
        self.acked.append(path)
        self.answered()
        self.sets += 1
        error, version = raw.set_and_version(self.counter, str(self.sets).encode())
        assert error == 0, f"{self.counter}: error {error}"
        self.versions.append((self.sets, version))
        self.answered()


class Reader(Worker):
    """Reads what a writer counts up: a session never sees it go back, wherever it is."""

    def __init__(self, ensemble, name, writer, **options):
        super().__init__(ensemble, name, keep=True, **options)
        self.counter, self.seen = writer.counter, 0

    def turn(self, raw):
        error, _, body = raw.call(3, ustring(self.counter) + b"\0")
        assert error == 0, f"{self.counter}: error {error}"
        mzxid, = struct.unpack(">q", body[8:16])
        assert mzxid >= self.seen, f"{self.counter}: {self.seen:#x} was read before {mzxid:#x}"
        self.seen = mzxid
        self.answered()


def check(tree, writers):
    """Every acknowledged write is there, once, in the order of its acknowledgement; nothing is
    there that nobody asked for."""
    present = {p for p in tree if p.startswith(f"{LOAD}/")}
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


def begin(ensemble, count, **options):
    """Starts writers."""
    setup = Raw(ensemble.servers[0].client_port, timeout=10)
    setup.create(LOAD)
    writers = [Writer(ensemble, f"w{i}", **options) for i in range(count)]
    for writer in writers:
        setup.create(writer.counter)
    setup.close()
    for writer in writers:
        writer.start()
    return writers


def end(workers):
    """Stops them; what one of them stumbled over is a failure."""
    for worker in workers:
        worker.halt.set()
    for worker in workers:
        worker.join(20)
        assert not worker.is_alive()
        if worker.broken:
            raise worker.broken


def wait_for_service(workers, timeout=60):
    """Until something is answered that was answered after now."""
    now = time.monotonic()
    wait_until(lambda: any(w.times and w.times[-1] > now for w in workers), timeout, "requests are answered")


def longest_pause(workers, begun, ended):
    """The longest time, in ms, that one of them waited between two answers, and how many seconds
    after `begun` it began."""
    longest = (0.0, 0.0)
    for worker in workers:
        times = [begun] + [t for t in worker.times if begun < t < ended] + [ended]
        longest = max(longest, max((b - a, a - begun) for a, b in zip(times, times[1:])))
    return longest[0] * 1000, longest[1]
