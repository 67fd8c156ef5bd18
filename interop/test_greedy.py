"""While a client sends expensive requests, other clients are answered, and memory stays bounded."""
import struct
import threading

import pytest

from zk.raw import OPEN_ACL, Raw, buffer, ustring
from zk.server import Server, free_ports, wait_until

CREATE, GET_DATA, MULTI, MULTI_READ, AUTH, ALL_CHILDREN, SET_WATCHES = 1, 4, 14, 22, 100, 104, 101
LIMIT_MIB = 256
MARSHALLING_ERROR = -5

pytestmark = pytest.mark.both


@pytest.fixture
def server(zabkeeper_only, tmp_path):
    port, = free_ports(1)
    server = Server("zabkeeper", tmp_path, {"dataDir": tmp_path / "data", "clientPort": port, "tickTime": 2000}, port)
    server.start()
    wait_until(server.mode, 30, "the server serves clients")
    yield server
    server.kill()


def frame(xid, op, body):
    payload = struct.pack(">ii", xid, op) + body
    return struct.pack(">i", len(payload)) + payload


def multi(op, bodies):
    parts = b"".join(struct.pack(">ibi", op, 0, -1) + body for body in bodies)
    return parts + struct.pack(">ibi", -1, 1, -1)


def look(path):
    return ustring(path) + b"\0"


def peak_mib(server):
    for line in open(f"/proc/{server.process.pid}/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")


class Greedy(threading.Thread):
    """A client that sends all its requests at once, and counts the answers."""

    def __init__(self, port, frames):
        super().__init__(daemon=True)
        self.client, self.frames, self.answers = Raw(port, timeout=60), frames, []
        for user in range(60):
            self.client.send(struct.pack(">iii", -4, AUTH, 0) + ustring("digest") + buffer(b"u%d:p" % user))
            self.client.receive()
        self.client.socket.settimeout(60)

    def run(self):
        threading.Thread(target=self.client.socket.sendall, args=(b"".join(self.frames),), daemon=True).start()
        for _ in self.frames:
            reply = self.client.receive()
            self.answers.append(struct.unpack(">iqi", reply[:16])[::2])


def long_acl():
    entries = [struct.pack(">i", 31) + ustring("ip") + ustring("10.%d.%d.0/24" % divmod(n, 250)) for n in range(20_000)]
    return struct.pack(">i", len(entries)) + b"".join(entries)


def test_other_clients_are_answered_during_expensive_requests(server):
    port = server.client_port
    maker = Raw(port, timeout=60)
    assert maker.create("/big", b"z" * 1_000_000)[0] == 0
    assert maker.create("/many")[0] == 0
    for first in range(0, 20_000, 5000):
        names = (f"/many/{n:06}" for n in range(first, first + 5000))
        creates = (ustring(name) + buffer(b"") + OPEN_ACL + struct.pack(">i", 0) for name in names)
        assert maker.call(MULTI, multi(CREATE, creates))[0] == 0
    assert maker.call(CREATE, ustring("/acl") + buffer(b"") + long_acl() + struct.pack(">i", 0))[0] == 0
    watches = b"".join(ustring(f"/nowhere/{n}") for n in range(5000))
    set_watches = struct.pack(">qii", 1 << 40, 0, 5000) + watches + struct.pack(">i", 0)
    asked = {
        "many multiReads of 1 MB parts": (MULTI_READ, multi(GET_DATA, [look("/big")] * 3000), 300, MARSHALLING_ERROR),
        "multiReads of a long ACL": (MULTI_READ, multi(GET_DATA, [look("/acl")] * 1000), 1000, 0),
        "counts of all children": (ALL_CHILDREN, ustring("/"), 100_000, 0),
        "long lists of watches": (SET_WATCHES, set_watches, 100, 0),
        "getData of 1 MB": (GET_DATA, look("/big"), 600, 0),
    }
    for what, (op, body, count, code) in asked.items():
        greedy = Greedy(port, [frame(xid, op, body) for xid in range(1, count + 1)])
        modest, between = Raw(port, timeout=60), 0
        greedy.start()
        while greedy.is_alive():
            assert modest.get("/many")[0] == 0 and modest.set("/many", b"x") == 0
            between += greedy.is_alive()
        assert greedy.answers == [(xid, code) for xid in range(1, count + 1)], what
        # A server that finishes one client before the next would serve it once or twice.
        print(f"{what}: {between} reads and writes in between")
        assert between >= 3, what
        greedy.client.close()
        modest.close()
    peak = peak_mib(server)
    print(f"peak of memory: {peak:.0f} MiB")
    assert peak < LIMIT_MIB
