"""Local sessions: known to one server only, until they create an ephemeral node."""
import re
import struct
import time

import pytest

from zk.ensemble import Ensemble
from zk.raw import Raw, ustring
from zk.server import wait_until

CLOSE, EPHEMERAL, ON_LOCAL_SESSION = -11, 1, -120


def zxid(server):
    return int(re.search("Zxid: (0x[0-9a-f]+)", server.words("srvr"))[1], 16)


def figure(server, name):
    return int(re.search(f"^zk_{name}\t(\\d+)$", server.words("mntr"), re.MULTILINE)[1])


def known(server, client):
    """Tries to continue the client's session on a server."""
    try:
        return Raw(server.client_port, session=(client.session, client.password))
    except EOFError:
        return None


def owner(client, path):
    error, _, stat = client.call(3, ustring(path) + b"\0")
    return struct.unpack(">q", stat[44:52])[0] if error == 0 else None


@pytest.fixture(params=["leader", "follower"])
def role(request):
    return request.param


def chosen(ensemble, role):
    return ensemble.leader() if role == "leader" else ensemble.followers()[0]


def test_local_session_needs_no_transaction(impl, tmp_path, role):
    with Ensemble(impl, tmp_path, localSessionsEnabled="true") as ensemble:
        server = chosen(ensemble, role)
        elsewhere = next(s for s in ensemble.servers if s is not server)
        before = zxid(server)
        client = Raw(server.client_port, timeout=10)
        assert zxid(server) == before, "the handshake takes no transaction"
        assert client.session >> 56 == server.sid
        assert client.create("/kept", b"x") == (0, "/kept")
        assert client.create("/mine", flags=EPHEMERAL)[0] == ON_LOCAL_SESSION
        assert client.get("/kept") == (0, b"x"), "the session is alive"
        assert figure(server, "local_sessions") == 1
        assert known(elsewhere, client) is None, "no other server knows the session"
        again = known(server, client)
        assert again and again.get("/kept") == (0, b"x")
        again.xid = 10
        before = zxid(server)
        assert again.call(CLOSE, b"")[0] == 0
        assert known(server, client) is None, "the session has ended"
        assert zxid(server) == before, "its end takes no transaction"
        assert figure(server, "local_sessions") == 0


def test_silent_local_session_expires(impl, tmp_path):
    with Ensemble(impl, tmp_path, localSessionsEnabled="true") as ensemble:
        server = ensemble.followers()[0]
        client = Raw(server.client_port, timeout=20, session_timeout=2000)
        began = time.monotonic()
        with pytest.raises((EOFError, ConnectionError)):
            client.receive()
        assert 1.5 < time.monotonic() - began < 8
        wait_until(lambda: known(server, client) is None, 10, "the session has expired")


UPGRADING = {"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"}


def test_first_ephemeral_upgrades_a_local_session(impl, tmp_path, role):
    with Ensemble(impl, tmp_path, **UPGRADING) as ensemble:
        server = chosen(ensemble, role)
        upgrade(ensemble, server, next(s for s in ensemble.servers if s is not server))


def upgrade(ensemble, server, elsewhere):
    """Upgrades a local session of `server` to a global one, known to `elsewhere`."""
    client = Raw(server.client_port, timeout=10)
    assert figure(server, "global_sessions") == 0
    assert client.create("/plain")[0] == 0
    assert figure(server, "global_sessions") == 0
    assert client.create("/mine", flags=EPHEMERAL) == (0, "/mine")
    assert owner(client, "/mine") == client.session
    assert figure(server, "global_sessions") == 1
    assert figure(server, "local_sessions") == 0
    moved = known(elsewhere, client)
    assert moved, "every server knows the session"
    moved.xid = 10
    assert moved.create("/mine too", flags=EPHEMERAL)[0] == 0
    assert moved.call(CLOSE, b"")[0] == 0
    other = ensemble.client(server)
    other.sync("/")
    assert sorted(other.get_children("/")) == ["plain", "zookeeper"]
    other.stop()
    other.close()
