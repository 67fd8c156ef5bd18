"""Members are added and removed under load, by kazoo and zkCli, under either kind of leader."""
import re
import struct
import subprocess
import time

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import BadArgumentsError, BadVersionError, MarshallingError, NewConfigNoQuorumError, NoAuthError

from test_crash import begin, check, end, wait_for_service
from zk import parts
from zk.ensemble import Ensemble, assert_same_trees
from zk.raw import Raw, buffer, ustring
from zk.server import Server, free_ports, wait_until

SUPER = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="  # super:test


class Reconfigurable(Ensemble):
    """Three members, and further servers that can be added."""

    def __init__(self, impls, directory, **extra):
        impls = [impls] * 5 if isinstance(impls, str) else list(impls)
        self.directory, ports = directory, free_ports(3 * len(impls))
        self.ports = {i + 1: ports[3 * i:3 * i + 3] for i in range(len(impls))}
        self.extra = {
            "tickTime": 1000, "initLimit": 10, "syncLimit": 5, "maxClientCnxns": 0, "reconfigEnabled": "true",
            "standaloneEnabled": "false", "4lw.commands.whitelist": "*", "preAllocSize": 1024,
            "admin.enableServer": "false", "DigestAuthenticationProvider.superDigest": SUPER, **extra,
        }
        self.servers = [self.make(impl, i + 1) for i, impl in enumerate(impls[:3])]
        self.others = [self.make(impl, i + 4, joins=True) for i, impl in enumerate(impls[3:])]

    def line(self, sid, client=None, role="participant"):
        port, quorum, election = self.ports[sid]
        return f"127.0.0.1:{quorum}:{election}:{role};127.0.0.1:{client or port}"

    def make(self, impl, sid, joins=False):
        ids = [1, 2, 3] + ([sid] if joins else [])
        members = {f"server.{i}": self.line(i) for i in ids}
        directory = self.directory / f"server{sid}"
        config = {**self.extra, "dataDir": directory / "data", **members}
        server = Server(impl, directory, config, self.ports[sid][0], sid)
        server.jvm_options += [f"-Dzookeeper.DigestAuthenticationProvider.superDigest={SUPER}"]
        return server

    def __exit__(self, kind, error, trace):
        for server in self.servers + self.others:
            server.kill()

    def admin(self, *servers):
        client = self.client(*servers)
        client.add_auth("digest", "super:test")
        return client


def members_of(text):
    return sorted(int(sid) for sid in re.findall(r"^server\.(\d+)=", text, re.MULTILINE))


def shows(server, ids):
    """Whether /zookeeper/config of a server lists these members."""
    client = KazooClient(hosts=server.address, timeout=10.0)
    try:
        client.start(timeout=10)
        data, stat = client.get("/zookeeper/config")
        text = data.decode()
        version = int(text.rsplit("version=", 1)[1], 16)
        return members_of(text) == sorted(ids) and stat.version == -1 and stat.mzxid == version and text
    except Exception:
        return None
    finally:
        client.stop()
        client.close()


def files_of(server):
    """The dynamic file of zoo.cfg: name, text and version. zoo.cfg itself must not contain its lines."""
    static = server.config.read_text()
    pointer = re.findall(r"^dynamicConfigFile=(.*)$", static, re.MULTILINE)
    assert len(pointer) == 1 and not re.search(r"^(server\.|clientPort=)", static, re.MULTILINE), static
    assert pointer[0].startswith(f"{server.config}.dynamic."), static
    with open(pointer[0]) as dynamic:
        text = dynamic.read()
    assert "version" not in text and not text.endswith("\n")
    return text, int(pointer[0].rsplit(".", 1)[1], 16)


def reconfig(ensemble, through, joining=None, leaving=None, members=None, version=-1):
    admin = ensemble.admin(*through)
    try:
        data, stat = admin.reconfig(joining, leaving, members, version)
        return data.decode(), stat
    finally:
        admin.stop()
        admin.close()


