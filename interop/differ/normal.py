"""What may differ between two servers is given names: zxids, sessions, passwords, times.

A zxid becomes the number of its first appearance, so that equal stays equal and different stays
different. A session becomes the number of its connect. A password is compared with what its
session's must be. A time that could be now becomes 1. Names that come in no promised order
(children, ephemerals, identities) are sorted."""
import struct
import time

from .jute import Reader, acl, buffer, i32, i64, strings

STAT = struct.Struct(">qqqqiiiqiiq")
HEADER = struct.Struct(">iqi")
# Replies whose last bytes are a Stat.
STAT_TAIL = {3, 4, 5, 6, 7, 12, 15, 16, 19, 21}
FIRST_NAME = 1 << 32
FIRST_SESSION = 1 << 48


def password_of(session):
    """16 bytes of java.util.Random seeded by the session's id."""
    mask = (1 << 48) - 1
    state = ((session ^ 0xB3415C00) ^ 0x5DEECE66D) & mask
    out = b""
    for _ in range(4):
        state = (state * 0x5DEECE66D + 0xB) & mask
        out += struct.pack("<I", (state >> 16) & 0xFFFFFFFF)
    return out


class Names:
    """What one server's zxids and sessions are called."""

    def __init__(self):
        self.zxids, self.order, self.sessions = {}, [], {}

    def zxid(self, zxid):
        if zxid in (0, -1):
            return zxid
        name = self.zxids.get(zxid)
        if name is None:
            name = self.zxids[zxid] = FIRST_NAME + len(self.order)
            self.order.append(zxid)
        return name

    def zxid_back(self, count):
        """The zxid that came to be known `count` before the latest; -1: the next one to come."""
        if count < 0:
            return self.order[-1] - count if self.order else 0
        return self.order[-1 - count] if count < len(self.order) else 0

    def session(self, session):
        return self.sessions.get(session, session)

    def meet(self, session):
        return self.sessions.setdefault(session, FIRST_SESSION + len(self.sessions))

    def stat(self, data):
        """The 68 bytes of a Stat, named."""
        czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, length, children, pzxid = STAT.unpack(data)
        return STAT.pack(self.zxid(czxid), self.zxid(mzxid), moment(ctime), moment(mtime), version, cversion,
                         aversion, self.session(owner), length, children, self.zxid(pzxid))

    def connect_response(self, body):
        """A ConnectResponse, named; the session's real id and password."""
        reader = Reader(body)
        version, timeout, session, password = reader.i32(), reader.i32(), reader.i64(), reader.buffer()
        named, secret = session, password
        if session != 0:
            named = self.meet(session)
            if password == password_of(session):
                secret = b"its own password"
        return i32(version) + i32(timeout) + i64(named) + buffer(secret) + reader.rest(), session, password

    def frame(self, data, op):
        """A reply's or event's payload, named. `op`: what it answers, None for an event."""
        if len(data) < 16:
            return data
        xid, zxid, error = HEADER.unpack_from(data)
        head = HEADER.pack(xid, self.zxid(zxid), error)
        if op is None or len(data) == 16:
            return head + data[16:]
        try:
            return head + self.body(data[16:], op.code)
        except struct.error:
            return head + data[16:]

    def body(self, body, code):
        if code == 12:
            return sorted_names(body[:-68]) + self.stat(body[-68:])
        if code == 6 and len(body) >= 68:
            return acl_in_order(body[:-68]) + self.stat(body[-68:])
        if code in STAT_TAIL:
            return body[:-68] + self.stat(body[-68:]) if len(body) >= 68 else body
        if code in (8, 103):
            return sorted_names(body)
        if code == 107:
            reader = Reader(body)
            pairs = reader.vector(lambda: buffer(reader.buffer()) + buffer(reader.buffer()))
            return i32(len(pairs)) + b"".join(sorted(pairs)) + reader.rest()
        if code in (14, 22):
            return self.results(body)
        return body

    def results(self, body):
        """The results of a multi or multiRead."""
        reader, out = Reader(body), []
        while True:
            head = reader.take(9)
            out.append(head)
            kind, done, _ = struct.unpack(">i?i", head)
            if done:
                return b"".join(out) + reader.rest()
            if kind == -1:
                out.append(reader.take(4))
            elif kind in (1, 15, 4):
                out.append(buffer(reader.buffer()))
                if kind != 1:
                    out.append(self.stat(reader.take(68)))
            elif kind == 5:
                out.append(self.stat(reader.take(68)))
            elif kind == 8:
                out.append(strings(sorted(reader.vector(reader.buffer))))


def moment(ms):
    """A time, ms since 1970: 1 if it could have been during this run."""
    return 1 if abs(ms - time.time() * 1000) < 3_600_000 else ms


def acl_in_order(body):
    """What `auth` stands for comes in no promised order: runs of digests of the same permissions
    are sorted."""
    reader, out, run = Reader(body), [], []
    count = reader.i32()
    for _ in range(count):
        perms, scheme, name = reader.acl()
        if run and run[0][:2] != (perms, scheme) or scheme != b"digest":
            out += sorted(run, key=repr)
            run = []
        run.append((perms, scheme, name))
    out += sorted(run, key=repr)
    return i32(count) + b"".join(acl(entry) for entry in out) + reader.rest()


def sorted_names(body):
    reader = Reader(body)
    names = reader.vector(reader.buffer)
    return (i32(-1) if names is None else strings(sorted(names))) + reader.rest()
