"""Every request of the client protocol of 3.9.5, as bytes."""
from .jute import acls, boolean, buffer, i32, i64, strings, ustring

CODES = {
    "create": 1, "delete": 2, "exists": 3, "getData": 4, "setData": 5, "getACL": 6, "setACL": 7,
    "getChildren": 8, "sync": 9, "ping": 11, "getChildren2": 12, "check": 13, "multi": 14,
    "create2": 15, "reconfig": 16, "checkWatches": 17, "removeWatches": 18, "createContainer": 19,
    "deleteContainer": 20, "createTTL": 21, "multiRead": 22, "auth": 100, "setWatches": 101,
    "sasl": 102, "getEphemerals": 103, "getAllChildrenNumber": 104, "setWatches2": 105,
    "addWatch": 106, "whoAmI": 107, "createSession": -10, "closeSession": -11,
}
NAMES = {code: name for name, code in CODES.items()}

OPEN = [(31, "world", "anyone")]
READ_ONLY = [(1, "world", "anyone")]


class Op:
    """One request. `body` is bytes, or a function of a server's Names where it holds a zxid or a
    session id of that server. `closes`: the server ends the connection after its reply. `alone`:
    it is answered out of order, so nothing may be under way with it."""

    __slots__ = ("name", "code", "body", "xid", "closes", "alone", "text")

    def __init__(self, name, body=b"", text="", code=None, xid=None, closes=False, alone=False):
        self.name, self.body, self.text = name, body, text
        self.code = CODES[name] if code is None else code
        self.xid, self.closes, self.alone = xid, closes, alone

    def __repr__(self):
        xid = "" if self.xid is None else f" xid={self.xid}"
        return f"{self.name}({self.text}){xid}"

    def bytes_for(self, names):
        return self.body(names) if callable(self.body) else self.body


def create(path, data=b"", acl=OPEN, flags=0, name="create", ttl=None):
    body = ustring(path) + buffer(data) + acls(acl) + i32(flags)
    if ttl is not None:
        body += i64(ttl)
    text = f"{path!r}, {brief(data)}, acl={'open' if acl == OPEN else acl}, flags={flags}"
    return Op(name, body, text + ("" if ttl is None else f", ttl={ttl}"))


def create_ttl(path, ttl, data=b"", acl=OPEN, flags=5):
    return create(path, data, acl, flags, "createTTL", ttl)


def delete(path, version=-1):
    return Op("delete", ustring(path) + i32(version), f"{path!r}, {version}")


def delete_container(path):
    return Op("deleteContainer", ustring(path), repr(path))


def set_data(path, data, version=-1):
    return Op("setData", ustring(path) + buffer(data) + i32(version), f"{path!r}, {brief(data)}, {version}")


def set_acl(path, acl, version=-1):
    return Op("setACL", ustring(path) + acls(acl) + i32(version), f"{path!r}, {acl}, {version}")


def read(name, path, watch=False):
    """exists, getData, getChildren, getChildren2."""
    return Op(name, ustring(path) + boolean(watch), f"{path!r}{', watch' if watch else ''}")


def of_path(name, path):
    """getACL, sync, getAllChildrenNumber, getEphemerals."""
    return Op(name, ustring(path), repr(path))


def check(path, version):
    return Op("check", ustring(path) + i32(version), f"{path!r}, {version}", closes=True, alone=True)


def of_watch(name, path, kind):
    """checkWatches, removeWatches, addWatch."""
    return Op(name, ustring(path) + i32(kind), f"{path!r}, {kind}")


def multi(parts, name="multi"):
    body = b"".join(i32(p.code) + b"\0" + i32(-1) + p.body for p in parts)
    return Op(name, body + i32(-1) + b"\1" + i32(-1), "; ".join(map(repr, parts)))


def set_watches(since, data, exist, child, persistent=None, recursive=None):
    """`since` counts back the zxids that the server has shown: 0 is the latest."""
    lists = strings(data) + strings(exist) + strings(child)
    name = "setWatches"
    if persistent is not None:
        name = "setWatches2"
        lists += strings(persistent) + strings(recursive)
    text = f"since {since} back, {data}, {exist}, {child}, {persistent}, {recursive}"
    return Op(name, lambda names: i64(names.zxid_back(since)) + lists, text, xid=-8)


def auth(scheme, data):
    failing = scheme not in ("digest", "ip")
    return Op("auth", i32(0) + ustring(scheme) + buffer(data), f"{scheme!r}, {data!r}", xid=-4,
              alone=True, closes=failing)


def sasl(token):
    return Op("sasl", buffer(token), brief(token), alone=True)


def reconfig(joining, leaving, members, version):
    body = ustring(joining) + ustring(leaving) + ustring(members) + i64(version)
    return Op("reconfig", body, f"{joining!r}, {leaving!r}, {members!r}, {version}")


def plain(name):
    """ping, whoAmI."""
    return Op(name, xid=-2 if name == "ping" else None)


def close_session():
    return Op("closeSession", closes=True, alone=True)


def unknown(code):
    return Op(f"unknown {code}", code=code, closes=True, alone=True)


def brief(data):
    return repr(data) if data is None or len(data) < 40 else f"{len(data)} bytes"
