"""Data directories with a history of one's choosing: what a member may have logged that the
others have not."""
import pathlib
import shutil
import struct
import zlib

from .raw import OPEN_ACL, buffer, ustring

CREATE, ERROR, CREATE_SESSION, TIME_MS = 1, -1, -10, 1_700_000_000_000


def zxid(epoch, counter):
    return epoch << 32 | counter


def create(path):
    return CREATE, ustring(path) + buffer(b"x") + OPEN_ACL + b"\0" + struct.pack(">i", 1_000_000)


def failed():
    """What leaves the tree as it is."""
    return ERROR, struct.pack(">i", -101)


def create_session(timeout_ms):
    return CREATE_SESSION, struct.pack(">i", timeout_ms)


def append(directory, txns, session=0):
    """A further log file, of (zxid, what a function above gave)."""
    data = b"ZKLG" + struct.pack(">iq", 2, 0)
    for at, (kind, record) in txns:
        body = struct.pack(">qiqqi", session, 0, at, TIME_MS, kind) + record
        data += struct.pack(">qi", zlib.adler32(body), len(body)) + body + b"B"
    (pathlib.Path(directory) / "version-2" / f"log.{txns[0][0]:x}").write_bytes(data + bytes(1024))


def password(session):
    """A session's password, which is computed from its id (`java.util.Random`)."""
    state, data = (session ^ 0xB3415C00 ^ 0x5DEECE66D) & (1 << 48) - 1, b""
    while len(data) < 16:
        state = (state * 0x5DEECE66D + 11) & (1 << 48) - 1
        data += struct.pack("<I", state >> 16 & 0xFFFFFFFF)
    return data


def tree(count=0):
    """A snapshot as ZooKeeper 3.5 wrote it, of so many nodes below /many: its name alone tells of
    what zxid."""
    stat = struct.pack(">qqqqiiiqq", 0, 0, TIME_MS, TIME_MS, 0, 0, 0, 0, 0)
    record = buffer(b"") + struct.pack(">q", -1) + stat
    paths = ["", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"]
    if count:
        paths += ["/many", *(f"/many/{n:07}" for n in range(count))]
    data = b"ZKSN" + struct.pack(">iqii", 2, -1, 0, 0)  # no sessions, no ACLs
    data += b"".join(ustring(path) + record for path in paths) + ustring("/")
    return data + struct.pack(">q", zlib.adler32(data)) + ustring("/")


def begin(directory, epoch, snapshot=tree()):
    """Makes `directory/version-2` anew, with a snapshot."""
    version2 = pathlib.Path(directory) / "version-2"
    wipe(directory)
    version2.mkdir()
    (version2 / "snapshot.0").write_bytes(snapshot)
    for name in ("acceptedEpoch", "currentEpoch"):
        (version2 / name).write_text(str(epoch))


def wipe(directory):
    """Everything is lost but the server's number."""
    shutil.rmtree(pathlib.Path(directory) / "version-2", ignore_errors=True)
