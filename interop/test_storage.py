"""A data directory moves from Apache ZooKeeper to zabkeeper and back, in every version and compression;
`zabkeeper inspect` finds it sound each time."""
import base64
import json
import re
import shutil
import subprocess

import pytest

from kazoo.client import KazooClient
from zk import parts
from zk.ensemble import tree_of
from zk.server import Server, free_ports, wait_until

GOLDEN = parts.ROOT / "core" / "testdata" / "storage"

FIELDS = ["czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion", "ephemeralOwner",
          "dataLength", "numChildren", "pzxid"]

# The lines of Apache ZooKeeper and of zabkeeper about a tree whose digest is not the logged one.
WRONG_DIGEST = re.compile(r"digest mismatch|the digest of this server's tree")

pytestmark = pytest.mark.usefixtures("zabkeeper_only", "java")


def fill(client, prefix):
    client.create(f"/{prefix}", b"root", makepath=True)
    for i in range(200):
        client.create(f"/{prefix}/n-", bytes([i]) * i, sequence=True)
    for i in range(0, 200, 3):
        client.set(f"/{prefix}/n-{i:010}", b"changed")
    for i in range(0, 200, 7):
        client.delete(f"/{prefix}/n-{i:010}")
    t = client.transaction()
    t.create(f"/{prefix}/t1", b"1")
    t.create(f"/{prefix}/t2", b"2")
    t.commit()
    client.create(f"/{prefix}/gone", ephemeral=True)


