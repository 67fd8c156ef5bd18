"""Reply frames as text, for a person who looks at a difference."""
import struct

from .jute import Reader
from .normal import HEADER, STAT, STAT_TAIL
from .requests import NAMES

EVENTS = {1: "NodeCreated", 2: "NodeDeleted", 3: "NodeDataChanged", 4: "NodeChildrenChanged"}
FIELDS = ["czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion", "owner", "length", "children",
          "pzxid"]


def stat(data):
    return " ".join(f"{k}={v:#x}" if "zxid" in k else f"{k}={v}" for k, v in zip(FIELDS, STAT.unpack(data)))


def frame(data, code=None):
    """One payload; `code` is the operation's that it answers, None for an event."""
    try:
        if len(data) < 16:
            return f"{len(data)} bytes"
        xid, zxid, error = HEADER.unpack_from(data)
        head = f"xid={xid} zxid={zxid:#x} err={error}"
        rest = data[16:]
        if xid == -1 and code is None:
            reader = Reader(rest)
            kind, state, path = reader.i32(), reader.i32(), reader.buffer()
            return f"event {head} {EVENTS.get(kind, kind)} state={state} {path!r} {reader.rest()!r}"
        return f"{head} {body(rest, code)}".rstrip()
    except struct.error as short:
        return f"{len(data)} bytes that end too early: {short}"


def body(data, code):
    if not data:
        return ""
    if code in (8, 12, 103):
        reader = Reader(data)
        names = reader.vector(reader.buffer)
        return f"{names} {stat(reader.rest()) if code == 12 else ''}"
    if code in STAT_TAIL and len(data) >= 68:
        return f"{data[:-68]!r} {stat(data[-68:])}"
    if code in (14, 22):
        return results(data)
    return f"({NAMES.get(code, code)}) {data!r}"


def results(data):
    reader, out = Reader(data), []
    while True:
        kind, done, error = reader.i32(), reader.byte(), reader.i32()
        if done:
            return "[" + ", ".join(out) + f"] {reader.rest()!r}"
        if kind == -1:
            out.append(f"error {reader.i32()}/{error}")
        elif kind in (1, 15, 4):
            text = f"{kind}: {reader.buffer()!r}"
            out.append(text if kind == 1 else f"{text} {stat(reader.take(68))}")
        elif kind == 5:
            out.append(f"5: {stat(reader.take(68))}")
        elif kind == 8:
            out.append(f"8: {sorted(reader.vector(reader.buffer))}")
        else:
            out.append(f"{kind}")
