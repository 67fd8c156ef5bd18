"""A bare client over one socket, for what a client library's back-off would hide."""
import socket
import struct


def ustring(text):
    data = text.encode()
    return struct.pack(">i", len(data)) + data


def buffer(data):
    return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data


OPEN_ACL = struct.pack(">ii", 1, 31) + ustring("world") + ustring("anyone")


class NoSession(Exception):
    """A reply's header in place of the handshake's answer."""

    def __init__(self, xid, zxid, error):
        super().__init__(f"xid {xid}, zxid {zxid:#x}, error {error}")
        self.xid, self.zxid, self.error = xid, zxid, error


class Expired(EOFError):
    """The session that was to be re-attached is not known any more."""


class Raw:
    """One session on one server. Raises OSError or EOFError when the connection breaks."""

    def __init__(self, port, timeout=1.0, session=(0, b"\0" * 16), session_timeout=10000, last_zxid=0,
                 read_only=False, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.xid, self.last_zxid = 0, last_zxid
        request = struct.pack(">iqiq", 0, last_zxid, session_timeout, session[0])
        self.send(request + buffer(session[1]) + (b"\1" if read_only else b"\0"))
        reply = self.receive()
        if len(reply) == 16:
            raise NoSession(*struct.unpack(">iqi", reply))
        _, self.negotiated, self.session = struct.unpack(">iiq", reply[:16])
        self.password = reply[20:36]
        self.is_read_only = reply[36:] == b"\1"
        if self.negotiated == 0:
            raise Expired("session expired")

    def send(self, payload):
        self.socket.sendall(struct.pack(">i", len(payload)) + payload)

    def receive(self):
        (length,) = struct.unpack(">i", self.exactly(4))
        return self.exactly(length)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                raise EOFError("closed by the server")
            data += chunk
        return data

    def call(self, op, body):
        """One request, its reply: (error code, zxid, body)."""
        self.xid += 1
        self.send(struct.pack(">ii", self.xid, op) + body)
        while True:
            reply = self.receive()
            xid, zxid, error = struct.unpack(">iqi", reply[:16])
            self.last_zxid = max(self.last_zxid, zxid)
            if xid == self.xid:
                return error, zxid, reply[16:]

    def create(self, path, data=b"", flags=0):
        error, _, body = self.call(1, ustring(path) + buffer(data) + OPEN_ACL + struct.pack(">i", flags))
        return error, body[4:].decode() if error == 0 else None

    def set(self, path, data, version=-1):
        return self.call(5, ustring(path) + buffer(data) + struct.pack(">i", version))[0]

    def set_and_version(self, path, data):
        """Sets whatever the version; the version that the node then has."""
        error, _, stat = self.call(5, ustring(path) + buffer(data) + struct.pack(">i", -1))
        return error, struct.unpack(">i", stat[32:36])[0] if error == 0 else None

    def get(self, path):
        error, _, body = self.call(4, ustring(path) + b"\0")
        if error:
            return error, None
        (length,) = struct.unpack(">i", body[:4])
        return 0, body[4:4 + max(length, 0)]

    def close(self):
        self.socket.close()