def inspect(*arguments):
    done = subprocess.run([parts.binary(), "inspect", *arguments], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def assert_sound(data):
    code, said = inspect("--summary", data)
    assert code == 0, said
    return said


def settings(data, port, **more):
    return {"dataDir": data, "clientPort": port, "tickTime": 1000, "preAllocSize": 1024,
            "4lw.commands.whitelist": "*", "admin.enableServer": "false", "snapCount": 150,
            "extendedTypesEnabled": "true", **more}


def turns(impls_and_methods, data, logs, tmp_path):
    """Each server opens the directory of the one before, shows the same tree, and writes more."""
    (port,) = free_ports(1)
    before = None
    for turn, (impl, method) in enumerate(impls_and_methods):
        config = settings(data, port, dataLogDir=logs, **{"snapshot.compression.method": method})
        server = Server(impl, tmp_path / f"{turn}", config, port)
        server.start()
        try:
            wait_until(server.mode, 60, f"{impl} serves")
            if before is not None:
                assert tree_of(server) == before, f"{impl} shows another tree"
            client = KazooClient(hosts=server.address)
            client.start(timeout=10)
            fill(client, f"{impl}-{turn}")
            client.stop()
            client.close()
            before = tree_of(server)
            # Killed in every second turn: the log must be enough.
            if turn % 2:
                server.kill()
            else:
                server.terminate()
            assert not WRONG_DIGEST.search(server.log.read_text()), "the tree differs from its writer's"
        finally:
            server.kill()
        said = assert_sound(data) if data == logs else inspect("--summary", data, "--log-dir", logs)[1]
        assert "standalone server would start" in said, said
        newest = max((data / "version-2").glob("snapshot.*"), key=lambda path: int(path.name.split(".")[1], 16))
        assert newest.suffix == (f".{method}" if method else newest.suffix), (impl, method, newest)
        yield


def java_versions():
    """3.9.5, and 3.8 where it is installed."""
    return ["apache"] if parts.missing_java_38() else ["apache", "apache-3.8"]


def test_directory_moves_there_and_back(tmp_path):
    data = tmp_path / "data"
    oldest = java_versions()[-1]
    order = [oldest, "zabkeeper", "apache", "zabkeeper", oldest]
    for _ in turns([(impl, "") for impl in order], data, data, tmp_path):
        pass


def test_compressed_snapshots_and_a_log_directory(tmp_path):
    data, logs = tmp_path / "data", tmp_path / "logs"
    order = [("apache", "gz"), ("zabkeeper", "snappy"), ("apache", "snappy"), ("zabkeeper", "gz"),
             (java_versions()[-1], "")]
    for _ in turns(order, data, logs, tmp_path):
        # Older snapshots are deleted: a server would fall back to them if it could not read the newest.
        snapshots = sorted((data / "version-2").glob("snapshot.*"), key=lambda path: path.stat().st_mtime)
        for old in snapshots[:-1]:
            old.unlink()
    assert list((logs / "version-2").glob("log.*")) and not list((data / "version-2").glob("log.*"))


@pytest.mark.parametrize("version", ["3.8.0", "3.9.5"])
def test_directories_of_older_versions(version, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(GOLDEN / version, data / "version-2")
    for other in (data / "version-2").glob("tree*"):
        other.unlink()
    for compressed in (data / "version-2").glob("snapshot.38.*"):
        compressed.unlink()
    expected = json.loads((GOLDEN / version / "tree-after-b.json").read_text())["nodes"]
    (port,) = free_ports(1)
    trees = []
    for impl in ["zabkeeper", "apache" if version == "3.9.5" else java_versions()[-1]]:
        assert_sound(data)
        server = Server(impl, tmp_path / impl, settings(data, port), port).start()
        try:
            wait_until(server.mode, 60, f"{impl} serves")
            trees.append(tree_of(server))
            server.terminate()
        finally:
            server.kill()
        assert not WRONG_DIGEST.search(server.log.read_text())
    assert all(tree == trees[0] for tree in trees)
    for path, (content, stat) in trees[0].items():
        node = expected.pop(path)
        if content != "NoAuth":
            assert content == (None if node["data"] is None else base64.b64decode(node["data"])), path
            assert stat == tuple(node["stat"][field] for field in FIELDS), path
    assert set(expected) <= {"/zookeeper/config"}


def test_diff_reports_differences_of_two_directories(tmp_path):
    (port,) = free_ports(1)
    data, copy = tmp_path / "data", tmp_path / "copy"
    # With this threshold every sync is slow.
    config = settings(data, port, **{"fsync.warningthresholdms": 0})
    server = Server("zabkeeper", tmp_path / "server", config, port).start()
    try:
        wait_until(server.mode, 20, "the server serves clients")
        client = KazooClient(hosts=server.address)
        client.start(timeout=10)
        client.create("/both", b"same")
        assert "slow sync of" in server.log.read_text()
        client.stop()
        client.close()
        server.terminate()
        shutil.copytree(data, copy)
        code, said = inspect("--diff", data, copy)
        assert code == 0, said
        server.start()
        wait_until(server.mode, 20, "the server serves clients again")
        client = KazooClient(hosts=server.address)
        client.start(timeout=10)
        client.create("/one", b"more")
        client.set("/both", b"other")
        client.stop()
        client.close()
        server.terminate()
    finally:
        server.kill()
    code, said = inspect("--diff", data, copy)
    assert code == 1, said
    assert "/one: only in A" in said and "/both: data 5 bytes" in said, said
    code, said = inspect("--json", data)
    last = json.loads(said.splitlines()[-1])
    assert code == 0 and last["recovery"]["outcome"] == "starts", said


def test_inspect_agrees_with_zookeepers_tools(tmp_path):
    """TxnLogToolkit and SnapshotRecursiveSummary of 3.9.5 show the same transactions and sizes."""
    def java(tool, *arguments):
        command = ["java", "-cp", parts.classpath(), f"org.apache.zookeeper.server.{tool}", *arguments]
        return subprocess.run(command, capture_output=True, timeout=60).stdout.decode(errors="replace")

    # TxnLogToolkit finds the end of a log by its padding.
    log = tmp_path / "log.2843"
    log.write_bytes((GOLDEN / "fuzzy-3.9.5" / log.name).read_bytes() + bytes(4096))
    transaction = re.compile(r"session (0x\w+) cxid (0x\w+) zxid (0x\w+) (\w+)")
    theirs = transaction.findall(java("persistence.TxnLogToolkit", "-d", str(log)))
    assert len(theirs) == 1303 and theirs == transaction.findall(inspect(log)[1])
    snapshot = GOLDEN / "fuzzy-3.9.5" / "snapshot.27b7"
    theirs = java("SnapshotRecursiveSummary", str(snapshot), "/", "1")
    theirs = dict(re.findall(r"(?m)^-* (/\S*)$\n-*   children: (\d+)$", theirs))
    ours = dict(re.findall(r"(?m)^ +(/\S*) (\d+) znodes?,", inspect(snapshot)[1]))
    assert len(theirs) == 6 and theirs == {path: str(int(n) - 1) for path, n in ours.items()}


def test_reader_that_closes_the_pipe_is_no_failure(tmp_path):
    """As with `zabkeeper inspect LOG | head`."""
    log = GOLDEN / "fuzzy-3.9.5" / "log.2159"
    reader = subprocess.Popen([parts.binary(), "inspect", "--json", log], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    first = json.loads(reader.stdout.readline())
    reader.stdout.close()
    assert first["type"] == "transaction" and first["zxid"] == "0x2159"
    assert reader.wait(20) == 0 and reader.stderr.read() == ""
