"""The rules of znodes - containers and TTL nodes, quotas, names, the initial tree - compared with Apache
ZooKeeper 3.9.5, which receives the same frames."""
import contextlib
import struct
import subprocess
import time
import zlib

import pytest

from zk import parts
from zk.ensemble import Ensemble, assert_same_trees
from zk.raw import OPEN_ACL, Raw, buffer, ustring
from zk.server import Server, free_ports, wait_until

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, SET_ACL, GET_CHILDREN, SYNC = 1, 2, 3, 4, 5, 7, 8, 9
MULTI, CREATE2, CONTAINER, TTL, CHILD_COUNT = 14, 15, 19, 21, 104
STAT = struct.Struct(">qqqqiiiqiiq")


def zkcli(ensemble, *command):
    done = subprocess.run(
        ["java", "-cp", parts.classpath(), "org.apache.zookeeper.ZooKeeperMain",
         "-server", ensemble.connect_string, *command],
        capture_output=True, text=True, timeout=90)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory, request):
    if request.config.getoption("--impl") != "zabkeeper":
        pytest.skip("skipped: a test of zabkeeper alone")
    settings = {"extendedTypesEnabled": "true", "enforceQuota": "true", "znode.container.checkIntervalMs": 200}
    with Ensemble("zabkeeper", tmp_path_factory.mktemp("nodes"), **settings) as ensemble:
        yield ensemble


def is_gone(client, path):
    client.sync("/")
    return client.exists(path) is None


def test_container_is_deleted_and_ttl_node_expires(ensemble, java):
    """The nodes are created by Java's client; the next leader deletes them, too."""
    client = ensemble.client(*ensemble.followers())
    assert "Created /c" in zkcli(ensemble, "create", "-c", "/c")
    assert "Created /ttl" in zkcli(ensemble, "create", "-t", "1500", "/ttl", "x")
    begun = time.monotonic()
    client.create("/c/child")
    wait_until(lambda: is_gone(client, "/ttl"), 20, "the TTL node is deleted")
    assert time.monotonic() - begun < 20
    assert client.exists("/c").numChildren == 1, "a container with a child stays"
    client.delete("/c/child")
    wait_until(lambda: is_gone(client, "/c"), 10, "the container is deleted")
    client.stop()
    client.close()

    for path in ["/kept", "/left"]:
        assert f"Created {path}" in zkcli(ensemble, "create", "-c", path)
    leader = ensemble.leader()
    client = ensemble.client(*ensemble.followers())
    client.create("/left/child")
    leader.kill()
    # A container that never had a child is kept.
    wait_until(ensemble.leader, 30, "another server leads")
    client.retry(client.delete, "/left/child")
    wait_until(lambda: client.retry(is_gone, client, "/left"), 20, "the next leader has deleted it")
    assert client.exists("/kept")
    leader.start()
    ensemble.wait_serving()
    client.stop()
    client.close()
    assert_same_trees(ensemble.servers)


def test_quotas_of_zkcli(ensemble, java):
    client = ensemble.client(ensemble.leader())
    client.create("/q", b"12345")
    for limit in [("-N", "3"), ("-B", "20")]:
        output = zkcli(ensemble, "setquota", *limit, "/q")
        assert "Exception" not in output, output
    client.create("/q/a", b"12")
    output = zkcli(ensemble, "listquota", "/q")
    assert "Output quota for /q count=-1,bytes=-1=;byteHardLimit=20;countHardLimit=3" in output, output
    assert "Output stat for /q count=2,bytes=7" in output, output
    assert "Created /q/b" in zkcli(ensemble, "create", "/q/b")
    assert "Quota has exceeded : /q/c" in zkcli(ensemble, "create", "/q/c")
    assert "Quota has exceeded : /q/a" in zkcli(ensemble, "set", "/q/a", "x" * 16)
    words = ensemble.leader().words("mntr")
    assert "zk_q_quota_count_limit_per_namespace\t3\n" in words
    assert "zk_q_quota_bytes_usage_per_namespace\t7\n" in words
    # A soft limit is only logged.
    output = zkcli(ensemble, "delquota", "/q")
    assert "Exception" not in output, output
    assert "Exception" not in zkcli(ensemble, "setquota", "-n", "1", "/q")
    assert "Created /q/c" in zkcli(ensemble, "create", "/q/c")
    assert "Output stat for /q count=4,bytes=7" in zkcli(ensemble, "listquota", "/q")
    wait_until(lambda: "Quota exceeded: /q [current count=4, softCountLimit=1]" in ensemble.leader().log_tail(400),
               10, "the leader logs it")
    # A restarted server has the same counts.
    follower = ensemble.followers()[0]
    follower.terminate()
    client.create("/q/d", b"123")
    follower.start()
    wait_until(follower.mode, 30, "the server serves clients")
    assert_same_trees(ensemble.servers)
    client.stop()
    client.close()


