"""A server without a leader serves reads to read-only clients."""
import struct

import pytest
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import NotReadOnlyCallError
from kazoo.protocol.states import KeeperState

from zk.ensemble import Ensemble
from zk.raw import NoSession, Raw, ustring
from zk.server import wait_until

NOT_READ_ONLY = -119
SYNC, CLOSE = 9, -11


def ensemble_of(impl, directory, **extra):
    return Ensemble(impl, directory, **{"readonlymode.enabled": "true"}, **extra)


def cut_off(ensemble):
    """Stops two servers; returns the third one, once it serves reads."""
    alone, *others = ensemble.servers
    for server in others:
        server.kill()
    wait_until(lambda: alone.words("isro") == "ro", 30, "reads are served")
    return alone, others


def test_reads_continue_without_a_leader(impl, tmp_path):
    with ensemble_of(impl, tmp_path, localSessionsEnabled="true") as ensemble:
        client = ensemble.client()
        client.create("/kept", b"x")
        client.stop()
        assert ensemble.servers[0].words("isro") == "rw"
        wait_until(lambda: len({s.words("srvr").split("Zxid: ")[1].split()[0]
                                for s in ensemble.servers}) == 1, 10, "all servers have the same zxid")
        alone, others = cut_off(ensemble)
        assert "Mode: read-only" in alone.words("srvr")
        hosts = ensemble.connect_string
        client = KazooClient(hosts=hosts, timeout=4, read_only=True)
        client.start(timeout=30)
        try:
            assert client.client_state == KeeperState.CONNECTED_RO
            assert client.get("/kept")[0] == b"x"
            assert client.exists("/no such node") is None
            for refused in (lambda: client.create("/new"), lambda: client.set("/kept", b"y"),
                            lambda: client.delete("/kept"), lambda: client.sync("/")):
                with pytest.raises(NotReadOnlyCallError):
                    refused()
            assert client.get("/kept")[0] == b"x"
            for server in others:
                server.start()
            wait_until(lambda: client.client_state == KeeperState.CONNECTED, 40, "the client may write again")
            assert client.retry(client.set, "/kept", b"y").version == 1
            assert client.state == KazooState.CONNECTED
        finally:
            client.stop()
            client.close()
        assert alone.words("isro") == "rw"


def test_read_only_server_admits_read_only_clients(impl, tmp_path):
    with ensemble_of(impl, tmp_path) as ensemble:
        known = Raw(ensemble.servers[1].client_port, timeout=10, session_timeout=20000)
        assert known.create("/kept", b"x")[0] == 0
        for server in ensemble.servers:
            assert Raw(server.client_port, timeout=10).call(SYNC, ustring("/"))[0] == 0
        alone, _ = cut_off(ensemble)
        with pytest.raises((EOFError, ConnectionError)):
            Raw(alone.client_port, timeout=10)  # a read-write client
        with pytest.raises(NoSession) as told:
            Raw(alone.client_port, timeout=10, read_only=True)
        assert (told.value.xid, told.value.error) == (0, NOT_READ_ONLY)
        with pytest.raises((EOFError, ConnectionError)):  # no server knows whether the session is alive
            Raw(alone.client_port, timeout=10, session=(known.session, known.password), read_only=True)


def test_session_of_a_read_only_server(impl, tmp_path):
    with ensemble_of(impl, tmp_path, localSessionsEnabled="true") as ensemble:
        alone, _ = cut_off(ensemble)
        client = Raw(alone.client_port, timeout=10, read_only=True)
        assert client.is_read_only
        assert client.create("/new")[0] == NOT_READ_ONLY
        assert client.call(14, struct.pack(">ibi", -1, 1, -1))[0] == NOT_READ_ONLY  # an empty multi
        assert client.get("/zookeeper")[0] == 0
        again = Raw(alone.client_port, timeout=10, session=(client.session, client.password),
                    read_only=True)
        assert again.is_read_only and again.get("/zookeeper")[0] == 0
        again.xid = 10
        assert again.call(CLOSE, b"")[0] == 0
        with pytest.raises(EOFError):
            Raw(alone.client_port, timeout=10, session=(client.session, client.password),
                read_only=True)
