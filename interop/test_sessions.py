"""Sessions survive the member that they were connected to."""
import random
import subprocess
import threading
import time

import pytest
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import NodeExistsError

from zk import parts
from zk.ensemble import Ensemble, assert_same_trees
from zk.killer import Killer
from zk.raw import OPEN_ACL, Expired, Raw, buffer, ustring
from zk.server import wait_until

WANDERER_MS = 20000
MOVED = -118
FRAME_LIMIT = 0xFFFFF  # the default of jute.maxbuffer


@pytest.fixture
def ensemble(impl, tmp_path):
    with Ensemble(impl, tmp_path) as e:
        yield e


def on_member(server, others, timeout=12.0):
    """A kazoo client of `server` that can move to the others."""
    hosts = ",".join(s.address for s in [server, *others])
    client = KazooClient(hosts=hosts, timeout=timeout, randomize_hosts=False)
    client.start(timeout=30)
    return client


@pytest.mark.parametrize("role", ["follower", "leader"])
def test_session_survives_its_server(ensemble, role):
    """The member of a client is killed: the session continues at another member, with its ephemerals and
    watches."""
    server = ensemble.leader() if role == "leader" else ensemble.followers()[0]
    others = [s for s in ensemble.servers if s is not server]
    client, states, events = on_member(server, others), [], []
    client.add_listener(states.append)
    session = client.client_id
    client.create("/mine", b"1", ephemeral=True)
    client.create("/watched", b"1")
    client.DataWatch("/watched", lambda data, stat: events.append(("/watched", data)))
    client.DataWatch("/later", lambda data, stat: events.append(("/later", data)))
    server.kill()
    wait_until(lambda: KazooState.SUSPENDED in states and client.connected, 20, "the client is connected again")
    assert client.client_id == session, "the session id has changed"
    assert KazooState.LOST not in states
    assert client.exists("/mine").ephemeralOwner == session[0]
    with pytest.raises(NodeExistsError):
        client.create("/mine")
    writer = ensemble.client(others[1])
    writer.set("/watched", b"2")
    writer.create("/later", b"3")
    wait_until(lambda: {("/watched", b"2"), ("/later", b"3")} <= set(events), 5, "the watches fire")
    server.start()
    ensemble.wait_serving()
    assert_same_trees(ensemble.servers)
    client.stop()
    client.close()
    wait_until(lambda: writer.exists("/mine") is None, 4, "the ephemeral is deleted with its closed session")
    writer.stop()
    writer.close()


def test_change_while_disconnected_fires_the_watch(ensemble):
    """setWatches gives the events of changes between two connections."""
    server = ensemble.followers()[0]
    first, second = [s for s in ensemble.servers if s is not server]
    raw = Raw(server.client_port, timeout=5.0, session_timeout=12000)
    raw.create("/away", b"1")
    zxid = raw.call(4, ustring("/away") + b"\1")[1]
    server.kill()
    writer = ensemble.client(second)
    writer.set("/away", b"2")
    writer.sync("/away")
    back = wait_until(lambda: attach(first, raw, zxid), 20, "the session continues")
    # setWatches: relative zxid, then data, exist and child watches.
    body = zxid.to_bytes(8, "big") + (1).to_bytes(4, "big") + ustring("/away") + bytes(8)
    back.send((-8).to_bytes(4, "big", signed=True) + (101).to_bytes(4, "big") + body)
    seen = {int.from_bytes(frame[:4], "big", signed=True): frame for frame in (back.receive(), back.receive())}
    assert set(seen) == {-8, -1}, "one reply and one event"
    event, state = seen[-1][16:20], seen[-1][20:24]
    assert (event, state) == ((3).to_bytes(4, "big"), (3).to_bytes(4, "big")), "data changed, connected"
    assert seen[-1][24:] == ustring("/away")
    back.close()
    writer.stop()
    writer.close()


def attach(server, raw, zxid):
    """Continues the session of `raw` on another member; None while that is not possible."""
    try:
        return Raw(server.client_port, timeout=5.0, session=(raw.session, raw.password),
                   session_timeout=12000, last_zxid=zxid)
    except (OSError, EOFError):
        return None