# ---- the same frames to both servers

def stat(data):
    """A Stat without times and zxids."""
    czxid, mzxid, _, _, version, cversion, aversion, owner, length, children, pzxid = STAT.unpack(data)
    return (mzxid > czxid, pzxid > czxid, version, cversion, aversion, owner != 0, length, children)


def shown(op, error, body):
    """A reply without times and zxids."""
    if error or op in (DELETE, MULTI, SYNC):
        return error, None if op != MULTI or error else errors_of(body)
    if op in (CREATE, GET_CHILDREN, CHILD_COUNT):
        return error, sorted(strings(body)) if op == GET_CHILDREN else body
    return error, body[:-STAT.size], stat(body[-STAT.size:])


def strings(body):
    (count,), at, found = struct.unpack_from(">i", body), 4, []
    for _ in range(count):
        (length,) = struct.unpack_from(">i", body, at)
        found.append(body[at + 4:at + 4 + length])
        at += 4 + length
    return found


def errors_of(body):
    """The error of each part of a failed multi; None for a successful part."""
    op, done, error = struct.unpack_from(">i?i", body)
    return [struct.unpack_from(">i", body, at + 9)[0] for at in range(0, len(body) - 9, 13)] if op == -1 else None


def creation(path, data=b"", flags=0):
    return ustring(path) + buffer(data) + OPEN_ACL + struct.pack(">i", flags)


def create(path, data=b"", flags=0, op=CREATE):
    return op, creation(path, data, flags)


def create_ttl(path, flags, ttl):
    return TTL, creation(path, b"", flags) + struct.pack(">q", ttl)


def delete(path, version=-1):
    return DELETE, ustring(path) + struct.pack(">i", version)


def set_data(path, data, version=-1):
    return SET_DATA, ustring(path) + buffer(data) + struct.pack(">i", version)


def set_acl(path):
    return SET_ACL, ustring(path) + OPEN_ACL + struct.pack(">i", -1)


def get(path):
    return GET_DATA, ustring(path) + b"\0"


def exists(path):
    return EXISTS, ustring(path) + b"\0"


def children(path):
    return GET_CHILDREN, ustring(path) + b"\0"


def multi(*operations):
    parts_of_it = b"".join(struct.pack(">i?i", op, False, -1) + body for op, body in operations)
    return MULTI, parts_of_it + struct.pack(">i?i", -1, True, -1)


def every_write(path):
    return [create(path), create(path, op=CREATE2), create(path, flags=2), set_data(path, b"x"), set_acl(path),
            multi(create(path)), multi(set_data(path, b"x")), exists(path), delete(path), multi(delete(path))]


ODD_NAMES = [
    "", ".", "..", "...", "./a", "../a", "a/.", "a/..", "a/./b", "a/../b", ".a", "a.", "..a", "a..", "a.b", "a..b",
    "/", "//a", "a/", "a//b", " ", "a b", "~", "\x00", "a\x00", "a\x00b", "\x01", "\x1f", "\x7f", "\x80", "\x9f", "\xa0",
    "\u2028", "\ud7ff", "\ue000", "\uf8ff", "\uf900", "\uffef", "\ufff0", "\ufffd", "\uffff", "\U00010000",
    "\U0001f600", "日本", "ä", "zookeeper",
]


