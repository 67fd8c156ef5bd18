"""Apache ZooKeeper and zabkeeper in one ensemble."""
import re
import struct
import time

import pytest

from test_local_sessions import UPGRADING, figure, upgrade
from test_sessions import attach
from zk import parts
from zk.ensemble import Ensemble, assert_same_trees
from zk.load import begin, check, end, wait_for_service
from zk.raw import Raw, ustring
from zk.server import free_ports, wait_until

# Among equal histories, the server with the highest id leads.
JAVA_LEADS, ZABKEEPER_LEADS = ["zabkeeper", "apache", "apache"], ["apache", "zabkeeper", "zabkeeper"]


def initials(impls):
    return "-".join({"apache": "a", "apache-3.8": "3.8", "zabkeeper": "z"}[i] for i in impls)


# With --quick, each test runs under one kind of leader.
QUICK = {"test_weights_count_on_both_kinds": ZABKEEPER_LEADS, "test_several_addresses_of_a_server": ZABKEEPER_LEADS,
         "test_local_session_is_upgraded_by_the_other_kind": ZABKEEPER_LEADS}


@pytest.fixture(params=[JAVA_LEADS, ZABKEEPER_LEADS], ids=["java leads", "zabkeeper leads"])
def impls(request, quick):
    if quick and request.param != QUICK.get(request.node.originalname, JAVA_LEADS):
        pytest.skip("skipped: only without --quick")
    return request.param


def one_of(ensemble, impl):
    """A follower of this implementation, or the leader."""
    found = [s for s in ensemble.servers if s.impl == impl]
    return min(found, key=lambda s: s.mode() == "leader")


@pytest.mark.parametrize("impls", [["apache", "zabkeeper", "zabkeeper"], ["zabkeeper", "apache", "apache"],
                                   ["zabkeeper", "zabkeeper", "apache"], ["apache-3.8", "apache", "zabkeeper"]],
                         ids=initials)
def test_mixed_ensemble_survives_its_leader(zabkeeper_only, java, quick, impls, tmp_path):
    if "apache-3.8" in impls and (quick or parts.missing_java_38()):
        pytest.skip(f"skipped: {parts.missing_java_38() or 'only without --quick'}")
    with Ensemble(impls, tmp_path) as ensemble:
        writers = begin(ensemble, 3)
        for _ in range(3):
            wait_for_service(writers)
            leader = ensemble.leader()
            leader.kill()
            ensemble.leader()
            wait_for_service(writers)
            leader.start()
            ensemble.wait_serving()
        wait_for_service(writers)
        end(writers)
        check(assert_same_trees(ensemble.servers), writers)
        assert all(s.running() for s in ensemble.servers)


