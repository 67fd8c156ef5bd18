"""Every version as leader of every other, by every kind of synchronisation, each of which is provoked.

The results are in pairings.json, from which the table in PAIRINGS.md is generated; `--pairings` runs all
pairs and writes both files."""
import contextlib
import re
import struct
import time

import pytest
from kazoo.client import KazooClient

from zk import history, pairings, parts
from zk.ensemble import Ensemble, assert_same_trees
from zk.history import zxid
from zk.pairings import KINDS, ROLES, SYNCS
from zk.proxy import Proxy
from zk.raw import OPEN_ACL, Raw, buffer, ustring
from zk.server import free_ports, wait_until

LAST = 40  # the initial log: epoch 1, up to this counter
SESSION = 3 << 56 | 1  # begins in the initial log
FOLLOWER, HELPER, LEADER, OBSERVER = 1, 2, 3, 4  # the ids; among equals the highest leads
MANY = 1_000_000
WINDOW = 500  # transactions that a leader keeps in memory
SHORT = [("zabkeeper", "apache"), ("apache", "zabkeeper")]
QUICK = SHORT[1:]
IMPLS = {"zabkeeper": "zabkeeper", "3.8.0": "apache-3.8", "3.9.5": "apache"}

LEARNER_LINES = [
    ("DIFF", r"Getting a diff from the leader|DIFF from the leader"),
    ("TRUNC", r"Truncating log to get in sync|TRUNC from the leader"),
    ("SNAP", r"Getting a snapshot from leader|SNAP from the leader"),
]
LEADER_LINES = [
    ("memory", r"Using committedLog for peer sid: {0}\b|synchronising a learner learner={0} .*chosen=Window"),
    ("log", r"Use txnlog and committedLog for peer sid: {0}\b|synchronising a learner learner={0} .*chosen=Log"),
    ("nothing", r"Synchronizing with Learner sid: {0}\b|synchronising a learner learner={0} "),
]


def last(said, text, *arguments):
    """The name of the last match in the log; the first of several at one place."""
    found = [(m.start(), -i, name) for i, (name, pattern) in enumerate(said)
             for m in re.finditer(pattern.format(*arguments), text)]
    return max(found)[2] if found else None


def kind_of_sync(leader_log, learner_log, learner):
    """The kind of synchronisation, from the logs of both sides."""
    packet = last(LEARNER_LINES, learner_log)
    # Java's leader logs the synchronisation first, then its source.
    leader_log = leader_log[max((m.start() for m in re.finditer(
        LEADER_LINES[2][1].format(learner), leader_log)), default=0):]
    source = next((name for name, pattern in LEADER_LINES if re.search(pattern.format(learner), leader_log)), None)
    return {
        ("DIFF", "nothing"): "DIFF, empty", ("DIFF", "memory"): "DIFF from memory", ("DIFF", "log"): "DIFF from the log",
    }.get((packet, source), packet)


