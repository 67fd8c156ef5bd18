"""`zabkeeper_std::TestEnsemble`, the test ensemble, with kazoo as its client."""
import subprocess
import threading

import pytest
from kazoo.client import KazooClient
from kazoo.protocol.states import KazooState

from zk import parts


class Driven:
    """The example `ensemble`: takes commands, answers each with a line."""

    def __init__(self):
        self.process = subprocess.Popen([parts.example("ensemble"), "3"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.connect_string = self.process.stdout.readline().strip()

    def __call__(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer and not answer.startswith("error"), f"{command}: {answer}"
        return answer

    def address(self, server):
        return self.connect_string.split(",")[int(server) - 1]


@pytest.fixture
def ensemble(zabkeeper_only):
    if not parts.example("ensemble").exists():
        pytest.fail(f"{parts.example('ensemble')} is not built (cargo build --release -p zabkeeper-std --examples)")
    driven = Driven()
    yield driven
    driven.process.stdin.close()
    try:
        assert driven.process.wait(10) == 0
    finally:
        driven.process.kill()


@pytest.fixture
def client(ensemble):
    one = KazooClient(ensemble.connect_string, timeout=10)
    one.states = []
    one.add_listener(one.states.append)
    one.start(timeout=10)
    yield one
    one.stop()
    one.close()


def test_session_survives_the_leader(ensemble, client):
    session = client.client_id[0]
    client.create("/mine", b"x", ephemeral=True)
    for _ in range(3):
        leader = ensemble("leader")
        ensemble(f"kill {leader}")
        assert ensemble("leader") != leader
        assert client.retry(client.get, "/mine")[0] == b"x"
        ensemble(f"restart {leader}")
    assert client.client_id[0] == session and KazooState.LOST not in client.states


def test_expired_session_is_reported_and_loses_its_ephemerals(ensemble, client):
    lost = threading.Event()
    client.add_listener(lambda state: lost.set() if state == KazooState.LOST else None)
    session = client.client_id[0]
    client.create("/mine", b"x", ephemeral=True)
    ensemble(f"expire {session:#x}")
    assert lost.wait(10)
    assert client.retry(client.exists, "/mine") is None
    assert client.client_id[0] != session


def test_client_of_a_partitioned_server_moves_to_another(ensemble, client):
    leader = ensemble("leader")
    alone = KazooClient(ensemble.address(leader), timeout=10)
    alone.start(timeout=10)
    suspended = threading.Event()
    alone.add_listener(lambda state: suspended.set() if state == KazooState.SUSPENDED else None)
    ensemble(f"partition {leader}")
    assert suspended.wait(10), "no server has a quorum"
    client.retry(client.create, "/while-cut-off", b"")
    ensemble("heal")
    alone.retry(alone.sync, "/")
    assert alone.exists("/while-cut-off")
    alone.stop()
    alone.close()
