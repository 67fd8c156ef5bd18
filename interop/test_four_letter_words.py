"""The four-letter words, compared with the answers of ZooKeeper byte for byte, except for figures."""
import os
import re
import socket
import struct
import time

import pytest

from zk import parts
from zk.ensemble import Ensemble
from zk.raw import Raw, ustring
from zk.server import Server, free_ports, wait_until

SAMPLES = parts.ROOT / "core" / "testdata" / "fourletter"
NOT_ENABLED = "{} is not executed because it is not in the whitelist.\n"
NOT_SERVING = "This ZooKeeper instance is not currently serving requests\n"


def shape(text):
    """Replaces each figure, address and path by its kind. Fractions and whole numbers are different
    kinds: monitors parse them differently."""
    text = re.sub(r"version: \S+, built on \d{4}-\d\d-\d\d \d\d:\d\d UTC", "version: <version>", text)
    text = re.sub(r"zk_version\t\S+, built on \d{4}-\d\d-\d\d \d\d:\d\d UTC", "zk_version\t<version>", text)
    text = re.sub(r"/127\.0\.0\.1:\d+", "<address>", text)
    text = re.sub(r"(?m)^(data(?:Log)?Dir)=/\S*/version-2$", r"\1=<path>", text)
    text = re.sub(r"0x[0-9a-f]+", "<hex>", text)
    text = re.sub(r"lop=[A-Z]{4}", "lop=<op>", text)
    text = re.sub(r"(?<![\w.])-?\d+\.\d+(?![\w.])", "<fraction>", text)
    return re.sub(r"(?<![\w.])-?\d+(?![\w.])", "<n>", text)


def sample(name):
    return (SAMPLES / f"{name}.txt").read_text()


@pytest.fixture(scope="module")
def members(request, tmp_path_factory):
    """Mode → server, each with a client: three members, an observer, a standalone server."""
    impl = request.config.getoption("--impl")
    reason = parts.missing_java() if impl == "apache" else None
    if reason:
        pytest.skip(f"skipped: {reason}")
    directory = tmp_path_factory.mktemp("words")
    port, = free_ports(1)
    alone = Server(impl, directory / "alone", {
        "tickTime": 2000, "dataDir": directory / "alone" / "data", "clientPort": port, "maxClientCnxns": 0,
        "4lw.commands.whitelist": "*", "preAllocSize": 1024, "admin.enableServer": "false"}, port)
    try:
        with Ensemble(impl, directory, count=4, observers=(4,)) as ensemble:
            alone.start()
            wait_until(alone.mode, 30, "the standalone server serves")
            by_mode = {s.mode(): s for s in [*ensemble.servers, alone]}
            clients = []
            for server in by_mode.values():
                clients.append(Raw(server.client_port, timeout=10.0, session_timeout=20000))
                clients[-1].create(f"/of-{server.mode()}", b"x", flags=1)
            yield by_mode
            for client in clients:
                client.close()
    finally:
        alone.kill()


MODES = ["leader", "follower", "observer", "standalone"]


@pytest.mark.parametrize("mode", MODES)
def test_srvr(members, mode):
    assert shape(members[mode].words("srvr")) == shape(sample(f"{mode}-srvr"))


@pytest.mark.parametrize("mode", MODES)
def test_stat_and_cons(members, mode):
    """The order of clients is not defined; the samples have one client and the requester."""
    for word in ["stat", "cons"]:
        ours, real = members[mode].words(word), sample(f"{mode}-{word}")
        if mode == "standalone":  # the sample has a client with more requests
            real = real.replace("lcxid=0x92", "lcxid=0x1")
        assert sorted(shape(ours).split("\n")) == sorted(shape(real).split("\n")), word
        assert [line for line in shape(ours).split("\n") if not line.startswith(" ")] == \
               [line for line in shape(real).split("\n") if not line.startswith(" ")], word


@pytest.mark.parametrize("mode", MODES)
def test_conf(members, mode):
    def comparable(text):
        return re.sub(r"server\.\d=127\.0\.0\.1:\d+:\d+:", "server.<n>=<ports>:", shape(text))
    assert comparable(members[mode].words("conf")) == comparable(sample(f"{mode}-conf"))