@pytest.mark.parametrize("home", ["apache", "zabkeeper"])
def test_session_continues_at_the_other_kind(zabkeeper_only, java, impls, home, tmp_path):
    """The session keeps its ephemeral, and receives the events that its watches have missed."""
    with Ensemble(impls, tmp_path) as ensemble:
        server = one_of(ensemble, home)
        other = next(s for s in ensemble.servers if s.impl != home and s is not server)
        raw = Raw(server.client_port, timeout=10, session_timeout=15000)
        for path in ("/data", "/gone", "/parent"):
            assert raw.create(path, b"1")[0] == 0
        assert raw.create("/mine", flags=1)[0] == 0
        wait_until(lambda: exists(other, "/mine"), 10, "the other server has the node")
        for op, path in [(4, "/data"), (3, "/gone"), (3, "/later"), (8, "/parent")]:
            raw.call(op, ustring(path) + b"\1")
        assert raw.call(106, ustring("/data") + struct.pack(">i", 1))[0] == 0, "a persistent recursive watch"
        server.terminate()
        others = [s for s in ensemble.servers if s is not server]
        wait_until(lambda: any(s.mode() == "leader" for s in others), 30, "a server leads")
        writer = ensemble.client(*others)
        writer.set("/data", b"2")
        writer.delete("/gone")
        writer.create("/later")
        writer.create("/parent/child")
        back = wait_until(lambda: attach(other, raw, raw.last_zxid), 20, "the session continues")
        assert back.session == raw.session and exists(other, "/mine")
        # setWatches2: relative zxid; data (of existing nodes, too), exist, child, persistent and recursive watches.
        lists = [["/data", "/gone"], ["/later"], ["/parent"], [], ["/data"]]
        body = struct.pack(">q", raw.last_zxid)
        for paths in lists:
            body += struct.pack(">i", len(paths)) + b"".join(ustring(p) for p in paths)
        back.send(struct.pack(">ii", -8, 105) + body)
        told = {}
        while (frame := back.receive())[:4] != struct.pack(">i", -8):
            kind, _, length = struct.unpack(">iii", frame[16:28])
            told[frame[28:28 + length].decode()] = kind
        assert told == {"/data": 3, "/gone": 2, "/later": 1, "/parent": 4}
        writer.create("/data/below")
        frame = back.receive()
        assert struct.unpack(">ii", frame[16:24]) == (1, 3) and frame[28:].decode() == "/data/below"
        back.xid = 100
        assert back.call(-11, b"")[0] == 0
        wait_until(lambda: not exists(other, "/mine"), 5, "the ephemeral is deleted with its session")
        writer.stop()
        writer.close()


def exists(server, path):
    raw = Raw(server.client_port, timeout=10)
    try:
        return raw.get(path)[0] == 0
    finally:
        raw.close()


def test_writes_and_syncs_are_forwarded_between_kinds(zabkeeper_only, java, impls, tmp_path):
    """A write acknowledged by any server is visible after a sync on every server that forwards it, and on
    a zabkeeper leader; an Apache leader, which forwards no sync, shows it after a write of its own."""
    with Ensemble(impls, tmp_path) as ensemble:
        leader = ensemble.leader()
        alone = leader if leader.impl != "zabkeeper" else None
        clients = [Raw(s.client_port, timeout=10) for s in ensemble.servers]
        assert clients[0].create("/turn", b"")[0] == 0
        assert clients[0].create("/own", b"")[0] == 0
        for turn in range(60):
            writer, reader = clients[turn % 3], clients[(turn + 1) % 3]
            assert writer.set("/turn", str(turn).encode()) == 0
            if ensemble.servers[(turn + 1) % 3] is alone:
                assert reader.set("/own", b"") == 0
            else:
                assert reader.call(9, ustring("/turn"))[0] == 0
            assert reader.get("/turn") == (0, str(turn).encode())
        for client in clients:
            client.close()
        assert_same_trees(ensemble.servers)


@pytest.mark.parametrize("home", ["apache", "zabkeeper"])
def test_local_session_is_upgraded_by_the_other_kind(zabkeeper_only, java, impls, home, tmp_path):
    with Ensemble(impls, tmp_path, **UPGRADING) as ensemble:
        server = one_of(ensemble, home)
        upgrade(ensemble, server, next(s for s in ensemble.servers if s.impl != home))


def test_weights_count_on_both_kinds(zabkeeper_only, java, impls, tmp_path):
    """Server 1 weighs more than the others together: it is a quorum alone, and they are none."""
    weights = {"group.1": "1:2:3", "weight.1": 3, "weight.2": 1, "weight.3": 1}
    with Ensemble(impls, tmp_path, **weights) as ensemble:
        heavy, *light = ensemble.servers
        heavy.terminate()
        wait_until(lambda: not any(s.mode() for s in light), 20, "no server serves without server 1")
        for server in light:
            server.terminate()
        heavy.start()
        wait_until(lambda: heavy.mode() == "leader", 60, "server 1 leads alone")
        client = Raw(heavy.client_port, timeout=10)
        assert client.create("/alone")[0] == 0
        client.close()
        for server in light:
            server.start()
        ensemble.wait_serving()
        assert "/alone" in assert_same_trees(ensemble.servers)


