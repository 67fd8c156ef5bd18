"""Three servers with three zoo.cfg files, and existing clients: kazoo, the C client, zkCli."""
import subprocess
import threading
import time

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import (BadVersionError, NoAuthError, NodeExistsError, NoNodeError,
                              NotEmptyError, RolledBackError)
from kazoo.security import make_digest_acl

from zk import parts
from zk.ensemble import Ensemble, assert_same_trees
from zk.server import wait_until

pytestmark = pytest.mark.both


@pytest.fixture(scope="module")
def ensemble(request, tmp_path_factory):
    impl = request.config.getoption("--impl")
    reason = parts.missing_java() if impl == "apache" else None
    if reason:
        pytest.skip(f"skipped: {reason}")
    with Ensemble(impl, tmp_path_factory.mktemp("clients")) as e:
        yield e


@pytest.fixture
def clients(ensemble):
    """One kazoo client on each member."""
    all_clients = [ensemble.client(s) for s in ensemble.servers]
    yield all_clients
    for client in all_clients:
        client.stop()
        client.close()


@pytest.fixture
def root(clients, request):
    path = "/" + request.node.name.replace("[", "-").replace("]", "")
    clients[0].create(path)
    for client in clients:
        client.sync(path)
    return path


def zkcli(server, *command):
    done = subprocess.run(
        ["java", "-cp", parts.classpath(), "org.apache.zookeeper.ZooKeeperMain",
         "-server", server.address, *command],
        capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def cli_mt(server, *commands):
    """Runs commands in the C client's shell; returns the output."""
    process = subprocess.Popen([parts.CLI_MT, server.address], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(1.0)
    for command in commands:
        process.stdin.write(command + "\n")
        process.stdin.flush()
        time.sleep(0.5)
    output, _ = process.communicate("quit\n", timeout=30)
    return output


def test_one_leader_two_followers(ensemble):
    assert sorted(s.mode() for s in ensemble.servers) == ["follower", "follower", "leader"]


def test_kazoo_c_and_java_see_each_others_writes(ensemble, clients, root, java, c_client):
    first, second, third = ensemble.servers
    clients[0].create(f"{root}/kazoo", b"from-kazoo")
    assert "from-kazoo" in cli_mt(second, f"sync {root}", f"get {root}/kazoo", f"create {root}/c")
    output = zkcli(third, "get", f"{root}/kazoo")
    assert "from-kazoo" in output, output
    assert f"Created {root}/java" in zkcli(third, "create", f"{root}/java", "from-java")
    for client in clients:
        client.sync(root)
        assert sorted(client.get_children(root)) == ["c", "java", "kazoo"]
        assert client.get(f"{root}/java")[0] == b"from-java"


def test_watch_of_the_c_client_fires(ensemble, clients, root, c_client):
    process = subprocess.Popen([parts.CLI_MT, ensemble.servers[1].address], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(1.0)
    process.stdin.write(f"wexists {root}/node\n")
    process.stdin.flush()
    time.sleep(0.7)
    clients[0].create(f"{root}/node")
    time.sleep(0.7)
    output, _ = process.communicate("quit\n", timeout=30)
    assert "CREATED_EVENT" in output, output


def test_watches_fire_on_every_member(clients, root):
    events = []
    lock = threading.Lock()

    def note(event):
        with lock:
            events.append((event.type, event.path))

    for client in clients:
        assert client.exists(f"{root}/x", watch=note) is None
        client.get_children(root, watch=note)
    clients[0].create(f"{root}/x", b"1")
    wait_until(lambda: len(events) == 6, 5, "created and child events on three members")
    assert sorted(events) == [("CHILD", root)] * 3 + [("CREATED", f"{root}/x")] * 3
    events.clear()
    for client in clients:
        client.sync(root)
        client.get(f"{root}/x", watch=note)
    clients[1].set(f"{root}/x", b"2")
    wait_until(lambda: len(events) == 3, 5, "changed events")
    clients[1].set(f"{root}/x", b"3")
    for client in clients:
        client.sync(root)
        client.get(f"{root}/x", watch=note)
    clients[2].delete(f"{root}/x")
    wait_until(lambda: len(events) == 6, 5, "deleted events")
    assert events[:3] == [("CHANGED", f"{root}/x")] * 3
    assert events[3:] == [("DELETED", f"{root}/x")] * 3


def test_sequence_numbers_agree(clients, root):
    made = []
    for i in range(30):
        made.append(clients[i % 3].create(f"{root}/n-", sequence=True))
    assert made == [f"{root}/n-{i:010}" for i in range(30)]
    clients[0].delete(made[-1])
    assert clients[1].create(f"{root}/n-", sequence=True) == f"{root}/n-{30:010}"


def test_closed_session_deletes_its_ephemerals(ensemble, clients, root):
    owner = ensemble.client(ensemble.servers[1])
    owner.create(f"{root}/e", ephemeral=True)
    clients[0].sync(root)
    stat = clients[0].exists(f"{root}/e")
    assert stat.ephemeralOwner == owner.client_id[0]
    owner.stop()
    owner.close()
    # Well before the session timeout of ten seconds: the session was closed, it has not expired.
    for client in clients:
        wait_until(lambda: client.exists(f"{root}/e") is None, 4, "the ephemeral is deleted with its closed session")


def test_expired_session_deletes_its_ephemerals(ensemble, clients, root):
    script = ("import sys, time; from kazoo.client import KazooClient as K; c = K(sys.argv[1], timeout=2.0); "
              "c.start(); c.create(sys.argv[2], ephemeral=True); print('made', flush=True); time.sleep(60)")
    process = subprocess.Popen([parts.CACHE / "venv/bin/python", "-c", script,
                                ensemble.servers[2].address, f"{root}/e"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "made\n"
    process.kill()
    process.wait()
    clients[0].sync(root)
    assert clients[0].exists(f"{root}/e") is not None
    started = time.monotonic()
    wait_until(lambda: clients[0].exists(f"{root}/e") is None, 10, "the ephemeral is deleted")
    assert time.monotonic() - started > 0.5


def test_errors(clients, root):
    c = clients[1]
    c.create(f"{root}/a", b"0")
    with pytest.raises(NodeExistsError):
        c.create(f"{root}/a")
    with pytest.raises(NoNodeError):
        c.create(f"{root}/no/parent")
    with pytest.raises(NoNodeError):
        c.get(f"{root}/none")
    with pytest.raises(NoNodeError):
        c.delete(f"{root}/none")
    with pytest.raises(BadVersionError):
        c.set(f"{root}/a", b"1", version=7)
    assert c.set(f"{root}/a", b"1", version=0).version == 1
    with pytest.raises(BadVersionError):
        c.delete(f"{root}/a", version=0)
    with pytest.raises(NotEmptyError):
        c.delete(root)
    c.delete(f"{root}/a", version=1)


def test_a_transaction_is_all_or_nothing(clients, root):
    c = clients[2]
    t = c.transaction()
    t.create(f"{root}/a", b"1")
    t.create(f"{root}/b", b"2")
    t.check(f"{root}/a", version=0)
    t.set_data(f"{root}/a", b"3")
    results = t.commit()
    assert results[:2] == [f"{root}/a", f"{root}/b"] and results[2] is True and results[3].version == 1
    t = c.transaction()
    t.delete(f"{root}/a")
    t.check(f"{root}/b", version=5)
    t.create(f"{root}/c")
    results = t.commit()
    assert isinstance(results[0], RolledBackError) and isinstance(results[1], BadVersionError)
    clients[0].sync(root)
    assert sorted(clients[0].get_children(root)) == ["a", "b"]


def test_acls(ensemble, clients, root):
    c = clients[0]
    alice = [make_digest_acl("alice", "secret", all=True)]
    c.create(f"{root}/closed", b"x", acl=alice)
    for client in clients:
        client.sync(root)
        with pytest.raises(NoAuthError):
            client.get(f"{root}/closed")
    owner = ensemble.client(ensemble.servers[2])
    owner.add_auth("digest", "alice:secret")
    owner.sync(root)
    assert owner.get(f"{root}/closed")[0] == b"x"
    acl, stat = owner.get_acls(f"{root}/closed")
    assert acl == alice and stat.aversion == 0
    owner.set_acls(f"{root}/closed", [make_digest_acl("bob", "pw", read=True)] + alice)
    assert owner.get_acls(f"{root}/closed")[1].aversion == 1
    owner.stop()
    owner.close()


def test_large_values(clients, root):
    value = bytes(range(256)) * 4000
    clients[0].create(f"{root}/large", value)
    clients[1].sync(root)
    assert clients[1].get(f"{root}/large")[0] == value


def test_a_session_moves_to_another_member(ensemble, root):
    client = ensemble.client(ensemble.servers[0], timeout=8.0)
    session = client.client_id
    client.create(f"{root}/mine", ephemeral=True)
    client._connection.connection_stopped.clear()
    # Another client object continues the session on another member.
    other = KazooClient(hosts=ensemble.servers[1].address, client_id=session, timeout=8.0)
    other.start(timeout=20)
    assert other.client_id[0] == session[0]
    other.sync(root)
    assert other.exists(f"{root}/mine").ephemeralOwner == session[0]
    other.stop()
    other.close()
    client.stop()
    client.close()


def test_wrong_password_is_refused(ensemble, clients):
    from zk.raw import Raw
    with pytest.raises(EOFError):
        Raw(ensemble.servers[1].client_port, session=(clients[0].client_id[0], b"x" * 16))


def test_recipes(clients, root):
    a, b = clients[0], clients[2]
    lock_a, lock_b = a.Lock(f"{root}/lock", "a"), b.Lock(f"{root}/lock", "b")
    assert lock_a.acquire(timeout=5)
    assert not lock_b.acquire(blocking=False)
    lock_a.release()
    assert lock_b.acquire(timeout=5)
    lock_b.release()
    counters = [c.Counter(f"{root}/counter") for c in clients]
    for counter in counters:
        counter += 5
    a.sync(root)
    assert counters[0].value == 15
    queue_a, queue_b = a.Queue(f"{root}/queue"), b.Queue(f"{root}/queue")
    for i in range(5):
        queue_a.put(str(i).encode())
    b.sync(root)
    assert [queue_b.get() for _ in range(5)] == [str(i).encode() for i in range(5)]
    barrier = a.Barrier(f"{root}/barrier")
    barrier.create()
    assert not b.Barrier(f"{root}/barrier").wait(0.2)
    barrier.remove()
    assert b.Barrier(f"{root}/barrier").wait(5)
    elected = []
    a.Election(f"{root}/election", "a").run(lambda: elected.append("a"))
    b.Election(f"{root}/election", "b").run(lambda: elected.append("b"))
    assert elected == ["a", "b"]


def test_the_members_end_up_with_the_same_tree(ensemble):
    assert_same_trees(ensemble.servers)