@pytest.mark.parametrize("mode", MODES)
def test_mntr_has_the_same_names_in_the_same_order(members, mode):
    """Names that contain a server's id or a namespace depend on the history of the ensemble."""
    def names(text):
        lines = [line.split("\t") for line in text.splitlines()]
        assert all(len(line) == 2 for line in lines), text
        return [name for name, _ in lines if "_learner_handler_" not in name and "_per_namespace" not in name]
    ours = names(members[mode].words("mntr"))
    assert ours.pop() == "zk_log_lines_dropped"  # of zabkeeper alone, after all others
    assert ours == names(sample(f"{mode}-mntr"))


@pytest.mark.parametrize("mode", MODES)
def test_mntr_values_are_of_the_same_kind(members, mode):
    def kinds(text):
        return dict(line.split("\t") for line in shape(text).splitlines())
    ours, real = kinds(members[mode].words("mntr")), kinds(sample(f"{mode}-mntr"))
    different = {name: (kind, real[name]) for name, kind in ours.items() if name in real and real[name] != kind}
    assert different == {}


def test_mntr_counts_nodes_and_clients(members):
    for mode, server in members.items():
        values = dict(line.split("\t") for line in server.words("mntr").splitlines())
        assert values["zk_server_state"] == mode
        assert values["zk_num_alive_connections"] == "2", "the client and the requester"
        assert int(values["zk_ephemerals_count"]) == (1 if mode == "standalone" else 3)
        assert int(values["zk_packets_received"]) >= 2
        if mode == "leader":
            assert (values["zk_synced_followers"], values["zk_synced_observers"]) == ("2", "1")


def test_mntr_counts_events(members):
    """Events that the tests and the other members cause at each member."""
    expected = {
        "all": """readlatency updatelatency propagation_latency fsynctime sync_processor_batch_size
                  sync_processor_queue_flush_time_ms sync_processor_queue_time_ms
                  sync_processor_queue_size dbinittime connection_token_deficit request_throttle_queue_time_ms""",
        "all counters": """connection_request_count bytes_received_count response_bytes
                           sync_processor_request_queued""",
        "leader": """election_time unavailable_time leader_unavailable_time quorum_ack_latency
                     sync_processor_queue_and_flush_time_ms""",
        "leader counters": """looking_count proposal_count commit_count request_commit_queued
                              outstanding_changes_queued outstanding_changes_removed diff_count
                              prep_processor_request_queued""",
        "follower": """election_time unavailable_time follower_sync_time proposal_latency
                       proposal_ack_creation_latency commit_propagation_latency
                       sync_processor_queue_and_flush_time_ms""",
        "follower counters": """looking_count learner_proposal_received_count
                                learner_commit_received_count request_commit_queued""",
        "observer": "unavailable_time observer_sync_time commit_propagation_latency",
        "observer counters": "looking_count learner_commit_received_count",
        "standalone": "sync_processor_queue_and_flush_time_ms",
        "standalone counters": "outstanding_changes_queued prep_processor_request_queued",
    }
    nothing = {"standalone": "commit_count proposal_count looking_count cnt_election_time",
               "observer": "learner_proposal_received_count cnt_proposal_latency cnt_proposal_ack_creation_latency",
               "follower": "commit_count proposal_count cnt_quorum_ack_latency diff_count"}
    for mode, server in members.items():
        client, exists = Raw(server.client_port, timeout=10.0, session_timeout=20000), 3
        client.create(f"/measured-{mode}")
        assert client.call(exists, ustring("/") + b"\0")[0] == 0
        client.close()
        values = dict(line.split("\t") for line in server.words("mntr").splitlines())
        names = [f"cnt_{name}" for who in ("all", mode) for name in expected.get(who, "").split()]
        names += [name for who in ("all", mode) for name in expected.get(f"{who} counters", "").split()]
        still = [name for name in names if values[f"zk_{name}"] == "0"]
        assert still == [], f"{mode}: these have not changed"
        moved = [name for name in nothing.get(mode, "").split() if values[f"zk_{name}"] != "0"]
        assert moved == [], f"{mode}: these changed without an event"


@pytest.mark.parametrize("mode", MODES)
def test_ruok_and_isro(members, mode):
    assert members[mode].words("ruok") == sample("ruok")
    assert members[mode].words("isro") == sample("isro")


