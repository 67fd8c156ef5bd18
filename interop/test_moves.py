"""A client moves to another server during a write, and numbers its requests from 1 again, as kazoo does:
the reply to the earlier write answers none of the later requests."""
import pathlib
import shutil
import subprocess
import time

import pytest

from zk.ensemble import Ensemble, assert_same_trees
from zk.raw import Raw, ustring
from zk.server import wait_until

OURS, JAVA = "zabkeeper", "apache"
BAD_VERSION = -103
# The members (among equals, the one with the highest id leads), and the servers before and after the move.
WAYS = {
    "follower to follower": ([OURS] * 3, 1, 2),
    "follower to leader": ([OURS] * 3, 1, 3),
    "leader to follower": ([OURS] * 3, 3, 1),
    "follower to itself": ([OURS] * 3, 1, 1),
    "leader to itself": ([OURS] * 3, 3, 3),
    "Java's follower to follower": ([JAVA, OURS, OURS], 1, 2),
    "Java's follower to leader": ([JAVA, OURS, OURS], 1, 3),
    "under Java's leader": ([OURS, OURS, JAVA], 1, 2),
    "under Java's leader to itself": ([OURS, OURS, JAVA], 1, 1),
    "from Java's leader": ([OURS, OURS, JAVA], 3, 1),
    "Java's follower under Java's leader": ([OURS, JAVA, JAVA], 2, 1),
}
QUICK = ["follower to follower", "leader to itself", "Java's follower to leader", "under Java's leader"]


class Slow:
    """Servers with slow syncs on demand."""

    def __init__(self, ensemble, library, directory):
        self.file = directory / "slow"
        self.set(0)
        for server in ensemble.servers:
            server.within = ["env", f"LD_PRELOAD={library}", f"SLOW_SYNC={self.file}"]

    def set(self, ms):
        self.file.write_text(str(ms))


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    if not shutil.which("gcc"):
        pytest.skip("skipped: no gcc, which the slow disk needs")
    library = tmp_path_factory.mktemp("slow") / "slow_sync.so"
    source = pathlib.Path(__file__).parent / "zk/slow_sync.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    return library


@pytest.mark.parametrize("way", WAYS)
def test_reply_is_not_taken_for_that_of_another_request(zabkeeper_only, request, quick, library, way, tmp_path):
    if quick and way not in QUICK:
        pytest.skip("skipped: only without --quick")
    impls, here, there = WAYS[way]
    if JAVA in impls:
        request.getfixturevalue("java")
    ensemble = Ensemble(impls, tmp_path)
    slow = Slow(ensemble, library, tmp_path)
    with ensemble:
        here, there = ensemble.servers[here - 1], ensemble.servers[there - 1]
        owner = Raw(here.client_port, timeout=30, session_timeout=20000)
        assert owner.create("/a", b"0")[0] == 0 and owner.create("/l")[0] == 0
        wait_until(lambda: Raw(there.client_port).get("/a")[1] == b"0", 10, "the other server has the write")
        for second in ("set", "create"):
            client = Raw(here.client_port, timeout=30, session_timeout=20000)
            slow.set(2000)
            body = ustring("/a") + b"\0\0\0\2W1" + b"\xff\xff\xff\xff"
            client.send(b"\0\0\0\1" + b"\0\0\0\5" + body)
            time.sleep(0.3)
            client.close()
            session = (client.session, client.password)
            again = Raw(there.client_port, timeout=30, session=session, session_timeout=20000)
            asked = time.monotonic()
            if second == "set":
                assert again.set("/a", b"W2", version=999) == BAD_VERSION
            else:
                assert again.create("/l/second-", flags=2)[1].startswith("/l/second-")
            print(f"{way}: {second} is answered after {time.monotonic() - asked:.1f} s")
            slow.set(0)
            assert again.get("/a") == (0, b"W1")
            again.call(-11, b"")
        assert_same_trees(ensemble.servers)


def test_kazoo_receives_the_reply_to_its_own_request(zabkeeper_only, library, tmp_path):
    """The server is killed during a create; the client moves to the next one and creates another node."""
    ensemble = Ensemble(OURS, tmp_path)
    slow = Slow(ensemble, library, tmp_path)
    with ensemble:
        one, two = ensemble.servers[:2]
        client = ensemble.client(one, two, timeout=20.0, randomize_hosts=False)
        client.create("/l")
        session, states = client.client_id, []
        client.add_listener(states.append)
        slow.set(2500)
        client.create_async("/l/one-", sequence=True)
        time.sleep(0.3)
        one.kill()
        wait_until(lambda: "SUSPENDED" in states, 20, "the connection is lost")
        wait_until(lambda: client.connected, 20, "the client is connected again")
        assert client.client_id == session
        assert client.create("/l/two-", sequence=True).startswith("/l/two-")
        slow.set(0)
        names = client.get_children("/l")
        assert len([name for name in names if name.startswith("two-")]) == 1, names
        client.stop()
        client.close()
