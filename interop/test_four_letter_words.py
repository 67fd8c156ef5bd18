"""Four-letter words as monitors parse them: the same lines, in the same order."""
import re

from zk.ensemble import Ensemble
from zk.server import Server, four_letters, free_ports, wait_until

SRVR = (r"Zookeeper version: \d+\.\d+\.\d+\S*, built on .+\n"
        r"Latency min/avg/max: \d+/\d+\.\d{1,4}/\d+\n"
        r"Received: \d+\nSent: \d+\nConnections: \d+\nOutstanding: \d+\n"
        r"Zxid: 0x[0-9a-f]+\nMode: (leader|follower)\nNode count: \d+\n")
PROPOSALS = r"Proposal sizes last/min/max: -?\d+/-?\d+/-?\d+\n"
CLIENT = r" /[0-9.]+:\d+\[\d\]\(queued=\d+,recved=\d+,sent=\d+\)\n"
SESSION = (r" /[0-9.]+:\d+\[\d\]\(queued=\d+,recved=\d+,sent=\d+,sid=0x[0-9a-f]+,lop=\w+,est=\d+,to=\d+,"
           r"(lcxid=0x[0-9a-f]+,)?lzxid=0x[0-9a-f]+,lresp=\d+,llat=\d+,minlat=\d+,avglat=\d+,maxlat=\d+\)\n")


def test_every_word_has_zookeepers_shape(impl, tmp_path):
    with Ensemble(impl, tmp_path) as ensemble:
        leader = ensemble.leader()
        client = ensemble.client(leader)
        client.create("/words", b"x")
        for server in ensemble.servers:
            tail = PROPOSALS if server is leader else ""
            assert server.words("ruok") == "imok"
            assert server.words("isro") == "rw"
            assert re.fullmatch(SRVR + tail, server.words("srvr")), server.words("srvr")
            first, rest = SRVR.split(r"\n", 1)
            stat = first + r"\nClients:\n(" + CLIENT + r")*\n" + rest + tail
            assert re.fullmatch(stat, server.words("stat")), server.words("stat")
            conf = server.words("conf")
            keys = [line.split("=")[0] for line in conf.splitlines()]
            assert keys[:18] == [
                "clientPort", "secureClientPort", "dataDir", "dataDirSize", "dataLogDir", "dataLogSize",
                "tickTime", "maxClientCnxns", "minSessionTimeout", "maxSessionTimeout",
                "clientPortListenBacklog", "serverId", "initLimit", "syncLimit", "electionAlg",
                "electionPort", "quorumPort", "peerType"], conf
            assert conf.endswith("version=0") and f"server.{server.sid}=" in conf
            mntr = dict(line.split("\t", 1) for line in server.words("mntr").splitlines() if "\t" in line)
            for key in ("zk_version", "zk_server_state", "zk_avg_latency", "zk_packets_received",
                        "zk_znode_count", "zk_watch_count", "zk_ephemerals_count",
                        "zk_num_alive_connections", "zk_outstanding_requests"):
                assert key in mntr, f"{key} is missing"
            assert mntr["zk_server_state"] == server.mode()
        cons = leader.words("cons")
        assert re.search(SESSION, cons) and cons.endswith(")\n\n"), cons
        client.stop()
        client.close()


def test_words_that_are_not_in_the_whitelist(impl, tmp_path):
    (port,) = free_ports(1)
    server = Server(impl, tmp_path, {"dataDir": tmp_path / "data", "clientPort": port, "tickTime": 1000,
                                     "admin.enableServer": "false"}, port)
    server.start()
    try:
        wait_until(server.mode, 30, "the server serves")
        assert four_letters(port, "ruok") == "ruok is not executed because it is not in the whitelist.\n"
        assert "Mode: standalone" in four_letters(port, "srvr")
    finally:
        server.kill()
