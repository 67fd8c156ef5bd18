"""Ten thousand idle sessions take little memory and no threads."""
import pathlib
import resource
import socket
import struct
import time

import pytest

from zk.raw import buffer
from zk.server import Server, free_ports, wait_until

SESSIONS = 10_000
TIMEOUT_MS = 600_000  # the clients send no pings
LIMIT_MIB = 200

pytestmark = pytest.mark.both


@pytest.fixture
def many_files():
    """Raises the limit of open files, also for the started server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < SESSIONS + 200:
        pytest.skip(f"skipped: the limit of {hard} open files is too low")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, SESSIONS + 200), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def threads(server):
    return len(list(pathlib.Path(f"/proc/{server.process.pid}/task").iterdir()))


def open_sessions(port, count):
    """Opens `count` sockets, each with a session."""
    handshake = struct.pack(">iqiq", 0, 0, TIMEOUT_MS, 0) + buffer(b"\0" * 16) + b"\0"
    sockets = []
    for _ in range(count):
        sockets.append(socket.create_connection(("127.0.0.1", port), timeout=30))
        sockets[-1].sendall(struct.pack(">i", len(handshake)) + handshake)
    for one in sockets:
        reply = one.recv(100)
        assert struct.unpack(">i", reply[8:12]) == (TIMEOUT_MS,), reply
    return sockets


def test_idle_sessions_take_little_memory(zabkeeper_only, many_files, tmp_path):
    port, = free_ports(1)
    server = Server("zabkeeper", tmp_path, {"dataDir": tmp_path / "data", "clientPort": port, "maxClientCnxns": 0,
                                            "maxSessionTimeout": TIMEOUT_MS, "tickTime": 2000}, port).start()
    sockets = []
    try:
        wait_until(server.mode, 30, "the server serves clients")
        threads_before, rss_before = threads(server), server.rss_kib()
        began = time.monotonic()
        while len(sockets) < SESSIONS:
            sockets += open_sessions(port, 500)
        took = time.monotonic() - began
        rss = server.rss_kib()
        print(f"\n{SESSIONS} sessions in {took:.1f} s: {threads(server)} threads (before {threads_before}), "
              f"{rss / 1024:.1f} MiB (before {rss_before / 1024:.1f})")
        assert threads(server) == threads_before
        assert rss < LIMIT_MIB * 1024
    finally:
        for one in sockets:
            one.close()
        server.kill()