def test_session_expires_although_the_leader_is_killed_too(ensemble):
    """The leader, which decides on expiry, is killed with the client: the next leader expires the session."""
    leader, follower = ensemble.leader(), ensemble.followers()[0]
    script = ("import sys, time; from kazoo.client import KazooClient as K; c = K(sys.argv[1], timeout=4.0); "
              "c.start(); c.create('/e', ephemeral=True); print('made', flush=True); time.sleep(60)")
    process = subprocess.Popen([parts.CACHE / "venv/bin/python", "-c", script, follower.address],
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "made\n"
    process.kill()
    process.wait()
    leader.kill()
    client = ensemble.client(*[s for s in ensemble.servers if s is not leader])
    wait_until(lambda: client.exists("/e") is None, 20, "the ephemeral is deleted")
    client.stop()
    client.close()


def test_live_sessions_outlast_many_timeouts_on_every_member(ensemble):
    """Pings to a follower keep a session alive at the leader."""
    clients = [ensemble.client(s, timeout=2.0) for s in ensemble.servers]
    lost = []
    for i, client in enumerate(clients):
        client.add_listener(lambda state, i=i: lost.append((i, state)))
        client.create(f"/live-{i}", ephemeral=True)
    threading.Event().wait(7.0)
    assert lost == []
    assert sorted(n for n in clients[0].get_children("/") if n.startswith("live")) == ["live-0", "live-1", "live-2"]
    for client in clients:
        client.stop()
        client.close()


@pytest.mark.both
def test_requests_up_to_the_limit_pass_and_larger_ones_close_the_connection(ensemble):
    for server in [ensemble.leader(), ensemble.followers()[0]]:
        raw, path = Raw(server.client_port, timeout=10.0), f"/large-{server.sid}"
        fixed = len(ustring(path) + buffer(b"") + OPEN_ACL) + 4 + 8
        value = b"v" * (FRAME_LIMIT - fixed)
        assert raw.create(path, value) == (0, path)
        assert raw.get(path) == (0, value)
        with pytest.raises((EOFError, OSError)):
            raw.create(path + "-more", value + b"!")
        raw.close()
        again = Raw(server.client_port, timeout=10.0)
        assert again.get(path + "-more")[0] == -101
        again.close()
    assert_same_trees(ensemble.servers)


def test_requests_of_one_session_are_answered_in_order(ensemble):
    """A thousand requests sent at once to a follower, reads between writes: every read sees the earlier
    writes of its session, and replies arrive in the order of the requests."""
    raw = Raw(ensemble.followers()[0].client_port, timeout=10.0)
    raw.create("/order", b"start")
    for i in range(500):
        raw.send((10 + 2 * i).to_bytes(4, "big") + (5).to_bytes(4, "big")
                 + ustring("/order") + buffer(str(i).encode()) + b"\xff\xff\xff\xff")
        raw.send((11 + 2 * i).to_bytes(4, "big") + (4).to_bytes(4, "big") + ustring("/order") + b"\0")
    for i in range(500):
        written, read = raw.receive(), raw.receive()
        assert int.from_bytes(written[:4], "big") == 10 + 2 * i
        assert int.from_bytes(read[:4], "big") == 11 + 2 * i
        assert read[16:].startswith(buffer(str(i).encode())), i
    raw.close()


class Wanderer(threading.Thread):
    """A session that moves between members, with or without closing its connection."""

    def __init__(self, servers, seed):
        super().__init__(daemon=True)
        self.servers, self.random = servers, random.Random(seed)
        self.halt, self.attached, self.lost = threading.Event(), 0, None
        self.left, self.path = [], f"/wanderer{seed}"
        first = Raw(servers[seed % len(servers)].client_port, timeout=10.0, session_timeout=WANDERER_MS)
        self.identity, self.last_zxid = (first.session, first.password), 0
        assert first.create(self.path, flags=1)[0] == 0

    def run(self):
        while not self.halt.is_set() and not self.lost:
            server = self.random.choice(self.servers)
            try:
                client = Raw(server.client_port, timeout=3.0, session=self.identity,
                             session_timeout=WANDERER_MS, last_zxid=self.last_zxid)
                self.attached += 1
                for _ in range(self.random.randrange(4)):
                    error = client.set(self.path, b"x")
                    assert error in (0, MOVED), f"a live session receives {error} from server {server.sid}"
                    self.last_zxid = client.last_zxid
                    time.sleep(self.random.uniform(0, 0.1))
                self.left.append(client)
                if len(self.left) > self.random.randrange(4):
                    self.left.pop(0).close()
            except Expired:
                self.lost = f"{time.strftime('%H:%M:%S')}: server {server.sid} calls a live session expired"
            except AssertionError as error:
                self.lost = f"{time.strftime('%H:%M:%S')}: {error}"
            except (OSError, EOFError):
                time.sleep(0.02)


def test_sessions_that_move_while_members_are_killed_never_expire(impl, quick, tmp_path, request):
    seed = request.config.getoption("--seed") or random.SystemRandom().randrange(1, 10**6)
    seconds = request.config.getoption("--recipe-seconds") or (10 if quick else 40)
    print(f"\nwanderers: --seed {seed}, {seconds} s")
    with Ensemble(impl, tmp_path, maxSessionTimeout=60000) as ensemble:
        wanderers = [Wanderer(ensemble.servers, n) for n in range(20)]
        for wanderer in wanderers:
            wanderer.start()
        killer = Killer(ensemble, seed)
        killer.start()
        time.sleep(seconds)
        killer.end()
        time.sleep(2)
        for wanderer in wanderers:
            wanderer.halt.set()
            wanderer.join(30)
        print(f"{killer.kills} members killed, attached {sum(w.attached for w in wanderers)} times")
        assert [w.lost for w in wanderers if w.lost] == []
        for wanderer in wanderers:
            client = Raw(ensemble.leader().client_port, timeout=10.0)
            assert client.get(wanderer.path)[0] == 0, "the ephemeral of a live session exists"
            client.close()