class Pair:
    """A leader, a helper that makes a quorum with it, a follower and an observer of one kind."""

    def __init__(self, directory, leader, learner):
        impls = [IMPLS[learner], "zabkeeper", IMPLS[leader], IMPLS[learner]]
        self.ensemble = Ensemble(impls, directory, observers=(OBSERVER,), snapCount=100_000, preAllocSize=64, initLimit=60,
                                 syncLimit=60, maxSessionTimeout=60_000)
        by_id = {s.sid: s for s in self.ensemble.servers}
        self.leader, self.helper = by_id[LEADER], by_id[HELPER]
        self.learners = [by_id[FOLLOWER], by_id[OBSERVER]]
        self.turn, self.client = 0, None
        # The helper reaches the leader through a proxy that can be closed.
        port, = free_ports(1)
        self.way = Proxy(port, self.ensemble.quorum_ports[LEADER - 1])
        line = f"server.{LEADER}=127.0.0.1:"
        text = self.helper.config.read_text()
        assert f"{line}{self.way.to}:" in text
        self.helper.config.write_text(text.replace(f"{line}{self.way.to}:", f"{line}{port}:"))
        logged = [(zxid(1, n), history.failed()) for n in range(2, LAST + 1)]
        logged.insert(0, (zxid(1, 1), history.create_session(60_000)))
        for server in self.ensemble.servers:
            history.begin(server.data, 1)
            history.append(server.data, logged, SESSION)
        for server in self.learners:
            self.leave_phantoms(server, zxid(1, LAST))

    def __enter__(self):
        self.leader.start()
        self.helper.start()
        wait_until(lambda: self.leader.mode() == "leader", 60, f"server {LEADER} leads")
        wait_until(self.helper.mode, 60, f"server {HELPER} follows")
        return self

    def __exit__(self, kind, error, trace):
        self.ensemble.__exit__(kind, error, trace)
        self.way.close()
        if self.client:
            self.client.stop()
            self.client.close()

    @staticmethod
    def leave_phantoms(server, after):
        """Leaves transactions that no other server has, like a deposed leader."""
        phantoms = [(after + n, history.create(f"/phantom-{after + n:x}")) for n in (1, 2)]
        history.append(server.data, phantoms)

    def last_zxid(self, server):
        found = re.search(r"Zxid: 0x([0-9a-f]+)", server.words("srvr"))
        return int(found[1], 16) if found else None

    def stop_learners(self):
        """Stops the learners once they have the whole log and no session is about to end."""
        def at_rest():
            zxids = {self.last_zxid(s) for s in (self.leader, *self.learners)}
            if zxids != self.seen or len(zxids) != 1:
                self.seen, self.since = zxids, time.monotonic()
            return time.monotonic() - self.since > 0.5
        for _ in range(5):
            self.seen = None
            wait_until(at_rest, 30, "the learners have the whole log")
            for server in self.learners:
                server.terminate(30)
            if self.seen == {self.last_zxid(self.leader)}:
                return
            for server in self.learners:
                server.start()
            for server in self.learners:
                wait_until(server.mode, 60, f"server {server.sid} serves")
        raise AssertionError("the leader always had more than learners that had been in sync")

    def write(self, count):
        for pending in [self.client.set_async("/work", b"%d" % i) for i in range(count)]:
            pending.get(timeout=60)

    def prepare(self, sync):
        """Stops the learners in a state that needs this synchronisation."""
        if sync == "TRUNC and DIFF":
            return  # the initial state
        if self.client is None:
            self.client = KazooClient(hosts=self.leader.address, timeout=30.0)
            self.client.start(timeout=30)
            self.client.create("/work")
        self.stop_learners()
        if sync == "DIFF from memory":
            self.write(10)
        elif sync == "DIFF from the log":
            self.write(WINDOW + 100)
        elif sync == "TRUNC":
            for server in self.learners:
                self.leave_phantoms(server, self.last_zxid(self.leader))
        elif sync == "SNAP":
            for server in self.learners:
                history.wipe(server.data)

    def start_while_a_write_is_under_way(self):
        """The helper's acknowledgements are delayed, so that no transaction commits without the follower. Both
        learners truncate their logs and receive the outstanding transaction: the follower within its
        synchronisation, the observer after the follower's acknowledgement."""
        self.way.open.clear()
        raw = Raw(self.leader.client_port, timeout=60.0, session=(SESSION, history.password(SESSION)),
                  session_timeout=60_000)
        raw.xid = 1
        raw.send(struct.pack(">ii", 1, 1) + ustring("/under-way") + buffer(b"x") + OPEN_ACL + struct.pack(">i", 0))
        follower, observer = self.learners
        for server in (observer, follower):
            raw.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                raw.socket.recv(1)
            raw.socket.settimeout(60)
            server.start()
            wait_until(server.mode, 60, f"server {server.sid} serves")
        assert struct.unpack(">iqi", raw.receive()[:16])[2] == 0
        self.way.open.set()
        assert raw.call(-11, b"")[0] == 0, "the session ends before zxids are compared"
        raw.close()

    def join(self, sync):
        """Starts the learners; both serve clients, have the leader's tree, and accept writes."""
        servers = [self.leader, *self.learners]
        before = {s.sid: s.log.stat().st_size if s.log.exists() else 0 for s in servers}
        if sync == "TRUNC and DIFF":
            self.start_while_a_write_is_under_way()
        else:
            for server in self.learners:
                server.start()
        for server, role in zip(self.learners, ROLES):
            wait_until(lambda: server.mode() == role, 60, f"server {server.sid} is a {role} after {sync}")
        logs = {s.sid: s.log.read_text(errors="replace")[before[s.sid]:] for s in servers}
        for server in self.learners:
            happened = kind_of_sync(logs[LEADER], logs[server.sid], server.sid)
            # Transactions after the TRUNC arrive before it is acknowledged.
            expected = "TRUNC" if sync == "TRUNC and DIFF" else sync
            assert happened == expected, f"server {server.sid} was synchronised by {happened}, not by {sync}"
        tree = assert_same_trees(servers)
        assert "/under-way" in tree and not [path for path in tree if "phantom" in path]
        for server in self.learners:
            self.turn += 1
            client = self.ensemble.client(server)
            client.create(f"/after-{self.turn}", b"written through a learner")
            client.stop()
            client.close()
        assert f"/after-{self.turn}" in assert_same_trees(servers)