def test_quorum_is_a_majority_of_groups(zabkeeper_only, java, tmp_path):
    """Three of five servers are no quorum if they contain the majority of only one of three groups."""
    groups = {"group.1": "1:2", "group.2": "3:4", "group.3": "5"}
    with Ensemble(["apache", "zabkeeper", "zabkeeper", "apache", "zabkeeper"], tmp_path, **groups) as ensemble:
        one, two, three, four, five = ensemble.servers
        for server in (two, four):
            server.terminate()
        wait_until(lambda: not any(s.mode() for s in (one, three, five)), 20, "with group 3 alone, no server serves")
        for back, gone, there in [(two, three, [one, two, five]), (three, None, [one, two, three, five]),
                                  (four, five, [one, two, three, four])]:
            back.start()
            if gone:
                gone.terminate()
            wait_until(lambda: sorted(str(s.mode()) for s in there) == ["follower"] * (len(there) - 1) + ["leader"],
                       60, f"two groups are enough: {[s.sid for s in there]}")
            client = ensemble.client(*there)
            client.create(f"/with-{back.sid}")
            client.stop()
            client.close()
        five.start()
        ensemble.wait_serving()
        tree = assert_same_trees(ensemble.servers)
        assert {"/with-2", "/with-3", "/with-4"} <= set(tree)


def test_name_is_resolved_at_every_attempt(zabkeeper_only, java, tmp_path):
    """The leader's name resolves to a wrong host at first: no restart is needed after its correction."""
    if reason := parts.missing_mount_namespaces():
        pytest.skip(f"skipped: {reason}")
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.9 third.test\n")
    ensemble = Ensemble(["zabkeeper", "zabkeeper", "apache"], tmp_path)
    *learners, third = ensemble.servers
    for server in learners:
        text = server.config.read_text()
        server.config.write_text(text.replace("server.3=127.0.0.1:", "server.3=third.test:"))
        server.within = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
    try:
        third.start()
        learners[0].start()
        wait_until(lambda: "elected leader=3" in learners[0].log.read_text(), 30, "server 3 is elected")
        time.sleep(3)
        assert not third.mode() and not learners[0].mode(), "server 3 is elected, and no learner reaches it"
        hosts.write_text("127.0.0.1 third.test\n")
        ensemble.wait_serving(30)
        assert ensemble.leader() is third, "of the two running servers"
        learners[1].start()
        ensemble.wait_serving(30)
    finally:
        for server in ensemble.servers:
            server.kill()


def test_several_addresses_of_a_server(zabkeeper_only, java, impls, tmp_path):
    """Every server has two addresses; its peers cannot reach the first one."""
    ensemble = Ensemble(impls, tmp_path)
    for server in ensemble.servers:
        switch = "-Dzookeeper.multiAddress.enabled=true"  # Java reads the key in zoo.cfg too late
        server.jvm_options.append(switch)
        server.options.append(switch)
        lines = []
        for line in server.config.read_text().splitlines():
            if line.startswith("server."):
                key, value = line.split("=")
                ports = value.removeprefix("127.0.0.1").removesuffix(":participant")
                first = "127.0.0.2" if key == f"server.{server.sid}" else "127.0.0.3"
                line = f"{key}={first}{ports}|127.0.0.1{ports}"
            lines.append(line)
        server.config.write_text("\n".join(lines) + "\n")
    with ensemble:
        leader = ensemble.leader()
        client = ensemble.client(*ensemble.followers())
        client.create("/reached")
        client.stop()
        client.close()
        leader.kill()
        ensemble.leader(60)
        leader.start()
        ensemble.wait_serving()
        assert "/reached" in assert_same_trees(ensemble.servers)