def names():
    for name in ODD_NAMES:
        yield from every_write("/" + name)
    for path in ["", "a", "a/b", "\x00", "zookeeper"]:
        yield from every_write(path)
    yield children("/")
    for path in ["", "/", "/zookeeper", "/a.b", "/none", "/a.b/", "a"]:
        yield CHILD_COUNT, ustring(path)


def what_every_tree_has():
    for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"]:
        # The configurations differ, and no transaction changes the configuration node.
        if path != "/zookeeper/config":
            yield get(path)
        yield from [create(path), create(path, op=CREATE2), delete(path), delete(path, 99), set_acl(path + "/none"),
                    multi(delete(path)), multi(create(path)), set_data(path, b"x", 99)]
        yield from [create(path.rstrip("/") + "/new"), create(path.rstrip("/") + "/mine", flags=1),
                    create(path.rstrip("/") + "/s", flags=2), create(path.rstrip("/") + "/c", flags=4, op=CONTAINER)]
        yield from [children(path), delete(path.rstrip("/") + "/new"), delete(path)]
    for path in ["/", "/zookeeper", "/zookeeper/quota"]:
        yield from [set_data(path, b"changed"), get(path), set_data(path, None), get(path), set_acl(path), get(path)]
    yield set_data("/zookeeper/config", b"changed")
    yield set_acl("/zookeeper/config")
    yield create("/zookeeperx")
    yield delete("/zookeeperx")


def sequences():
    yield create("/s")
    for flags in [2, 2, 3, 0, 1]:
        yield create(f"/s/n{flags}-", flags=flags)
    yield from [children("/s"), delete("/s/n0-"), create("/s/", flags=2), create("/s/", flags=3, op=CREATE2)]
    yield from [create("/s/x", flags=2), create("/s/x", flags=2), get("/s"), children("/s")]
    yield from [create("/none/x", flags=2), create("/s//", flags=2), create("/s/.", flags=2), create("/s/..", flags=2)]
    yield multi(create("/s/m", flags=2), create("/s/m", flags=2), create("/s/m", flags=3))
    yield multi(create("/s/m", flags=2), delete("/s/none"), create("/s/m", flags=2))
    yield from [create("/s/after", flags=2), children("/s"), get("/s"), create("/", flags=2), create("/", flags=3)]


def kinds():
    """Every flag with every operation; which nodes may have children."""
    yield create("/k")
    for flags in range(-1, 9):
        for op in [CREATE, CREATE2, CONTAINER]:
            path = f"/k/{op}f{flags}-"
            yield from [create(path, b"x", flags, op), exists(path), create(path + "/child"), delete(path + "/child"),
                        multi(create(path + "m", b"x", flags, op)), exists(path + "m")]
        # zabkeeper refuses a createTTL of another mode without a TTL: see ARCHITECTURE.md.
        ttls = [0, 1, 1000, (1 << 40) - 1, 1 << 40, (1 << 63) - 1]
        for ttl in [-1, -(1 << 63), *ttls] if flags in (5, 6) else ttls:
            path = f"/k/t{flags}.{ttl}-"
            yield from [create_ttl(path, flags, ttl), exists(path), create(path + "/child"), delete(path + "/child")]
    yield from [children("/k"), get("/k")]


def of_quota(path, limits, stats=b"count=0,bytes=0"):
    names = path.strip("/").split("/")
    for end in range(1, len(names) + 1):
        yield create("/zookeeper/quota/" + "/".join(names[:end]))
    yield create(f"/zookeeper/quota{path}/zookeeper_limits", limits)
    yield create(f"/zookeeper/quota{path}/zookeeper_stats", stats, op=CREATE2)
    yield usage(path)


def usage(path):
    return get(f"/zookeeper/quota{path}/zookeeper_stats")


def change_limits(path, limits):
    return set_data(f"/zookeeper/quota{path}/zookeeper_limits", limits)