@pytest.mark.parametrize("learner", KINDS)
@pytest.mark.parametrize("leader", KINDS)
def test_leader_synchronises_its_learners(zabkeeper_only, java, quick, request, leader, learner, tmp_path):
    everything = request.config.getoption("--pairings")
    impls = (IMPLS[leader], IMPLS[learner])
    if not everything and impls not in (QUICK if quick else SHORT):
        pytest.skip("skipped: only with --pairings")
    reason = parts.missing_java_38() if "apache-3.8" in impls else None
    results = {(role, sync): f"skipped: {reason}" if reason else "not reached" for role in ROLES for sync in SYNCS}
    try:
        if reason:
            pytest.skip(f"skipped: {reason}")
        with Pair(tmp_path, leader, learner) as pair:
            for sync in SYNCS:
                results.update({(role, sync): "failed" for role in ROLES})
                pair.prepare(sync)
                pair.join(sync)
                results.update({(role, sync): "passed" for role in ROLES})
    finally:
        if everything:
            pairings.note(leader, learner, results)


@pytest.mark.parametrize("leader,learner", [("zabkeeper", "3.9.5"), ("zabkeeper", "3.8.0"), ("3.9.5", "zabkeeper"),
                                            ("3.8.0", "zabkeeper")])
def test_snapshot_of_a_million_znodes(zabkeeper_only, java, request, leader, learner, tmp_path):
    if not request.config.getoption("--pairings"):
        pytest.skip("skipped: only with --pairings")
    if "3.8.0" in (leader, learner) and parts.missing_java_38():
        pytest.skip(f"skipped: {parts.missing_java_38()}")
    impls = [IMPLS[learner], "zabkeeper", IMPLS[leader]]
    snapshot = history.tree(MANY)
    with contextlib.ExitStack() as stack:
        ensemble = Ensemble(impls, tmp_path, initLimit=120, snapCount=100_000)
        stack.callback(ensemble.__exit__, None, None, None)
        late, *others = ensemble.servers
        for server in others:
            history.begin(server.data, 1, snapshot)
            history.append(server.data, [(zxid(1, 1), history.failed())])
        for server in ensemble.servers:
            server.jvm_options.append("-Xmx2g")
        for server in others:
            server.start()
        leads = wait_until(lambda: others[1].mode() == "leader", 200, f"server {LEADER} leads")
        assert leads
        began = time.monotonic()
        late.start()
        wait_until(late.mode, 200, "the late server serves clients")
        print(f"\n{leader} leads {learner}: {MANY} nodes in {time.monotonic() - began:.1f} s")
        logs = [s.log.read_text(errors="replace") for s in (others[1], late)]
        assert kind_of_sync(*logs, late.sid) == "SNAP"
        # Every transaction carries the digest of the whole tree; a server counts mismatches.
        client = ensemble.client(late)
        client.create("/after", b"x")
        client.set("/many/0999999", b"changed")
        client.stop()
        client.close()
        assert figure(late, "znode_count") == figure(others[1], "znode_count") > MANY
        assert figure(late, "digest_mismatches_count") == 0


def figure(server, name):
    found = re.search(rf"^zk_{name}\t(\d+)", server.words("mntr"), re.MULTILINE)
    return int(found[1])


def test_table_shows_the_results():
    """pairings.json has every cell, and PAIRINGS.md shows them."""
    cells = pairings.load()
    assert set(cells) == {(le, ln, role, sync) for le in KINDS for ln in KINDS for role in ROLES for sync in SYNCS}
    assert pairings.TABLE.read_text() == pairings.table(cells), "run test_pairings.py --pairings"
    assert not [cell for cell, said in cells.items() if said != "passed" and not said.startswith("skipped: ")]
