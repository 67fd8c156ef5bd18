"""Runs a sequence on one server, a step at a time, and writes down what every connection saw."""
import struct

from . import decode
from .jute import boolean, buffer, i32, i64
from .normal import Names
from .requests import CODES, Op, plain
from .socket_client import CLOSED, SILENT, Connection
from .story import Connect, Drop

PING = i32(8) + i32(-2) + i32(CODES["ping"])
FUTURE = 1 << 61
# Where a slot's connection is kept while a new one of the same session comes in its place.
BEFORE = 100
# Operations that can make another connection hear something.
WRITES = {1, 2, 5, 14, 15, 19, 20, 21, 16, -11}
ANSWER_S = 5.0
CLOSE_S = 1.0


class Seen:
    """One thing that a connection saw: its form for comparing, and itself."""

    __slots__ = ("form", "raw", "op")

    def __init__(self, form, raw=b"", op=None):
        self.form, self.raw, self.op = form, raw, op

    def __str__(self):
        if not self.raw:
            return str(self.form)
        answered = f"{self.op!r} → " if self.op else ""
        text = decode.frame(self.raw, self.op.code if self.op else None)
        return f"{answered}{text}\n        {self.raw.hex()}"


class Side:
    """One server while it runs one sequence."""

    def __init__(self, port):
        self.port, self.names = port, Names()
        self.slots, self.sessions, self.alive = {}, {}, {}
        self.pending = []

    # ---- a step: begin on every side, then finish on every side

    def begin(self, step):
        if isinstance(step, Drop):
            self.forget(step.slot)
        elif isinstance(step, Connect):
            before, wanted = self.slots.get(step.slot), self.sessions.get(step.session)
            self.forget(step.slot + BEFORE)
            if before and before.open and wanted and before.session == wanted[0]:
                # The server has to end it.
                self.slots[step.slot + BEFORE] = self.slots.pop(step.slot)
            else:
                self.forget(step.slot)
            connection = self.slots[step.slot] = Connection(self.port, ANSWER_S)
            connection.send(self.connect_request(step))
        else:
            connection = self.slots.get(step[0].slot)
            self.pending = []
            if connection is None or not connection.open:
                return
            out = []
            for do in step:
                if do.op.xid is None:
                    connection.xid += 1
                xid = connection.xid if do.op.xid is None else do.op.xid
                body = do.op.bytes_for(self.names)
                out.append(struct.pack(">iii", 8 + len(body), xid, do.op.code))
                out.append(body)
                self.pending.append((-2 if do.op.code == CODES["ping"] else xid, do.op))
            if not step[-1].op.alone:
                out.append(PING)
                self.pending.append((-2, BARRIER))
            connection.send(b"".join(out))

    def finish(self, step):
        """Slot → what it saw."""
        if isinstance(step, Drop):
            return {}
        if isinstance(step, Connect):
            return {step.slot: self.connected(step)}
        slot = step[0].slot
        connection = self.slots.get(slot)
        if connection is None or not connection.open:
            return {}
        seen, last = [], step[-1].op
        if not last.alone:
            self.collect(connection, seen, ANSWER_S)
            return {slot: seen}
        closed = self.collect(connection, seen, ANSWER_S)
        if last.closes and not closed:
            closed = self.collect(connection, seen, CLOSE_S, until_closed=True)
        if not closed:
            self.pending.append((-2, BARRIER))
            connection.send(PING)
            self.collect(connection, seen, ANSWER_S)
        return {slot: seen}

    def collect(self, connection, seen, timeout, until_closed=False):
        """Reads until all that is pending is answered; whether the connection was closed."""
        while self.pending or until_closed:
            data = connection.frame(None if timeout == ANSWER_S else timeout)
            if data is SILENT:
                if not until_closed:
                    seen.append(Seen(f"silent; not answered: {[op for _, op in self.pending]}"))
                self.pending = []
                return False
            if data is CLOSED:
                seen.append(Seen("closed"))
                return True
            op = self.answered(data)
            if op is not BARRIER:
                seen.append(Seen(self.names.frame(data, op), data, op))
        return False

    def answered(self, data):
        """The pending operation that a frame answers; None for an event."""
        xid = int.from_bytes(data[:4], "big", signed=True)
        for at, (expected, op) in enumerate(self.pending):
            if expected == xid:
                del self.pending[at]
                return op
        return None

    def listen(self, besides):
        """Makes every other connection tell what it has to tell: begin."""
        for slot, connection in self.slots.items():
            if slot != besides and connection.open:
                connection.send(PING)

    def heard(self, besides):
        """… and finish."""
        out = {}
        for slot, connection in self.slots.items():
            if slot != besides and connection.open:
                self.pending = [(-2, BARRIER)]
                seen = []
                self.collect(connection, seen, ANSWER_S)
                if seen:
                    out[slot] = seen
        return out

    # ---- sessions

    def connect_request(self, how):
        session, password = 0, b"\0" * 16
        if how.session == "none such":
            session = 0x1234567890
        elif how.session is not None and how.session in self.sessions:
            session, password = self.sessions[how.session]
        password = {"right": password, "wrong": b"\1" * 16, "short": b"\0" * 3, "null": None}[how.password]
        seen = 0 if how.seen is None else FUTURE if how.seen == "future" else self.names.zxid_back(how.seen)
        request = i32(how.version) + i64(seen) + i32(how.timeout) + i64(session) + buffer(password)
        if how.read_only is not None:
            request += boolean(how.read_only)
        return i32(len(request)) + request

    def connected(self, how):
        connection = self.slots[how.slot]
        data = connection.frame()
        if data is SILENT or data is CLOSED:
            return [Seen("silent" if data is SILENT else "closed")]
        try:
            form, session, password = self.names.connect_response(data)
        except struct.error:
            return [Seen(data, data, CONNECT)]
        seen = [Seen(form, data, CONNECT)]
        if session:
            connection.session = session
            self.sessions[how.slot] = self.alive[session] = (session, password)
        elif connection.frame(CLOSE_S) is CLOSED:
            seen.append(Seen("closed"))
        return seen

    def forget(self, slot):
        """The client leaves; and the server has noticed."""
        connection = self.slots.pop(slot, None)
        if connection and connection.open:
            connection.leave()

    def end(self):
        """Closes every session, so that none expires in a later sequence."""
        for connection in self.slots.values():
            if connection.open:
                connection.close()
        for session, password in self.alive.values():
            connection = Connection(self.port, ANSWER_S)
            request = i32(0) + i64(0) + i32(30_000) + i64(session) + buffer(password) + b"\0"
            connection.send(i32(len(request)) + request)
            data = connection.frame()
            if data not in (CLOSED, SILENT) and data[4:8] != b"\0\0\0\0":
                connection.send(struct.pack(">iii", 8, 1, CODES["closeSession"]))
                while connection.frame() not in (CLOSED, SILENT):
                    pass
            connection.close()


BARRIER = plain("ping")
CONNECT = Op("connect", code=0)


def makes_others_hear(step):
    if isinstance(step, Connect):
        return step.session is not None
    return isinstance(step, list) and any(do.op.code in WRITES for do in step)


def in_path_order(seen):
    """The deletions of one closing session come in no promised order: by path then."""
    out, run = [], []

    def flush():
        run.sort(key=lambda one: one.form[24:])
        out.extend(run)
        run.clear()
    for one in seen:
        is_event = one.op is None and isinstance(one.form, bytes) and one.form[:4] == b"\xff" * 4
        if not is_event or (run and run[0].form[4:12] != one.form[4:12]):
            flush()
        (run if is_event else out).append(one)
    flush()
    return out
