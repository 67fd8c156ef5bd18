"""Members whose data directory is not what the others have: restored, of another ensemble, the last
copy, or with a tree of its own."""
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


def test_what_was_trusted_once_needs_no_trust_again(tmp_path):
    (port,) = free_ports(1)
    config = {"tickTime": 1000, "dataDir": tmp_path / "server" / "data", "clientPort": port,
              "4lw.commands.whitelist": "*", "preAllocSize": 1024}
    server = Server("zabkeeper", tmp_path / "server", config, port)
    try:
        server.start()
        wait_until(server.mode, 30, "it serves")
        before = tree_of(server)
        server.terminate()
        for path in (server.data / "version-2").glob("snapshot.*"):
            path.unlink()
        server.write_config({**config, "snapshot.trust.empty": "true"})
        server.start()
        wait_until(server.mode, 30, "it serves")
        server.terminate()
        server.write_config(config)
        server.start()
        wait_until(server.mode, 30, "it serves")
        assert tree_of(server) == before
    finally:
        server.kill()


def test_a_member_with_another_ensembles_directory_never_serves_it(tmp_path):
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
                                                 30, "there is a leader")) or leader.mode() is None


@pytest.mark.parametrize("others", ["zabkeeper", "apache"])
def test_the_last_good_copy_is_kept(others, request, tmp_path):
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
        # It is the seed, once the others are empty.
        for server in ensemble.servers:
            server.terminate()
        survivor.start()
        for server in ensemble.servers[:2]:
            begin_empty(server)
        ensemble.wait_serving()
        tree = assert_same_trees(ensemble.servers)
        assert {f"/precious{turn}" for turn in range(3)} <= set(tree)


@pytest.mark.parametrize("others", ["zabkeeper", "apache"])
def test_a_follower_with_another_tree_gets_the_leaders(others, request, tmp_path):
    if others == "apache":
        request.getfixturevalue("java")
    # Two ensembles with the same zxids, and one transaction that is not the same.
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
            wait_until(member.mode, 30, "it follows")
            put(ours, "/c")
            wait_until(lambda: "is not the leader's" in member.log.read_text(), 30, "it says so")
            wait_until(member.mode, 60, "it follows again")
            tree = assert_same_trees(ours.servers)
            assert "/ours" in tree and "/theirs" not in tree
            names = {path.name for path in (member.data / "version-2").iterdir()}
            assert any(name.startswith("given-up.") for name in names), names