@pytest.fixture
def alone(impl, tmp_path):
    """A factory of standalone servers whose zoo.cfg contains only the given settings."""
    started = []

    def start(**extra):
        port, = free_ports(1)
        server = Server(impl, tmp_path, {"dataDir": tmp_path / "data", "clientPort": port,
                                         "admin.enableServer": "false", **extra}, port)
        started.append(server.start())
        wait_until(server.mode, 30, "the server serves clients")
        return server
    yield start
    for server in started:
        server.kill()


def test_without_a_whitelist_only_srvr_answers(alone):
    server = alone()
    assert server.mode() == "standalone"
    for word in ["ruok", "stat", "mntr", "conf", "cons", "isro", "wchs"]:
        assert server.words(word) == NOT_ENABLED.format(word)


def test_whitelist_enables_the_named_words(alone):
    server = alone(**{"4lw.commands.whitelist": "ruok, mntr"})
    assert server.words("ruok") == "imok"
    assert server.words("mntr").startswith("zk_version\t")
    assert server.mode() == "standalone"
    assert server.words("stat") == NOT_ENABLED.format("stat")


def test_watch_words_list_data_watches(alone):
    """The words show data watches, which include recursive ones, but no child watches."""
    server = alone(**{"4lw.commands.whitelist": "*"})
    client = Raw(server.client_port, timeout=10.0, session_timeout=20000)
    client.create("/w")
    get_data, get_children, add_watch, remove_watches = 4, 8, 106, 18
    assert client.call(get_data, ustring("/w") + b"\1")[0] == 0
    assert client.call(get_children, ustring("/w") + b"\1")[0] == 0
    assert client.call(add_watch, ustring("/tree") + struct.pack(">i", 1))[0] == 0
    session = f"0x{client.session & (1 << 64) - 1:x}"
    assert server.words("wchs") == "1 connections watching 2 paths\nTotal watches:2\n"
    first, *paths = server.words("wchc").split("\n")
    assert (first, sorted(paths)) == (session, ["", "", "\t/tree", "\t/w"])
    by_path = server.words("wchp").split("\n")
    assert sorted(by_path) == ["", "", f"\t{session}", f"\t{session}", "/tree", "/w"]

    def watch_count():
        return dict(line.split("\t") for line in server.words("mntr").splitlines())["zk_watch_count"]
    assert watch_count() == "3"
    # Removed watches are not shown; a connection whose last watch has fired is still counted.
    assert client.call(remove_watches, ustring("/tree") + struct.pack(">i", 5))[0] == 0
    assert client.set("/w", b"new") == 0
    assert server.words("wchs") == "1 connections watching 0 paths\nTotal watches:0\n"
    assert server.words("wchc") == f"{session}\n\n"
    assert (server.words("wchp"), watch_count()) == ("\n", "1")
    client.close()


def test_member_without_a_quorum_reports_that_it_is_not_serving(impl, tmp_path):
    ensemble = Ensemble(impl, tmp_path)
    lonely = ensemble.servers[0]
    try:
        lonely.start()
        wait_until(lambda: lonely.words("isro") == "null", 30, "the server answers")
        for word in ["srvr", "stat", "mntr", "conf", "cons"]:
            # Shortly after its start the server may still report the progress of the load.
            wait_until(lambda: lonely.words(word) == NOT_SERVING, 10, f"{word} reports that the server is not serving")
        assert lonely.words("isro") == "null"
    finally:
        lonely.kill()


DATE = r"[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d [A-Z]+ \d{4}"
EXPIRING = rf"Sets \(\d+\)/\(\d+\):\n(?:\d+ expire at {DATE}:\n(?:\t.*\n)*)*"


@pytest.mark.parametrize("mode", MODES)
def test_dump(members, mode):
    tracks = mode in ["leader", "standalone"]
    sessions = f"Session {EXPIRING}" if tracks else r"Global Sessions\(\d+\):\n(?:0x[0-9a-f]+\t\d+ms\n)+"
    ephemerals = r"Sessions with Ephemerals \(\d+\):\n(?:0x[0-9a-f]+:\n(?:\t/\S+\n)+)+"
    text = members[mode].words("dump")
    assert re.fullmatch(f"SessionTracker dump:\n{sessions}ephemeral nodes dump:\n{ephemerals}"
                        f"Connections dump:\nConnections {EXPIRING}", text), text
    assert f"\t/of-{mode}\n" in text
    assert re.search(r"\tip: /127\.0\.0\.1:\d+ sessionId: 0x[0-9a-f]{2,}\n", text), "the client"
    assert re.search(r"\tip: /127\.0\.0\.1:\d+ sessionId: 0x0\n", text), "the requester"