def quotas_count():
    yield from [create("/a", b"12345"), create("/a/b", b"67"), create("/a/null", None)]
    yield from of_quota("/a", b"count=3,bytes=4")
    for change in [create("/a/b/c", b"8"), set_data("/a/b", b"123456"), set_data("/a/b", None), set_data("/a", b""),
                   create("/a/e", b"x", 1), create("/a/s", b"xy", 3), delete("/a/e"), delete("/a/none"),
                   create("/a/b", b"again"), delete("/a/b"), create("/ab", b"x"), set_data("/a/b", b"", 77),
                   create("/a/con", b"12", 4, CONTAINER), create_ttl("/a/ttl", 5, 1 << 39),
                   multi(create("/a/m", b"123"), set_data("/a/m", b"1"), create("/a/n"), delete("/a/n")),
                   multi(create("/a/m2", b"123"), delete("/a/none")),
                   multi(set_data("/zookeeper/quota/a/zookeeper_stats", b"count=10,bytes=20=;x=9"), create("/a/z")),
                   set_data("/zookeeper/quota/a/zookeeper_stats", b""), create("/a/y", b"12")]:
        yield from [change, usage("/a")]
    # An inner quota counts its subtree.
    yield from of_quota("/a/b", b"count=-1,bytes=-1")
    for change in [create("/a/b/d", b"1234"), create("/a/d", b"12"), delete("/a/b/d"),
                   delete("/zookeeper/quota/a/b/zookeeper_limits"), create("/a/b/e", b"x")]:
        yield from [change, usage("/a"), usage("/a/b")]
    yield from [delete("/zookeeper/quota/a/zookeeper_stats"), create("/a/uncounted", b"x")]
    yield from [create("/zookeeper/quota/a/zookeeper_stats"), usage("/a"), create("/a/counted"), usage("/a")]
    # A quota for a node that is created later.
    yield from of_quota("/later/on", b"count=1,bytes=1")
    yield from [create("/later"), create("/later/on", b"xyz"), usage("/later/on"), create("/later/on/x"),
                usage("/later/on"), get("/zookeeper/quota/later/on/zookeeper_limits")]


def quotas_are_enforced():
    yield create("/h", b"1234")
    yield from of_quota("/h", b"count=1,bytes=5=;byteHardLimit=10;countHardLimit=4")
    for change in [create("/h/1"), create("/h/2", b"123456"), create("/h/3", b"1"), create("/h/4"), set_data("/h/3", b"12"),
                   set_data("/h/3", b"12", 99), set_data("/h/3", b"", 99), set_data("/h/3", b""), create("/h/4", b"x"),
                   create("/h/s", b"", 2), create("/h/e", b"", 1), create("/h/1", b""), create("/h/none/x"),
                   create("/h/con", b"", 4, CONTAINER), create_ttl("/h/ttl", 5, 1000), create("/h/4", op=CREATE2),
                   multi(create("/h/m")), multi(delete("/h/1"), create("/h/m")), multi(set_data("/h", b"x"), create("/h/m")),
                   multi(create("/free"), create("/h/m"), create("/other")), multi(set_data("/h/1", b"12345678")), delete("/h/2"),
                   # Each part of a multi is checked against the counts before the multi.
                   multi(create("/h/m"), create("/h/n"), create("/h/o")), create("/h/p"), delete("/h/m"), delete("/h/n"),
                   change_limits("/h", b"count=1"), create("/h/5", b"x" * 100),
                   change_limits("/h", b"countHardLimit=-1,byteHardLimit=0"), create("/h/8"), create("/h/9", b"x"),
                   change_limits("/h", b"countHardLimit=0"), create("/h/a"), set_data("/h", b"x" * 1000),
                   change_limits("/h", b""), create("/h/b"), change_limits("/h", b";;count=1"), create("/h/c"),
                   change_limits("/h", b"count=1;;,"), create("/h/c"), change_limits("/h", b"count"), create("/h/d"),
                   set_data("/h/c", b"x"), set_data("/h/c", b"y"), delete("/h/c"),
                   change_limits("/h", b"count=x"), create("/h/d"), multi(create("/free"), create("/h/d")),
                   change_limits("/h", b"countHardLimit= 1"), create("/h/d"), change_limits("/h", b"count==5"), create("/h/e2"),
                   change_limits("/h", b"bytes=5=6"), create("/h/f", b"x" * 10), change_limits("/h", None), create("/h/g"),
                   change_limits("/h", b"countHardLimit=1"), delete("/zookeeper/quota/h/zookeeper_stats"), create("/h/i"),
                   create("/zookeeper/quota/h/zookeeper_stats"), usage("/h"), create("/h/j"),
                   delete("/zookeeper/quota/h/zookeeper_limits"), create("/h/k")]:
        yield from [change, usage("/h")]
    yield children("/h")


