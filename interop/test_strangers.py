"""Connections that claim to be members on the quorum and election ports: no member is displaced, no
leadership term ends, no client is disconnected, and a restarted member is served."""
import contextlib
import itertools
import socket
import struct
import threading

import pytest

from zk.ensemble import Ensemble
from zk.server import wait_until

FOLLOWERINFO, ACKEPOCH = 11, 18
LOOKING = 0


def packet(kind, zxid, data):
    return struct.pack(">iqi", kind, zxid, len(data)) + data + struct.pack(">i", -1)


def follower_info(server, epoch, version=0):
    return packet(FOLLOWERINFO, epoch << 32, struct.pack(">qiq", server, 0x10000, version))


def vote(leader, zxid, epoch):
    """An election handshake in the name of a server, and a vote for it."""
    address = b"127.0.0.1:1"
    hello = struct.pack(">qqi", -65536, leader, len(address)) + address
    told = struct.pack(">iqqqqii", LOOKING, leader, zxid, 1 << 40, epoch, 2, 0)
    return hello + struct.pack(">i", len(told)) + told


class Strangers:
    """Connects to ports repeatedly, sends one message after the other, and counts them."""

    def __init__(self, said):
        self.said, self.count, self.over, self.kept = said, 0, threading.Event(), []
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        for port, words in itertools.cycle(self.said):
            if self.over.is_set():
                return
            with contextlib.suppress(OSError):
                conn = socket.create_connection(("127.0.0.1", port), timeout=1)
                conn.sendall(words)
                self.kept.append(conn)
                self.count += 1
            if len(self.kept) > 200:
                self.kept.pop(0).close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.over.set()
        self.thread.join()
        for conn in self.kept:
            conn.close()


@pytest.fixture
def ensemble(tmp_path, zabkeeper_only):
    with Ensemble("zabkeeper", tmp_path) as ensemble:
        yield ensemble


def epoch_of(server):
    return int((server.data / "version-2/acceptedEpoch").read_text())


def restart(follower):
    follower.terminate()
    follower.start()
    wait_until(follower.mode, 60, "the restarted follower serves clients")


def on_all(ensemble, words):
    """Messages to each server in the name of each other one."""
    pairs = itertools.permutations(range(1, 4), 2)
    return [(ensemble.quorum_ports[to - 1], w) for to, claimed in pairs for w in words(claimed)]


@pytest.mark.parametrize("words,takes_part", [
    (lambda claimed: [follower_info(claimed, 2), follower_info(claimed, 7000)], False),
    (lambda claimed: [follower_info(claimed, 0, 1 << 40), follower_info(claimed, 2, 1 << 40)], False),
    (lambda claimed: [follower_info(claimed, 1) + packet(ACKEPOCH, 0, struct.pack(">i", 1))], True),
    (lambda claimed: [b"\0", b""], False),
], ids=["later epochs", "later lists", "a member's place", "silence"])
def test_impostors_change_nothing_and_a_restarted_follower_serves(ensemble, words, takes_part):
    """An impostor that speaks the whole protocol can occupy the slot of an absent member: only
    authentication prevents that, and here the member returns after the impostor has left."""
    leader, epochs = ensemble.leader(), [epoch_of(s) for s in ensemble.servers]
    follower, other = ensemble.followers()
    clients = [ensemble.client(s) for s in (leader, other)]
    lost = []
    for client in clients:
        client.add_listener(lost.append)
    clients[0].create("/a", b"0")
    with Strangers(on_all(ensemble, words)) as strangers:
        wait_until(lambda: strangers.count > 300, 60, "impostors have sent messages")
        for n in range(50):
            clients[n % 2].set("/a", b"%d" % n)
        if not takes_part:
            restart(follower)
        begun = strangers.count
        wait_until(lambda: strangers.count > begun + 300, 60, "impostors continue")
    if takes_part:
        restart(follower)
    assert ensemble.leader() is leader
    assert [epoch_of(s) for s in ensemble.servers] == epochs, "there was no election"
    assert lost == [], "no client is disconnected"
    for client in clients:
        client.stop()
        client.close()


def test_votes_in_the_name_of_a_stopped_server_do_not_prevent_an_election(ensemble):
    dead = ensemble.servers[2]
    said = [(port, vote(3, 1 << 40, 1 << 30)) for port in ensemble.election_ports[:2]]
    with Strangers(said) as strangers:
        wait_until(lambda: strangers.count > 100, 60, "impostors have sent votes")
        dead.kill()
        client = ensemble.client(*ensemble.servers[:2])
        client.create("/b", b"")
        client.stop()
        client.close()
    assert ensemble.leader() is not dead