def test_one_of_its_own_addresses_is_enough(zabkeeper_only, tmp_path):
    """A server listens at the address that exists, and retries the other one."""
    ensemble = Ensemble("zabkeeper", tmp_path)
    for server in ensemble.servers:
        server.options.append("-Dzookeeper.multiAddress.enabled=true")
        text = server.config.read_text()
        # 192.0.2.1 is reserved for documentation: no machine has it.
        server.config.write_text(re.sub(r"(server\.\d=)127\.0\.0\.1(:\d+:\d+)", r"\g<1>127.0.0.1\2|192.0.2.1\2", text))
    with ensemble:
        assert len(ensemble.followers()) == 2 and ensemble.leader()
        for server in ensemble.servers:
            lines = [line for line in server.log.read_text().splitlines() if "192.0.2.1" in line]
            assert len(lines) == 2, "one line for the election port and one for the quorum port, without repetition"
            assert all("WARN" in line and "correct the server.N line" in line for line in lines)


def test_own_name_need_not_resolve(zabkeeper_only, java, tmp_path):
    """A server that listens at all addresses does not resolve its own name."""
    ensemble = Ensemble(ZABKEEPER_LEADS, tmp_path, quorumListenOnAllIPs="true")
    own = ensemble.servers[2]
    text = own.config.read_text()
    own.config.write_text(text.replace("server.3=127.0.0.1:", "server.3=no-such-name.invalid:"))
    with ensemble:
        assert ensemble.leader() is own
        assert_same_trees(ensemble.servers)


@pytest.mark.parametrize("master_impl,observer_impl", [("apache", "zabkeeper"), ("zabkeeper", "apache"),
                                                       ("zabkeeper", "zabkeeper")],
                         ids=lambda impl: impl)
def test_observer_joins_through_an_observer_master(zabkeeper_only, java, quick, master_impl, observer_impl, tmp_path):
    """Two of three servers have the port: the observer joins a follower, serves writes, syncs and sessions
    through it, and joins again after that one has ended. The leader has no observer."""
    if quick and (master_impl, observer_impl) != ("zabkeeper", "apache"):
        pytest.skip("skipped: only without --quick")
    port, = free_ports(1)
    other_impl = "zabkeeper" if master_impl == "apache" else "apache"
    ensemble = Ensemble([master_impl, other_impl, master_impl, observer_impl], tmp_path, observers=(4,))
    for server in ensemble.servers:
        # All servers have the same port, so one of them needs another address.
        text = server.config.read_text().replace("server.3=127.0.0.1:", "server.3=127.0.0.2:")
        if server.sid != 2:
            text += f"observerMasterPort={port}\n"
        server.config.write_text(text)
    masters, other, observer = [ensemble.servers[i] for i in (0, 2)], ensemble.servers[1], ensemble.servers[3]
    with ensemble:
        def master():
            found = [s for s in masters if s.mode() == "follower" and figure(s, "synced_observers") == 1]
            return observer.mode() == "observer" and found and found[0]
        wait_until(master, 20, "a follower has the observer")
        assert figure(ensemble.leader(), "synced_observers") == 0
        raw, elsewhere = (Raw(s.client_port, timeout=10) for s in (observer, other))
        assert raw.create("/through", b"1")[0] == 0
        for turn in range(20):
            value = str(turn).encode()
            assert elsewhere.set("/through", value) == 0
            assert raw.call(9, ustring("/through"))[0] == 0
            assert raw.get("/through") == (0, value)
        raw.close()
        raw = Raw(observer.client_port, timeout=10, session=(raw.session, raw.password))
        raw.xid = 100
        assert raw.create("/mine", flags=1)[0] == 0, "the session continues"
        elsewhere.close()
        assert_same_trees(ensemble.servers)
        gone = master()
        gone.terminate()
        wait_until(lambda: observer.mode() is None, 20, "the observer has lost its master")
        gone.start()
        wait_until(master, 60, "a follower has the observer again")
        ensemble.wait_serving()
        assert_same_trees(ensemble.servers)
        # Requests of its clients keep their sessions alive at the leader.
        kept = Raw(observer.client_port, timeout=10, session_timeout=4000)
        assert kept.create("/kept", flags=1)[0] == 0
        for _ in range(14):
            time.sleep(0.5)
            assert kept.get("/kept")[0] == 0
        kept.close()
