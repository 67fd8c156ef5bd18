"""Random sequences from a seed: valid operations and invalid ones, on several sessions."""
import random

from . import requests as rq
from .story import Story

SLOTS = 4
NAMES = ["a", "b", "c"]
USERS = [b"user:secret", b"other:word", b"super:admin"]
# The digest of user:secret and of other:word.
DIGESTS = ["user:5w9W4eL3797Y4Wq8AcKUPPk8ha4=", "other:tz05ELVFBMUiiBYibDY6e+xrsto="]

WEIGHTS = {
    "create": 120, "create2": 50, "createContainer": 15, "createTTL": 15, "delete": 70, "deleteContainer": 8,
    "exists": 50, "getData": 60, "setData": 80, "getACL": 30, "setACL": 25, "getChildren": 40,
    "getChildren2": 40, "sync": 15, "ping": 8, "check": 1, "multi": 60, "multiRead": 25, "reconfig": 2,
    "checkWatches": 20, "removeWatches": 30, "addWatch": 40, "auth": 8, "setWatches": 8, "setWatches2": 12,
    "sasl": 1, "getEphemerals": 15, "getAllChildrenNumber": 15, "whoAmI": 6, "unknown": 2,
    "closeSession": 3, "connect": 6, "drop": 3, "quota": 15, "mangled": 15, "negative xid": 5,
}


def story(seed, operations, prefix, without=()):
    """The items of a seed. The same seed gives the same, but for the folder's name."""
    return Generator(seed, prefix, without).write(operations)