@pytest.mark.parametrize("impls", ["zzzzz", "zazaz", "azaza", "aazzz"])
def test_ensemble_grows_to_five_and_shrinks_to_three_under_load(impl, java, quick, impls, tmp_path):
    names = {"z": "zabkeeper", "a": "apache"}
    if impl == "apache":
        impls = "aaaaa"
    elif quick and impls in ("zazaz", "aazzz"):
        pytest.skip("skipped: --quick")
    with Reconfigurable([names[i] for i in impls], tmp_path) as ensemble:
        writers = begin(ensemble, 3)
        for server in ensemble.others:
            server.start()
        for server in ensemble.others:
            wait_until(server.mode, 60, f"server {server.sid} follows")
        wait_for_service(writers)
        joining = ",".join(f"server.{s.sid}={ensemble.line(s.sid)}" for s in ensemble.others)
        text, stat = reconfig(ensemble, ensemble.servers, joining=joining)
        assert members_of(text) == [1, 2, 3, 4, 5] and stat.version == -1
        every = ensemble.servers + ensemble.others
        for server in every:
            wait_until(lambda s=server: shows(s, [1, 2, 3, 4, 5]), 30, f"server {server.sid} has the five members")
        wait_for_service(writers)

        # The leader and another member are removed.
        leader = next(s for s in every if s.mode() == "leader")
        other = next(s for s in every if s is not leader and s.sid != 1)
        left = sorted(s.sid for s in every if s not in (leader, other))
        text, _ = reconfig(ensemble, [leader], leaving=f"{leader.sid},{other.sid}")
        assert members_of(text) == left, "the removed leader has replied"
        stay = [s for s in every if s.sid in left]
        for server in stay:
            wait_until(lambda s=server: shows(s, left), 30, f"server {server.sid} has {left}")
        wait_until(lambda: any(s.mode() == "leader" for s in stay), 30, "a remaining member leads")
        for writer in writers:
            writer.ports[:] = [s.client_port for s in stay]
        leader.kill()
        other.kill()
        wait_for_service(writers)
        end(writers)
        check(assert_same_trees(stay), writers)
        versions = {files_of(server) for server in stay}
        assert len(versions) == 1 and members_of(versions.pop()[0]) == left
        for server in stay:
            assert not (server.dir / "zoo.cfg.dynamic.next").exists()
            assert "server.1=" in (server.dir / "zoo.cfg.bak").read_text()
        # The members restart with the written files.
        for server in stay:
            server.kill()
        for server in stay:
            server.start()
        wait_until(lambda: any(s.mode() == "leader" for s in stay), 60, "a leader is elected again")
        for server in stay:
            wait_until(lambda s=server: shows(s, left), 30, f"server {server.sid} still has {left}")
        check(assert_same_trees(stay), writers)


def test_stale_member_list_is_replaced(impl, tmp_path):
    with Reconfigurable([impl] * 4, tmp_path) as ensemble:
        fourth = ensemble.others[0].start()
        wait_until(fourth.mode, 60, "server 4 follows")
        stale = next(s for s in ensemble.servers if s.mode() == "follower")
        stale.kill()
        reconfig(ensemble, [ensemble.leader()], joining=f"server.4={ensemble.line(4)}")
        stale.start()
        wait_until(lambda: shows(stale, [1, 2, 3, 4]), 60, "the server has the newer list")
        assert members_of(files_of(stale)[0]) == [1, 2, 3, 4]


def test_invalid_reconfigurations_are_refused(impl, tmp_path):
    with Reconfigurable([impl] * 3, tmp_path, standaloneEnabled="true") as ensemble:
        leader = ensemble.leader()
        goes = next(s.sid for s in ensemble.servers if s is not leader)
        client = ensemble.client(leader)
        with pytest.raises(NoAuthError):
            client.reconfig(None, "3", None)
        client.add_auth("digest", "super:test")
        text, _ = client.get("/zookeeper/config")
        version = int(text.decode().rsplit("version=", 1)[1], 16)
        assert version & 0xffffffff == 0 and version >> 32 > 0, "the version of the first epoch"
        free = free_ports(3)
        fourth = f"server.4=127.0.0.1:{free[0]}:{free[1]};{free[2]}"
        for joining, leaving, members, old, error in [
            (None, "3", None, 12345, BadVersionError),
            (None, None, "bogus", -1, BadArgumentsError),
            (None, "x", None, -1, MarshallingError),
            (None, "2,3", None, -1, BadArgumentsError),
            ("server.4=a:1", None, None, -1, BadArgumentsError),
            (f"server.4=127.0.0.1:{free[0]}:{free[1]}", None, None, -1, BadArgumentsError),
            (None, "2,3", None, version, BadArgumentsError),
            (None, None, f"{fourth},server.5=127.0.0.1:1:2;3", -1, NewConfigNoQuorumError),
            (None, None, "server.1=127.0.0.1:1:2:observer;3", -1, MarshallingError),
        ]:
            with pytest.raises(error):
                client.reconfig(joining, leaving, members, old)
        assert client.get("/zookeeper/config")[0] == text
        told = []
        client.get("/zookeeper/config", watch=told.append)
        data, stat = client.reconfig(None, str(goes), None, version)
        assert members_of(data.decode()) == sorted({1, 2, 3} - {goes}) and stat.data_length == len(data)
        wait_until(lambda: told, 10, "the watch fires")
        assert (told[0].type, told[0].path) == ("CHANGED", "/zookeeper/config")
        client.stop()