ENVIRONMENT = """host.name java.version java.vendor java.home java.class.path java.library.path java.io.tmpdir
    java.compiler os.name os.arch os.version user.name user.home user.dir os.memory.free os.memory.max
    os.memory.total""".split()


@pytest.mark.parametrize("mode", MODES)
def test_envi_and_dirs(members, mode):
    server = members[mode]
    lines = server.words("envi").splitlines()
    assert lines[0] == "Environment:" and re.match(r"zookeeper\.version=3\.9\.\d+-", lines[1])
    assert [line.split("=")[0] for line in lines[2:] if line] == ENVIRONMENT
    values = dict(line.split("=", 1) for line in lines[2:] if line)
    assert all(re.fullmatch(r"\d+MB", values[f"os.memory.{which}"]) for which in ["free", "max", "total"])
    assert values["os.name"] == os.uname().sysname and values["user.dir"] == os.getcwd()
    def sizes():
        found = re.fullmatch(r"datadir_size: (\d+)\nlogdir_size: (\d+)\n", server.words("dirs"))
        assert found
        return found if int(found[1]) > 0 and int(found[2]) > 0 else None
    found = wait_until(sizes, 10, "the sizes are known")  # they can be one second old
    assert f"dataDirSize={found[1]}\n" in server.words("conf")


def test_hash_lists_digests(alone):
    server = alone(**{"4lw.commands.whitelist": "*"})
    client = Raw(server.client_port, timeout=10.0)
    for n in range(140):
        client.create(f"/{n}")
    lines = server.words("hash").splitlines()
    assert lines and all(re.fullmatch(r"[0-9a-f]+: -?\d+", line) for line in lines)
    assert [line.split(":")[0] for line in lines] == ["80"]
    client.close()


def test_gtmk_and_stmk_keep_the_trace_mask(members):
    server = members["standalone"]
    assert server.words("gtmk") == "306"
    with socket.create_connection(("127.0.0.1", server.client_port), timeout=5) as asker:
        asker.sendall(b"stmk" + struct.pack(">q", 150))
        assert asker.recv(100) == b"150"
    assert server.words("gtmk") == "150"


def test_srst_and_crst_reset_figures(members):
    server = members["standalone"]
    received = lambda: int(re.search(r"Received: (\d+)", server.words("srvr"))[1])
    before = received()
    assert server.words("srst") == "Server stats reset.\n"
    assert received() < min(before, 4)
    assert server.words("crst") == "Connection stats reset.\n"
    (client,) = re.findall(r"recved=(\d+),sent=\d+,sid=", server.words("cons"))
    assert int(client) == 0


def of_client(server, session):
    """The lines of a client once they do not change any more: ZooKeeper counts an answer after sending it."""
    told = [None]

    def is_settled():
        told.append(client_in_cons(server, session))
        time.sleep(0.05)
        return told[-1] == told[-2] and told[-1]["queued"] == "0"
    wait_until(is_settled, 10, "the figures of the client stay the same")
    return told[-1]


def client_in_cons(server, session):
    """The line of `cons` about the connection of this session, without times and addresses."""
    sid = f"sid=0x{session & (1 << 64) - 1:x},"
    line, = [line for line in server.words("cons").splitlines() if sid in line]
    fields = dict(field.split("=") for field in line[line.index("(") + 1:line.rindex(")")].split(","))
    fields["lresp"] = fields["lresp"] != "0"
    return {name: value for name, value in fields.items() if name not in ("sid", "est", "llat", "minlat", "avglat", "maxlat")}


