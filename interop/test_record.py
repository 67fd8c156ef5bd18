"""Servers record the events of their core; a replay of the journals gives identical actions."""
import random
import re
import shutil
import subprocess
import threading
import time

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.security import make_digest_acl

from zk import parts
from zk.ensemble import Ensemble, assert_same_trees
from zk.raw import Raw
from zk.server import wait_until

pytestmark = pytest.mark.usefixtures("zabkeeper_only")


@pytest.fixture
def ensemble(tmp_path):
    """Three recording servers with frequent snapshots."""
    ensemble = Ensemble("zabkeeper", tmp_path, snapCount=300)
    for server in ensemble.servers:
        server.options = ["--record", str(server.dir / "journal")]
    with ensemble:
        yield ensemble


class Load(threading.Thread):
    """A client with many kinds of requests; it opens a new session when its session has ended."""

    def __init__(self, ensemble, number):
        super().__init__(daemon=True)
        self.ports = [server.client_port for server in ensemble.servers]
        self.hosts, self.number, self.halt = ensemble.connect_string, number, threading.Event()
        self.random, self.done, self.watched = random.Random(number), 0, 0

    def run(self):
        while not self.halt.is_set():
            client = KazooClient(hosts=self.hosts, timeout=4.0)
            try:
                client.start(timeout=10)
                client.add_auth("digest", f"user{self.number}:secret")
                client.ensure_path("/load/counter")
                client.DataWatch("/load/counter", self.seen)
                client.ChildrenWatch("/load", self.seen)
                for _ in range(self.random.randrange(20, 200)):
                    if self.halt.is_set():
                        break
                    self.operation(client)
            except (KazooException, KazooTimeoutError):
                pass
            finally:
                client.stop()
                client.close()
            self.vanish()

    def vanish(self):
        """Leaves a session without closing it: it expires, and its ephemeral is deleted."""
        try:
            raw = Raw(self.random.choice(self.ports), timeout=3.0, session_timeout=2000)
            raw.create(f"/load/gone-{self.number}", flags=1)
            raw.close()
        except (OSError, EOFError):
            pass

    def seen(self, *_):
        self.watched += 1

    def operation(self, client):
        try:
            self.one_of_many(client)
            self.done += 1
        except KazooException:
            # The node is missing or exists already, has another version, or there is no connection.
            pass

    def one_of_many(self, client):
        path = f"/load/{self.number}-{self.random.randrange(20)}"
        kind = self.random.randrange(12)
        if kind == 0:
            client.create(path, b"e", ephemeral=True)
        elif kind == 1:
            client.create(path, self.random.randbytes(self.random.choice([0, 10, 1000, 60000])))
        elif kind == 2:
            client.create("/load/s-", b"s", sequence=True, ephemeral=self.random.random() < 0.5)
        elif kind == 3:
            client.delete(path)
        elif kind == 4:
            value, stat = client.get("/load/counter")
            client.set("/load/counter", str(int(value or b"0") + 1).encode(), version=stat.version)
        elif kind == 5:
            transaction = client.transaction()
            transaction.create(path, b"in a multi")
            transaction.set_data("/load/counter", b"0")
            transaction.check("/load", -1 if self.random.random() < 0.5 else 10_000_000)
            transaction.commit()
        elif kind == 6:
            acl = make_digest_acl(f"user{self.random.randrange(4)}", "secret", all=True)
            client.create(path, b"guarded", acl=[acl])
        elif kind == 7:
            client.get_acls(path)
        elif kind == 8:
            client.get_children("/load")
        elif kind == 9:
            client.exists(path, watch=self.seen)
        elif kind == 10:
            client.sync("/load")
            client.get(path, watch=self.seen)
        else:
            client.set(path, b"x" * self.random.randrange(300))


def replayed(server):
    """Replays the journal of a server; returns the result of each run."""
    command = [str(parts.sim()), "replay", "--record", str(server.dir / "journal")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, f"exit code {result.returncode}\n{result.stdout}{result.stderr}"
    return re.findall(r"journal\.\d+: version [^,]+, (\d+) events in [\d.]+ s, (\d+) actions: "
                      r"identical; (.+)\n  at the end: (.+)\n", result.stdout)


def test_recorded_ensemble_replays_to_identical_actions(ensemble, quick):
    """Under load the leader is killed repeatedly, and a follower is stopped in order and restarted without
    its data. Every run of every server replays to the recorded actions."""
    if not parts.sim().exists():
        pytest.skip(f"skipped: {parts.sim()} is not built (cargo build --release -p zabkeeper-fuzz)")
    clients = [Load(ensemble, n) for n in range(6)]
    for client in clients:
        client.start()
    kills = 2 if quick else 10
    runs = {server.sid: 1 for server in ensemble.servers}
    killed = []
    for _ in range(kills):
        time.sleep(3)
        leader = ensemble.leader()
        leader.kill()
        killed.append(leader)
        ensemble.leader()
        time.sleep(1)
        ensemble.followers()[0].words("mntr")
        leader.start()
        runs[leader.sid] += 1
        ensemble.wait_serving()
    follower = ensemble.followers()[0]
    assert follower.terminate() == 0
    shutil.rmtree(follower.data / "version-2")
    follower.start()
    runs[follower.sid] += 1
    ensemble.wait_serving()
    time.sleep(2)
    for client in clients:
        client.halt.set()
    for client in clients:
        client.join(60)
        assert not client.is_alive()
    assert sum(client.done for client in clients) > 200 and sum(client.watched for client in clients) > 50
    wait_until(lambda: "zk_ephemerals_count\t0\n" in ensemble.leader().words("mntr"), 30,
               "abandoned sessions expire")
    tree = assert_same_trees(ensemble.servers)
    for server in ensemble.servers:
        assert server.terminate() == 0

    events = actions = 0
    for server in ensemble.servers:
        all_runs = replayed(server)
        assert len(all_runs) == runs[server.sid]
        events += sum(int(run[0]) for run in all_runs)
        actions += sum(int(run[1]) for run in all_runs)
        assert all_runs[-1][2] == "it ends with: stopped"
        # The tree as clients see it; the root counts twice.
        nodes = int(re.search(r"(\d+) nodes", all_runs[-1][3])[1])
        assert nodes >= len(tree), all_runs[-1]
        unsaid = [run for run in all_runs if "the process was killed" in run[2]]
        assert len(unsaid) == sum(one is server for one in killed)
    print(f"\n{len(killed)} leaders killed, {sum(c.done for c in clients)} operations; replayed to identical "
          f"actions: {sum(runs.values())} runs, {events} events, {actions} actions")