class Generator:
    def __init__(self, seed, prefix, without):
        self.rng, self.prefix = random.Random(seed), prefix
        self.without = set(without)
        kinds = {kind: weight for kind, weight in WEIGHTS.items() if kind not in self.without}
        # What a quota lets through is counted when it is applied: one operation at a time there.
        self.one_by_one = seed % 4 == 3
        if not self.one_by_one:
            kinds.pop("quota", None)
        self.kinds, self.weights = list(kinds), list(kinds.values())
        self.dead = set()  # slots whose connection has ended

    def write(self, operations):
        story = Story(self.prefix).begin(SLOTS)
        rng, done = self.rng, 0
        while done < operations:
            slot = rng.randrange(SLOTS)
            if slot in self.dead:
                self.connect(story, slot)
                done += 1
                continue
            size = 1 if self.one_by_one or rng.random() < 0.3 else rng.randint(2, 20)
            burst = []
            for _ in range(size):
                kind = rng.choices(self.kinds, self.weights)[0]
                if kind in ("connect", "drop"):
                    break
                op = self.op(kind)
                if op.alone:
                    if burst:
                        story.together(slot, *burst)
                        done += len(burst)
                    burst = [op]
                    if op.closes:
                        self.dead.add(slot)
                    break
                burst.append(op)
                if kind == "setACL" or op.name == "setACL":
                    break  # whether it holds for what is on its heels is a race
            if burst:
                story.together(slot, *burst)
                done += len(burst)
            if kind == "connect":
                self.connect(story, slot)
                done += 1
            elif kind == "drop":
                story.drop(slot)
                self.dead.add(slot)
                done += 1
        return story.items

    def connect(self, story, slot):
        rng, how = self.rng, {}
        kind = rng.random()
        if kind < 0.5:
            how["session"] = slot
        elif kind < 0.6:
            how["session"] = rng.randrange(SLOTS)
        elif kind < 0.63:
            how["session"] = "none such"
        if rng.random() < 0.1:
            password = rng.choice(["wrong", "short", "null"])
            # One that is wrong cuts nobody's connection here, and does in ZooKeeper.
            if how.get("session") in (None, "none such"):
                how["password"] = password
        if rng.random() < 0.3:
            how["seen"] = rng.choice([0, 0, 3, 10, "future"])
        if rng.random() < 0.2:
            how["read_only"] = rng.choice([True, None])
        if rng.random() < 0.1:
            how["timeout"] = rng.choice([700_000, 500_000])
        if rng.random() < 0.05:
            how["version"] = rng.choice([1, -1, 77])
        story.connect(slot, **how)
        self.dead.discard(slot)
        refused = how.get("session") == "none such" or how.get("seen") == "future" or "password" in how
        if refused:
            self.dead.add(slot)
        taken = how.get("session")
        if isinstance(taken, int) and taken != slot and how.get("seen") != "future":
            self.dead.add(taken)

    # ---- what operations are made of

    def path(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.78:
            depth = rng.choice([1, 1, 1, 2, 2, 3])
            return self.prefix + "".join("/" + rng.choice(NAMES) for _ in range(depth))
        if kind < 0.86:
            where = rng.choice(["", "/a", "/b"])
            return f"{self.prefix}{where}/{rng.choice('qr')}{rng.randrange(12):010d}"
        if kind < 0.9:
            return self.prefix
        return self.odd_path()

    def odd_path(self):
        p = self.prefix
        path = self.rng.choice([
            "", "/", "relative", None, p + "/", p + "//a", p + "/.", p + "/..", p + "/./a", p + "/a/", p + "/a\0b",
            p + "/\x01", p + "/\x7f", p + "/\u00e9", p + "/\u4e2d\u6587", p + "/\ud800",
            p.encode() + b"/\xff\xfe", p.encode() + b"/\xc3", p + "/\ufffd", p + "/\ue000", p + "/...", p + "/a b",
            "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "/zookeeper/none", "/nowhere/at/all", "//", "/.",
            p + "/" + "x" * 300, p + "/%s%n",
        ])
        return "/zookeeper" if path == "/zookeeper/config" and "config" in self.without else path

    def data(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.1:
            return None
        if kind < 0.25:
            return b""
        return rng.randbytes(rng.choice([1, 3, 10, 30, 100, 1000 if kind > 0.95 else 20]))

    def version(self):
        rng = self.rng
        return -1 if rng.random() < 0.6 else rng.choice([0, 0, 1, 1, 2, 3, 4, 100, -2, 2**31 - 1, -2**31])

    def acl(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.75:
            return rq.OPEN
        if kind < 0.95:
            entries = [(31, "world", "anyone"), (1, "world", "anyone"), (31, "auth", ""), (31, "auth", "ignored"),
                       (17, "digest", DIGESTS[0]), (31, "digest", DIGESTS[0]), (6, "digest", DIGESTS[1]),
                       (31, "ip", "127.0.0.1"), (15, "ip", "127.0.0.0/8"), (31, "ip", "10.0.0.0/8"),
                       (30, "ip", "::1"), (16, "world", "anyone"), (0, "world", "anyone"), (-1, "world", "anyone")]
            return [rng.choice(entries) for _ in range(rng.randint(1, 3))]
        return rng.choice([
            None, [], [(31, None, "anyone")], [(31, "world", None)], [(31, "world", "nobody")], [(31, "", "")],
            [(31, "digest", "nocolon")], [(31, "digest", "a:b:c")], [(31, "ip", "300.0.0.1")], [(31, "ip", "")],
            [(31, "ip", "127.0.0.1/33")], [(31, "ip", "127.0.0.1/-1")], [(31, "ip", "127.0.0.1/x")],
            [(31, "unheard", "of")], [(31, "sasl", "someone")], [(31, "x509", "CN=a")], [(31, "super", "")],
            [(31, "digest", None)], [(31, "ip", None)], [(31, "world", "anyone"), (31, "unheard", "of")],
            [(31, "digest", "\u00e9:x")], [(31, "digest", b"\xff:x")],
        ])

    def flags(self):
        return self.rng.choice([0] * 12 + [1, 1, 2, 2, 3, 3] + [4, 5, 6, 7, -1])

    def ttl(self):
        return self.rng.choice([1_000_000, 1_000_000, 50_000_000, 2**40 - 1, 2**40, 0, 2**62])

    def op(self, kind):
        rng = self.rng
        if kind == "mangled":
            return self.mangled()
        if kind == "negative xid":
            op = self.op(rng.choice([k for k in ("create", "setData", "exists") if k not in self.without] or ["getACL"]))
            op.xid = rng.choice([-3, -5, -9, 0, 1, 2**31 - 1, -2**31])
            return op
        if kind == "quota":
            return self.quota()
        if kind in ("create", "create2"):
            return rq.create(self.new_path(), self.data(), self.acl(), self.flags(), kind)
        if kind == "createContainer":
            return rq.create(self.path(), self.data(), self.acl(), rng.choice([4, 4, 4, 0, 2]), kind)
        if kind == "createTTL":
            return rq.create_ttl(self.new_path(), self.ttl(), self.data(), self.acl(), rng.choice([5, 5, 6, 0, 4, 1]))
        if kind == "delete":
            return rq.delete(self.path(), self.version())
        if kind == "deleteContainer":
            return rq.delete_container(self.path())
        if kind == "setData":
            return rq.set_data(self.path(), self.data(), self.version())
        if kind == "setACL":
            path = self.path()
            while path in ("", "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"):
                path = self.path()
            return rq.set_acl(path, self.acl(), self.version())
        if kind in ("exists", "getData", "getChildren", "getChildren2"):
            return rq.read(kind, self.path(), rng.random() < 0.4)
        if kind in ("getACL", "sync", "getAllChildrenNumber"):
            return rq.of_path(kind, self.path())
        if kind == "getEphemerals":
            return rq.of_path(kind, rng.choice(["", "/", " ", None, self.prefix, self.prefix + "/a", self.path()]))
        if kind in ("checkWatches", "removeWatches"):
            return rq.of_watch(kind, self.path(), rng.choice([1, 2, 3, 3, 4, 5, 1, 2, 3, 4, 5, 0, 6, -1]))
        if kind == "addWatch":
            # A watch on a null path is not kept here; nothing else could tell.
            return rq.of_watch(kind, self.path() or "", rng.choice([0, 1, 0, 1, 0, 1, 2, -1]))
        if kind == "multi":
            return self.multi()
        if kind == "multiRead":
            kinds = ["getData", "getChildren", "getData", "getChildren"]
            if rng.random() < 0.05:
                kinds.append(rng.choice(["exists", "create", "delete"]))
            parts = [self.op(rng.choice(kinds)) for _ in range(rng.randrange(5))]
            return rq.multi(parts, "multiRead")
        if kind == "reconfig":
            return rq.reconfig(rng.choice([None, "server.2=a:1:2"]), None, None, -1)
        if kind in ("setWatches", "setWatches2"):
            lists = [[self.path() for _ in range(rng.randrange(4))] for _ in range(5)]
            if rng.random() < 0.05:
                lists[rng.randrange(5)] = None
            many = lists if kind == "setWatches2" else lists[:3] + [None, None]
            if kind == "setWatches2" and many[3] is None:
                many[3] = []
            op = rq.set_watches(rng.choice([0, 1, 5, 20, 100]), *many)
            return op
        if kind == "auth":
            if rng.random() < 0.9:
                return rq.auth("digest", rng.choice(USERS))
            return rq.auth(*rng.choice([("digest", b"nocolon"), ("digest", b""), ("ip", b"1.2.3.4"),
                                        ("unheard", b"x"), ("world", b"anyone"), ("", b""), ("auth", b""),
                                        ("digest", b"a:b:c"), ("digest", b"\xff:x"), ("sasl", b"x")]))
        if kind == "sasl":
            return rq.sasl(rng.choice([b"", b"token"]))
        if kind in ("ping", "whoAmI"):
            return rq.plain(kind)
        if kind == "closeSession":
            return rq.close_session()
        if kind == "check":
            return rq.check(self.path(), self.version())
        assert kind == "unknown", kind
        return rq.unknown(rng.choice([0, 10, -1, 23, 50, 99, 108, 200, 999, -2, -12, 2**31 - 1]))

    def new_path(self):
        """For a create: a sequence's name at times."""
        if self.rng.random() < 0.2:
            return self.prefix + self.rng.choice(["/q", "/r", "/a/q", "/b/q", "/a/", "/"])
        return self.path()

    def multi(self):
        rng = self.rng
        kinds = [k for k in ("create", "create2", "delete", "setData", "check", "create", "setData", "createContainer",
                             "createTTL") if k not in self.without]
        if rng.random() < 0.04:
            kinds = [*kinds, rng.choice(["exists", "setACL", "sync", "getData", "deleteContainer"])]
        parts = []
        for _ in range(rng.choice([0, 1, 2, 2, 3, 3, 4, 6])):
            kind = rng.choice(kinds)
            if kind == "check":
                parts.append(rq.check(self.path(), self.version()))
            else:
                parts.append(self.op(kind))
        return rq.multi(parts)

    def quota(self):
        """Somewhere in /zookeeper/quota: limits and what is counted."""
        rng = self.rng
        where = "/zookeeper/quota" + self.prefix + rng.choice(["", "/a", "/b"])
        kind = rng.random()
        if kind < 0.25:
            return rq.create(where, b"", rq.OPEN)
        limits = rng.choice([b"count=5,bytes=100", b"count=-1,bytes=200=;byteHardLimit=150;countHardLimit=-1",
                             b"count=3,bytes=-1=;byteHardLimit=-1;countHardLimit=9", b"count=1000,bytes=100000"])
        leaf = where + rng.choice(["/zookeeper_limits", "/zookeeper_stats"])
        if kind < 0.45:
            return rq.create(leaf, limits if leaf.endswith("limits") else b"count=0,bytes=0", rq.OPEN)
        if kind < 0.6:
            return rq.set_data(where + "/zookeeper_limits", limits)
        if kind < 0.7:
            return rq.delete(leaf)
        return rq.read("getData", where + "/zookeeper_stats")

    def mangled(self):
        """A request whose body ends too early, goes on too long, or has bytes changed."""
        rng = self.rng
        kinds = [k for k in ("create", "create2", "delete", "exists", "getData", "setData", "getACL", "setACL",
                             "getChildren", "getChildren2", "sync", "multi", "getEphemerals", "getAllChildrenNumber",
                             "addWatch", "removeWatches") if k not in self.without]
        op = self.op(rng.choice(kinds))
        body = op.body
        kind = rng.random()
        if kind < 0.4:
            body = body[:rng.randrange(len(body) + 1)]
        elif kind < 0.6:
            body += rng.randbytes(rng.randint(1, 8))
        elif kind < 0.8:
            at = rng.randrange(4)
            body = body[:at] + bytes([rng.choice([0, 1, 0x7f, 0x80, 0xff])]) + body[at + 1:]
        else:
            body = rng.randbytes(rng.randrange(30))
        return rq.Op(op.name, body, f"mangled {body.hex()}")