def life_of_a_client(server):
    """The lines about a client that connects, pings, authenticates, moves and writes, and about the requester."""
    def packets():
        return [int(n) for n in re.findall(r"(?:Received|Sent): (\d+)", server.words("srvr"))]

    def latencies():
        values = dict(line.split("\t") for line in server.words("mntr").splitlines())
        return [values[f"zk_cnt_{name}"] for name in ["updatelatency", "readlatency"]]

    def ask(client, xid, op, body=b""):
        client.send(struct.pack(">ii", xid, op) + body)
        return client.receive()

    server.words("srst")
    seen = [("asked", packets(), packets(), packets())]
    client = Raw(server.client_port, timeout=10.0, session_timeout=20000)
    session, password = client.session, client.password
    seen.append(("made", of_client(server, session), packets(), latencies()))
    ask(client, -2, 11)
    seen.append(("pinged", of_client(server, session), latencies()))
    ask(client, -4, 100, struct.pack(">i", 0) + ustring("digest") + ustring("some:body"))
    seen.append(("authenticated", of_client(server, session), latencies()))
    client.socket.close()
    client = Raw(server.client_port, timeout=10.0, session=(session, password), session_timeout=20000)
    seen.append(("moved", of_client(server, session), latencies()))
    ask(client, -2, 11)
    seen.append(("pinged", of_client(server, session), latencies()))
    client.create("/written")
    seen.append(("written", of_client(server, session), latencies()))
    server.words("crst")
    seen.append(("begun anew", of_client(server, session)))
    client.close()
    return seen


def test_figures_of_special_requests_are_those_of_zookeeper(zabkeeper_only, java, tmp_path):
    """zabkeeper and ZooKeeper side by side, with a client that does the same on both."""
    told = {}
    for impl in ["zabkeeper", "apache"]:
        port, = free_ports(1)
        server = Server(impl, tmp_path / impl, {"dataDir": tmp_path / impl / "data", "clientPort": port,
                                                "4lw.commands.whitelist": "*", "admin.enableServer": "false"}, port)
        try:
            server.start()
            wait_until(server.mode, 30, "the server serves clients")
            told[impl] = life_of_a_client(server)
        finally:
            server.kill()
    for ours, real in zip(told["zabkeeper"], told["apache"]):
        assert ours == real


def six(port, word):
    with socket.create_connection(("::1", port), timeout=3) as s:
        s.sendall(word.encode())
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
        return answer.decode()


@pytest.mark.parametrize("address", ["0:0:0:0:0:0:0:1%lo", "::1", "[::1]"])
def test_client_port_address_of_ipv6_in_every_spelling(impl, tmp_path, address):
    port, = free_ports(1)
    server = Server(impl, tmp_path, {"dataDir": tmp_path / "data", "clientPort": port, "clientPortAddress": address,
                                     "4lw.commands.whitelist": "*", "admin.enableServer": "false"}, port)
    try:
        server.start()

        def answers():
            try:
                return six(port, "ruok") == "imok"
            except OSError:
                return server.running() and None
        wait_until(answers, 30, f"the server answers at {address}")
    finally:
        server.kill()


def test_ipv6_members_are_spelled_as_by_zookeeper(zabkeeper_only, java, tmp_path):
    """The configuration znode and `conf` have the same text on both kinds of server."""
    told = {}
    for impl in ["zabkeeper", "apache"]:
        port, quorum, election = free_ports(3)
        other = 1 + max(port, quorum, election)
        server = Server(impl, tmp_path / impl, {
            "tickTime": 1000, "initLimit": 10, "syncLimit": 5, "dataDir": tmp_path / impl / "data",
            "standaloneEnabled": "false", "4lw.commands.whitelist": "*", "admin.enableServer": "false",
            "server.1": f"[::1]:{quorum}:{election}:participant;[0:0::1]:{port}",
            "server.2": f"[FE80::2]:{other}:{other + 1}:observer;[::ffff:10.0.0.2]:{port}",
            "server.3": f"[::1%lo]:{other}:{other + 1}:observer;[::]:{port}"}, port, 1)
        try:
            server.start()

            def membership():
                try:
                    return "membership" in six(port, "conf") and six(port, "conf").split("membership: \n")[1]
                except OSError:
                    return None
            text = wait_until(membership, 60, "the server serves clients")
            for number, name in [(quorum, "Q"), (election, "E"), (port, "C"), (other, "O"), (other + 1, "P")]:
                text = re.sub(rf":{number}\b", f":{name}", text)
            told[impl] = re.sub(r"version=\w+", "version", text)
        finally:
            server.kill()
    assert told["zabkeeper"] == told["apache"]
    assert "[0:0:0:0:0:0:0:1]:Q:E:participant;[0:0:0:0:0:0:0:1]:C" in told["apache"]
