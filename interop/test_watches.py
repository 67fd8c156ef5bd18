"""Many watches: other clients are served while thousands receive an event."""
import resource
import select
import struct

import pytest

from zk.raw import Raw, ustring
from zk.server import Server, free_ports, wait_until

WATCHERS = 3000
ROUNDS = 20
TIMEOUT_MS = 600_000  # the clients send no pings


@pytest.fixture
def many_files():
    """Raises the limit of open files, also for the started servers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < WATCHERS + 200:
        pytest.skip(f"skipped: the limit of {hard} open files is too low")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, WATCHERS + 200), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_other_clients_are_answered_while_many_receive_an_event(zabkeeper_only, many_files, tmp_path):
    port, = free_ports(1)
    server = Server("zabkeeper", tmp_path, {"dataDir": tmp_path / "data", "clientPort": port, "maxClientCnxns": 0,
                                            "maxSessionTimeout": TIMEOUT_MS, "admin.enableServer": "false"}, port).start()
    try:
        wait_until(server.mode, 30, "the server serves clients")
        writer, reader = (Raw(port, timeout=10.0, session_timeout=TIMEOUT_MS) for _ in range(2))
        writer.create("/hot")
        watchers = [Raw(port, timeout=10.0, session_timeout=TIMEOUT_MS) for _ in range(WATCHERS)]
        told = select.poll()
        for watcher in watchers:
            assert watcher.call(106, ustring("/hot") + struct.pack(">i", 0))[0] == 0
            told.register(watcher.socket, select.POLLIN)
        told_before = []
        for number in range(ROUNDS):
            body = ustring("/hot") + struct.pack(">i", 0) + struct.pack(">i", -1)
            writer.send(struct.pack(">ii", 1000 + number, 5) + body)
            told.poll(10_000)
            assert reader.get("/hot")[0] == 0
            told_before.append(len(told.poll(0)))
            writer.receive()
            for watcher in watchers:
                event = watcher.receive()
                assert struct.unpack(">iqi", event[:16])[::2] == (-1, 0)
        print(f"of {WATCHERS} watchers these were told when the reader was answered: {told_before}")
        # The reader can be late for other reasons, but not each time.
        assert min(told_before) < WATCHERS
    finally:
        server.kill()
