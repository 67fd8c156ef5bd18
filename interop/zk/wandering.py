"""Clients that wander: sessions go from member to member while requests are under way, and each
connection begins its xids at 1. They write down what they asked for and were told."""
import random
import socket
import struct
import threading
import time

from .raw import OPEN_ACL, Expired, NoSession, Raw, buffer, ustring
from .records import INCONSISTENT, NODE_EXISTS, OK, SESSION_EXPIRED, SESSION_MOVED, Event, Operation, Session, Stat

CODES = {"create": 1, "delete": 2, "exists": 3, "get": 4, "set": 5, "children": 8, "sync": 9, "check": 13,
         "multi": 14, "watches": 101, "close": -11}
WATCHES_XID, EVENT_XID = -8, -1
NEVER = 1_000_000  # a version that no node has
STAT = struct.Struct(">qqqqiiiqiiq")
REGISTERS, LOCKS = 4, 2
TIMEOUTS = [3.0, 6.0]
PATIENCE = [0.03, 0.1, 0.3, 1.0, 3.0]
LIVELY = 60.0  # seconds in which everything must go on when all is healed


def body(op, last_zxid=0):
    """A request's bytes, without its header."""
    path = ustring(op.path)
    if op.kind == "create":
        return path + buffer(op.value) + OPEN_ACL + struct.pack(">i", op.ephemeral + 2 * op.sequential)
    if op.kind == "set":
        return path + buffer(op.value) + struct.pack(">i", op.version)
    if op.kind in ("delete", "check"):
        return path + struct.pack(">i", op.version)
    if op.kind in ("get", "exists", "children"):
        return path + (b"\1" if op.watch else b"\0")
    if op.kind == "sync":
        return path
    if op.kind == "multi":
        parts = [struct.pack(">ibi", CODES[part.kind], 0, -1) + body(part) for part in op.parts]
        return b"".join(parts) + struct.pack(">ibi", -1, 1, -1)
    if op.kind == "watches":
        data, children = ([ustring(p) for kind, p in op.paths if kind == wanted] for wanted in ("data", "children"))
        lists = [data, [], children]
        return struct.pack(">q", last_zxid) + b"".join(struct.pack(">i", len(one)) + b"".join(one) for one in lists)
    return b""