@contextlib.contextmanager
def pair(directory, log=None, **settings):
    """Both servers with a client each; `log` is their initial log, if given."""
    ports, servers = free_ports(2), []
    try:
        for impl, port in zip(["apache", "zabkeeper"], ports):
            where = directory / impl
            config = {"tickTime": 2000, "dataDir": where / "data", "clientPort": port, "clientPortAddress": "127.0.0.1",
                      "4lw.commands.whitelist": "*", "admin.enableServer": "false", "preAllocSize": 1024,
                      # Its response cache ignores changed counts, which have no version.
                      "maxResponseCacheSize": 0, "maxGetChildrenResponseCacheSize": 0, **settings}
            servers.append(Server(impl, where, config, port))
            if log:
                (where / "data" / "version-2").mkdir()
                (where / "data" / "version-2" / "log.1").write_bytes(log)
            servers[-1].start()
        for server in servers:
            wait_until(server.mode, 60, f"{server.impl} serves")
        clients = [Raw(port, timeout=30.0, session_timeout=40_000) for port in ports]
        yield clients
        for client in clients:
            client.close()
    finally:
        for server in servers:
            server.kill()


STORIES = [names, what_every_tree_has, sequences, kinds, quotas_count, quotas_are_enforced]


@pytest.mark.parametrize("extended", ["true", "false"])
def test_znode_rules_are_those_of_zookeeper(zabkeeper_only, java, tmp_path, extended):
    differences, asked = [], 0
    with pair(tmp_path, extendedTypesEnabled=extended, enforceQuota="true") as clients:
        for story in STORIES if extended == "true" else [kinds]:
            for step, (op, body) in enumerate(story()):
                replies = [shown(op, error, reply) for error, _, reply in (c.call(op, body) for c in clients)]
                asked += 1
                if replies[0] != replies[1]:
                    differences.append(f"{story.__name__} {step}: op {op} {body[:60]!r}\n"
                                       f"  3.9.5: {replies[0]}\n  here:  {replies[1]}")
    assert asked > 100
    assert not differences, "\n".join(differences)


def test_quota_without_enforcement_only_counts(zabkeeper_only, java, tmp_path):
    with pair(tmp_path) as clients:
        for op, body in quotas_are_enforced():
            replies = [shown(op, error, reply) for error, _, reply in (c.call(op, body) for c in clients)]
            assert replies[0] == replies[1], (op, body)


def logged(zxid, path, parent_cversion):
    """The log entry of a create."""
    txn = (struct.pack(">qiqqi", 0, 0, zxid, 1000 + zxid, CREATE) + ustring(path) + buffer(b"") + OPEN_ACL + b"\0"
           + struct.pack(">i", parent_cversion))
    return struct.pack(">qi", zlib.adler32(txn), len(txn)) + txn + b"B"


def test_sequence_numbers_wrap_around(zabkeeper_only, java, tmp_path):
    """After 2^31 creates below a node the numbers are negative, as in ZooKeeper's manual. 3.9.5 repeats
    the last number."""
    log = b"ZKLG" + struct.pack(">iq", 2, 0) + logged(1, "/s", 1) + logged(2, "/s/x", 2**31 - 3)
    with pair(tmp_path, log, **{"snapshot.trust.empty": "true"}) as (real, ours):
        for client in real, ours:
            assert client.create("/s/n", flags=2) == (0, "/s/n2147483645")
            assert client.create("/s/n", flags=2) == (0, "/s/n2147483646")
            assert client.create("/s/n", flags=2) == (0, "/s/n2147483647")
        assert real.create("/s/n", flags=2) == (-110, None)
        for name in ["n-2147483648", "n-2147483647", "n-2147483646"]:
            assert ours.create("/s/n", flags=2) == (0, f"/s/{name}")