def test_reconfig_is_refused_unless_enabled(impl, tmp_path):
    with Reconfigurable([impl] * 3, tmp_path, reconfigEnabled="false") as ensemble:
        raw = Raw(ensemble.servers[0].client_port, timeout=10)
        removal = buffer(None) + ustring("3") + buffer(None) + struct.pack(">q", -1)
        assert raw.call(16, removal)[0] == -123
        raw.close()
        client = ensemble.client()
        assert client.get("/zookeeper/config")[0].endswith(b"version=0")
        assert sorted(p.name for p in ensemble.servers[0].dir.glob("zoo.cfg*")) == ["zoo.cfg"]
        client.stop()


@pytest.mark.both
def test_client_port_moves_while_the_server_runs(impl, tmp_path):
    with Reconfigurable([impl] * 3, tmp_path) as ensemble:
        leader = ensemble.leader()
        moved = next(s for s in ensemble.servers if s is not leader)
        old, (new,) = moved.client_port, free_ports(1)
        stays = Raw(old, timeout=10)
        reconfig(ensemble, [leader], joining=f"server.{moved.sid}={ensemble.line(moved.sid, client=new)}")
        moved.client_port = new
        wait_until(moved.mode, 20, "the server listens at the new port")

        def is_refused():
            try:
                Raw(old, timeout=1).close()
            except OSError:
                return True
        wait_until(is_refused, 20, "the old port is closed")
        assert stays.create("/still-there")[0] == 0, "existing connections stay"
        moved.kill()
        moved.start()
        wait_until(moved.mode, 60, "the restarted server listens at the new port")


def test_observers_become_voters_and_back(impl, tmp_path):
    with Reconfigurable([impl] * 4, tmp_path) as ensemble:
        fourth = ensemble.others[0].start()
        wait_until(fourth.mode, 60, "server 4 follows")
        leader = ensemble.leader()
        for role, mode in [("observer", "observer"), ("participant", "follower")]:
            reconfig(ensemble, [leader], joining=f"server.4={ensemble.line(4, role=role)}")
            wait_until(lambda m=mode: fourth.mode() == m, 30, f"server 4 is {mode}")
            raw = Raw(fourth.client_port, timeout=10)
            assert raw.create(f"/as-{mode}")[0] == 0
            raw.close()
        assert_same_trees([*ensemble.servers, fourth])


def test_zkcli_adds_and_removes(impl, java, tmp_path):
    with Reconfigurable([impl] * 4, tmp_path) as ensemble:
        fourth = ensemble.others[0].start()
        wait_until(fourth.mode, 60, "server 4 follows")
        stays = next(s for s in ensemble.servers if s.mode() == "follower")
        goes = next(s for s in ensemble.servers if s.mode() == "follower" and s is not stays)
        commands = ["addauth digest super:test", "config", f"reconfig -add 4={ensemble.line(4)}",
                    f"reconfig -remove {goes.sid}", "config -c", "quit"]
        done = subprocess.run(
            ["java", "-cp", parts.classpath(), "org.apache.zookeeper.ZooKeeperMain", "-server", stays.address],
            input="\n".join(commands) + "\n", capture_output=True, text=True, timeout=60)
        said = done.stdout + done.stderr
        assert said.count("Committed new configuration:") == 2, said
        ids = sorted({1, 2, 3, 4} - {goes.sid})
        wait_until(lambda: shows(fourth, ids), 20, "server 4 has the members")
        time.sleep(0.1)


@pytest.mark.parametrize("impls", ["zaz", "aza"])
def test_line_that_one_member_cannot_parse_is_refused(impl, java, impls, tmp_path):
    """Under either kind of leader: the line would stop every member that cannot parse it."""
    names = {"z": "zabkeeper", "a": "apache"}
    with Reconfigurable([names[i] if impl == "zabkeeper" else impl for i in impls], tmp_path) as ensemble:
        first, second, client = free_ports(3)
        three = ",".join(f"server.{s}={ensemble.line(s)}" for s in [1, 2, 3])
        for line in [f"127.0.0.1:{first}:{second}|127.0.0.2:{first}:{second};{client}",
                     f"127.0.0.1:{first}:{second}:observer|127.0.0.2:{first}:{second}:participant;{client}",
                     f"127.0.0.1:{first}:{first};{client}",
                     f"127.0.0.1:{first}:{second}:king;{client}",
                     f"127.0.0.1:{first};{client}"]:
            for change in [{"joining": f"server.4={line}"}, {"members": f"{three},server.4={line}"}]:
                with pytest.raises(BadArgumentsError):
                    reconfig(ensemble, ensemble.servers, **change)
        for server in ensemble.servers:
            assert shows(server, [1, 2, 3]), f"server {server.sid} continues"
