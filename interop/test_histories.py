"""Members whose data directory differs from the others': a restored one, that of another ensemble, the
last copy, or a diverged tree."""
import shutil
import time

import pytest

from zk.ensemble import Ensemble, assert_same_trees, tree_of
from zk.server import Server, free_ports, wait_until

pytestmark = pytest.mark.usefixtures("zabkeeper_only")


def files(server):
    names = (path.name for path in (server.data / "version-2").iterdir())
    return {name for name in names if name.startswith(("log.", "snapshot."))}


def put(ensemble, *paths):
    client = ensemble.client()
    for path in paths:
        client.create(path, path.encode())
    client.stop()
    client.close()


def stop(ensemble):
    for server in ensemble.servers:
        server.terminate()


def begin_empty(server):
    shutil.rmtree(server.data / "version-2")
    server.start()


def swap_directory(server, other):
    shutil.rmtree(server.data / "version-2")
    shutil.copytree(other.data / "version-2", server.data / "version-2")


def test_members_restored_without_epoch_files_start(tmp_path):
    with Ensemble("zabkeeper", tmp_path) as ensemble:
        for turn in range(2):
            put(ensemble, f"/kept{turn}")
            before = tree_of(ensemble.leader())
            stop(ensemble)
            if turn == 1:
                for server in ensemble.servers:
                    for name in ("currentEpoch", "acceptedEpoch"):
                        (server.data / "version-2" / name).unlink()
            ensemble.start()
        assert "/kept0" in before and "/kept1" in before
        assert assert_same_trees(ensemble.servers) == before
        for server in ensemble.servers:
            assert "no epoch file is there" in server.log.read_text()


def test_trusted_empty_snapshot_needs_no_second_trust(tmp_path):
    (port,) = free_ports(1)
    config = {"tickTime": 1000, "dataDir": tmp_path / "server" / "data", "clientPort": port,
              "4lw.commands.whitelist": "*", "preAllocSize": 1024}
    server = Server("zabkeeper", tmp_path / "server", config, port)
    try:
        server.start()
        wait_until(server.mode, 30, "the server serves clients")
        before = tree_of(server)
        server.terminate()
        for path in (server.data / "version-2").glob("snapshot.*"):
            path.unlink()
        server.write_config({**config, "snapshot.trust.empty": "true"})
        server.start()
        wait_until(server.mode, 30, "the server serves clients")
        server.terminate()
        server.write_config(config)
        server.start()
        wait_until(server.mode, 30, "the server serves clients")
        assert tree_of(server) == before
    finally:
        server.kill()


def test_directory_of_another_ensemble_is_never_served(tmp_path):
    with Ensemble("zabkeeper", tmp_path / "theirs") as theirs:
        for turn in range(3):
            put(theirs, f"/theirs{turn}")
            stop(theirs)
            theirs.start()
        stop(theirs)
        with Ensemble("zabkeeper", tmp_path / "ours") as ours:
            put(ours, "/ours")
            leader = ours.leader()
            stranger = ours.followers()[0]
            stranger.terminate()
            swap_directory(stranger, theirs.servers[0])
            before = files(stranger)
            stranger.start()
            time.sleep(6)
            if stranger.mode() is not None:
                assert "/ours" in tree_of(stranger) and "/theirs0" not in tree_of(stranger)
            kept = {path.name for path in (stranger.data / "version-2").iterdir()}
            missing = {name for name in before if not any(one.endswith(name) for one in kept)} - {"snapshot.0"}
            assert not missing, f"{missing} of {before}"
            assert "/ours" in tree_of(wait_until(lambda: next((s for s in ours.servers if s.mode() == "leader"), None),
                                                 30, "a server leads")) or leader.mode() is None


@pytest.mark.parametrize("others", ["zabkeeper", "apache"])
def test_last_good_copy_is_kept(others, request, tmp_path):
    if others == "apache":
        request.getfixturevalue("java")
    with Ensemble([others, others, "zabkeeper"], tmp_path) as ensemble:
        survivor = ensemble.servers[2]
        for turn in range(3):
            put(ensemble, f"/precious{turn}")
            stop(ensemble)
            if turn < 2:
                ensemble.start()
        before = files(survivor)
        for server in ensemble.servers[:2]:
            begin_empty(server)
        ensemble.wait_serving()
        put(ensemble, "/new")
        survivor.start()
        time.sleep(8)
        assert survivor.mode() not in ("follower", "observer"), survivor.log_tail()
        kept = {path.name for path in (survivor.data / "version-2").iterdir()}
        assert before <= kept | {"snapshot.0"}, f"{before} and {kept}"
        assert survivor.running()
        # Once the other directories are empty, it provides the state.
        for server in ensemble.servers:
            server.terminate()
        survivor.start()
        for server in ensemble.servers[:2]:
            begin_empty(server)
        ensemble.wait_serving()
        tree = assert_same_trees(ensemble.servers)
        assert {f"/precious{turn}" for turn in range(3)} <= set(tree)


@pytest.mark.parametrize("others", ["zabkeeper", "apache"])
def test_diverged_follower_takes_the_leaders_state(others, request, tmp_path):
    if others == "apache":
        request.getfixturevalue("java")
    # Two ensembles with the same zxids that differ in one transaction.
    with Ensemble([others, "zabkeeper", others], tmp_path / "theirs") as theirs:
        put(theirs, "/a", "/theirs", "/b")
        stop(theirs)
        with Ensemble([others, "zabkeeper", others], tmp_path / "ours") as ours:
            put(ours, "/a", "/ours", "/b")
            member = ours.servers[1]
            assert member.mode() == "follower"
            member.terminate()
            swap_directory(member, theirs.servers[1])
            member.start()
            wait_until(member.mode, 30, "the member follows")
            put(ours, "/c")
            wait_until(lambda: "is not the leader's" in member.log.read_text(), 30, "the member reports the digest")
            wait_until(member.mode, 60, "the member follows again")
            tree = assert_same_trees(ours.servers)
            assert "/ours" in tree and "/theirs" not in tree
            names = {path.name for path in (member.data / "version-2").iterdir()}
            assert any(name.startswith("given-up.") for name in names), names