class Parser:
    """Takes an answer's body apart."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values

    def bytes(self):
        length, = self.take(">i")
        self.at += max(length, 0)
        return self.data[self.at - length:self.at] if length > 0 else b""

    def text(self):
        return self.bytes().decode()

    def stat(self):
        fields = self.take(STAT.format)
        return Stat(czxid=fields[0], mzxid=fields[1], version=fields[4], owner=fields[7])

    def result(self, kind):
        if kind in ("create", "sync"):
            return self.text()
        if kind in ("set", "exists"):
            return self.stat()
        if kind == "get":
            data = self.bytes()
            return data, self.stat()
        if kind == "children":
            return frozenset(self.text() for _ in range(self.take(">i")[0]))
        return None

    def parts(self, multi):
        """The parts' results; the multi's error."""
        errors = []
        for part in multi.parts:
            kind, _, _ = self.take(">ibi")
            if kind == -1:
                error, = self.take(">i")
                part.error = error or INCONSISTENT
                errors.append(part.error)
            else:
                part.result = self.result(part.kind)
        return next((e for e in errors if e != INCONSISTENT), errors[0] if errors else OK)


class Stray(Exception):
    """An answer that does not belong to the oldest request under way."""


class Connection(Raw):
    """One connection of a session, which writes down what happens on it."""

    def __init__(self, history, server, patience, session_timeout, session=(0, bytes(16)), last_zxid=0,
                 xid=0):
        super().__init__(server.client_port, timeout=patience, session=session, last_zxid=last_zxid,
                         session_timeout=round(session_timeout * 1000), host=server.host)
        self.history, self.member, self.xid = history, server.sid, xid
        self.number, self.waiting, self.arrived = next(history.connections), [], 0
        record = history.sessions.setdefault(self.session, Session(self.session, self.negotiated / 1000))
        record.connections.append(self.number)
        self.record = record

    def ask(self, *ops):
        """Sends requests at once."""
        frames, synced = b"", None
        now = time.monotonic()
        for op in ops:
            if op.kind == "watches":
                op.xid = WATCHES_XID
            else:
                self.xid += 1
                op.xid = self.xid
            op.session, op.connection, op.member, op.sent = self.session, self.number, self.member, now
            op.synced = now if synced else None
            synced = op.kind == "sync"
            payload = struct.pack(">ii", op.xid, CODES[op.kind]) + body(op, self.last_zxid)
            frames += struct.pack(">i", len(payload)) + payload
        self.history.operations += ops
        self.waiting += ops
        self.socket.sendall(frames)

    def hear(self):
        """The next arrival: an operation that is answered now, or an event."""
        frame = self.receive()
        now = time.monotonic()
        xid, zxid, error = struct.unpack(">iqi", frame[:16])
        self.arrived += 1
        if xid == EVENT_XID:
            parser = Parser(frame[16:])
            kind, _ = parser.take(">ii")
            event = Event(self.session, self.number, self.arrived, now, kind, parser.text(), zxid)
            self.history.events.append(event)
            return event
        op = self.waiting.pop(0) if self.waiting else None
        if op is None or op.xid != xid:
            self.history.strays.append((op, f"an answer with xid {xid}, zxid {zxid:#x}, error {error} came instead"))
            raise Stray
        self.fill(op, error, zxid, frame[16:])
        op.place = self.arrived
        op.answered = now
        self.last_zxid = max(self.last_zxid, zxid)
        if op.error not in (SESSION_EXPIRED, SESSION_MOVED):
            self.record.heard = op.sent
        return op

    def fill(self, op, error, zxid, data):
        op.error, op.zxid = error, zxid
        try:
            if op.kind == "multi":
                if error == OK:
                    op.error = Parser(data).parts(op)
                else:
                    for part in op.parts:
                        part.error = error
            elif error == OK:
                op.result = Parser(data).result(op.kind)
        except (struct.error, UnicodeDecodeError):
            text = f"{len(data)} bytes that are no answer to a {op.kind}: {data[:80].hex()}"
            self.history.strays.append((op, text))
            raise Stray from None

    def call(self, *ops):
        """Requests whose answers are waited for."""
        self.ask(*ops)
        while self.waiting:
            self.hear()
        return ops[-1]

    def leave(self, abruptly):
        if abruptly:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


BROKEN = (OSError, EOFError, NoSession, Stray)


class Wanderer(threading.Thread):
    """One client: a session at a time, on a connection at a time."""

    KINDS = {"set": 20, "set_if": 20, "set_never": 8, "get": 12, "sync": 9, "create_again": 4, "sequential": 10,
             "delete": 8, "ephemeral": 4, "children": 6, "multi": 8, "lock": 6, "unlock": 5, "look": 3}

    def __init__(self, history, servers, parent, number, seed, xids_go_on=False):
        super().__init__(daemon=True)
        self.xids_go_on, self.xid = xids_go_on, 0
        self.history, self.servers, self.parent, self.number = history, servers, parent, number
        self.random = random.Random(f"{seed}/{parent}/{number}")
        self.halt, self.serial = threading.Event(), 0
        self.broken = None
        self.server = self.random.choice(servers)
        self.versions, self.mine = {}, []  # what was seen last; own nodes to be deleted
        self.forget()

    def forget(self):
        """A new session from here on."""
        self.identity, self.last_zxid, self.timeout = (0, bytes(16)), 0, self.random.choice(TIMEOUTS)
        self.watches = set()

    def run(self):
        try:
            while not self.halt.is_set():
                self.visit()
            self.settle()
        except BaseException as error:
            self.broken = error
            raise

    # One connection.

    def visit(self):
        if self.random.random() < 0.004:
            self.halt.wait(self.timeout * self.random.uniform(0.5, 1.5))  # perhaps too long for the session
        connection = self.connect()
        if connection is None:
            time.sleep(self.random.uniform(0.005, 0.05))
            return
        abruptly = True
        try:
            abruptly = self.stay(connection)
        except BROKEN:
            pass
        finally:
            self.went_from(connection, abruptly)

    def went_from(self, connection, abruptly):
        self.last_zxid = max(self.last_zxid, connection.last_zxid)
        if self.xids_go_on:
            self.xid = connection.xid
        connection.leave(abruptly)

    def connect(self):
        """A connection to a member, mostly another one than before; None if there is none now."""
        others = [s for s in self.servers if s is not self.server]
        self.server = self.random.choice(others if self.random.random() < 0.85 else self.servers)
        began = time.monotonic()
        try:
            connection = Connection(self.history, self.server, 2.0, self.timeout, self.identity, self.last_zxid,
                                    self.xid)
        except Expired:
            self.told_expired()
            return None
        except BROKEN:
            return None
        connection.socket.settimeout(self.random.choice(PATIENCE))
        self.identity = connection.session, connection.password
        if connection.record.heard == 0.0:
            connection.record.heard = began
        return connection

    def told_expired(self):
        record = self.history.sessions.get(self.identity[0])
        if record:
            record.expired = time.monotonic()
        self.forget()

    def stay(self, connection):
        """Requests and answers; whether to go abruptly."""
        self.watch_again(connection)
        for _ in range(self.random.choice([1, 1, 2, 3, 10])):
            connection.ask(*self.batch())
            if self.random.random() < 0.15:
                return self.random.random() < 0.5  # with all of it under way
            while connection.waiting:
                if not self.heard(connection.hear()):
                    return True
            if self.halt.wait(self.random.uniform(0.0, 0.03)):
                break
            if self.random.random() < 0.006:
                self.give_up(connection)
                return True
        return self.random.random() < 0.3

    def watch_again(self, connection):
        if self.watches:
            connection.ask(Operation("watches", paths=sorted(self.watches)))

    def give_up(self, connection):
        """Closes the session, or only goes away and lets it expire."""
        if self.random.random() < 0.5:
            self.forget()
            connection.call(Operation("close"))
        else:
            connection.record.left = time.monotonic()
            self.forget()

    def heard(self, one):
        """Remembers what was told; False if the session is not ours any more."""
        if isinstance(one, Event):
            self.watches.discard(("data" if one.kind == 3 else "children", one.path))
            return True
        if one.error == SESSION_EXPIRED:
            self.told_expired()
            return False
        if one.error == SESSION_MOVED:
            return False
        if one.done and one.watch:
            self.watches.add(("data" if one.kind == "get" else "children", one.path))
        if one.done and one.kind == "set":
            self.versions[one.path] = one.result.version
        elif one.done and one.kind == "get":
            self.versions[one.path] = one.result[1].version
        elif one.done and one.kind == "create" and (one.sequential or one.ephemeral):
            self.mine.append(one.result)
        return True

    # What is asked for.

    def batch(self):
        ops = []
        for _ in range(self.random.choice([1, 1, 2, 3, 4])):
            kind, = self.random.choices(list(self.KINDS), self.KINDS.values())
            ops += getattr(self, kind)()
        return ops

    def unique(self):
        self.serial += 1
        return f"{self.number}.{self.serial}".encode()

    def register(self):
        return f"{self.parent}/r-{self.random.randrange(REGISTERS)}"

    def set(self):
        return [Operation("set", self.register(), self.unique())]

    def set_if(self):
        path = self.register()
        return [Operation("set", path, self.unique(), self.versions.get(path, 0))]

    def set_never(self):
        return [Operation("set", self.register(), self.unique(), NEVER)]

    def get(self):
        return [Operation("get", self.register(), watch=self.random.random() < 0.4)]

    def sync(self):
        read = self.get() if self.random.random() < 0.7 else self.children()
        return [Operation("sync", read[0].path), *read]

    def create_again(self):
        return [Operation("create", self.register(), self.unique())]

    def sequential(self):
        return [Operation("create", f"{self.parent}/seq/{self.unique().decode()}-", self.unique(), sequential=True)]

    def ephemeral(self):
        return [Operation("create", f"{self.parent}/eph/{self.unique().decode()}-e", self.unique(), ephemeral=True)]

    def delete(self):
        if len(self.mine) < 3:
            return self.get()
        return [Operation("delete", self.mine.pop(self.random.randrange(len(self.mine))))]

    def children(self):
        name = self.random.choice(["seq", "eph"])
        return [Operation("children", f"{self.parent}/{name}", watch=self.random.random() < 0.4)]

    def multi(self):
        first, second = self.random.sample(range(REGISTERS), 2)
        first, second = f"{self.parent}/r-{first}", f"{self.parent}/r-{second}"
        version = self.versions.get(first, 0) if self.random.random() < 0.5 else -1
        parts = [Operation("set", first, self.unique(), version)]
        if self.random.random() < 0.3 and second in self.versions:
            parts.insert(0, Operation("check", second, version=self.versions[second]))
        else:
            parts.append(Operation("set", second, self.unique()))
        if self.random.random() < 0.3:
            parts += self.sequential()
        return [Operation("multi", parts=parts)]

    def a_lock(self):
        return f"{self.parent}/lock-{self.random.randrange(LOCKS)}"

    def lock(self):
        return [Operation("create", self.a_lock(), self.unique())]

    def unlock(self):
        return [Operation("delete", self.a_lock())]

    def look(self):
        return [Operation("exists", self.a_lock())]

    # The end: a write gets through.

    def settle(self):
        deadline = time.monotonic() + LIVELY
        while not self.settled():
            if time.monotonic() > deadline:
                text = f"client {self.number} got no write through in {LIVELY} s when all was healed"
                self.history.stuck.append(text)
                return

    def settled(self):
        connection = self.connect()
        if connection is None:
            time.sleep(0.05)
            return False
        connection.socket.settimeout(5.0)
        try:
            self.watch_again(connection)
            connection.ask(*self.set(), *self.get())
            ops = list(connection.waiting)
            while connection.waiting:
                if not self.heard(connection.hear()):
                    return False
            if self.number % 2:
                connection.call(Operation("close"))
            else:
                connection.record.left = time.monotonic()
            return all(op.done for op in ops)
        except BROKEN:
            return False
        finally:
            self.went_from(connection, True)


def again(attempt, what):
    """What `attempt` gives as soon as no connection breaks over it: after the last fault a member
    may lose its leader once more."""
    deadline = time.monotonic() + LIVELY
    while True:
        try:
            return attempt()
        except (*BROKEN, Expired) as error:
            assert time.monotonic() < deadline, f"not in {LIVELY} s when all was healed: {what} ({error})"
            time.sleep(0.2)


def prepare(server, parent):
    """Makes the nodes that are there from the beginning to the end."""
    raw = Raw(server.client_port, timeout=30.0, host=server.host)
    names = ["", "/seq", "/eph", *(f"/r-{n}" for n in range(REGISTERS))]
    for name in names:
        error, _ = raw.create(parent + name)
        assert error in (OK, NODE_EXISTS), f"{parent}{name}: error {error}"
    raw.close()


def look(history, server, parent):
    """What a member shows at the end, which is part of the history; the names of ephemerals."""
    connection = Connection(history, server, 10.0, 10.0)
    try:
        for path in [f"{parent}/r-{n}" for n in range(REGISTERS)]:
            connection.call(Operation("sync", path), Operation("get", path))
        for path in [f"{parent}/lock-{n}" for n in range(LOCKS)]:
            connection.call(Operation("sync", path), Operation("exists", path))
        connection.call(Operation("sync", f"{parent}/seq"), Operation("children", f"{parent}/seq"))
        path = f"{parent}/eph"
        ephemerals = connection.call(Operation("sync", path), Operation("children", path)).result
        connection.call(Operation("close"))
        return ephemerals
    finally:
        connection.close()


def look_until_ephemerals_are_gone(history, servers, parent):
    """All sessions have ended or were left: in the end no member shows an ephemeral."""
    deadline = time.monotonic() + LIVELY
    for server in servers:
        while left := again(lambda: look(history, server, parent), f"server {server.sid} shows everything"):
            if time.monotonic() > deadline:
                text = f"ephemerals are still there {LIVELY} s after their clients went: {sorted(left)[:5]}"
                history.stuck.append(text)
                return
            time.sleep(0.5)
