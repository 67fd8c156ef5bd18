"""Jute: how ZooKeeper's records are written and read."""
import struct


def i32(value):
    return struct.pack(">i", value)


def i64(value):
    return struct.pack(">q", value)


def boolean(value):
    return b"\1" if value else b"\0"


def buffer(data):
    """None is a null buffer."""
    return i32(-1) if data is None else i32(len(data)) + data


def ustring(text):
    """Bytes are taken as they are, for text that is not UTF-8; None is a null string."""
    return buffer(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)


def vector(items, write):
    """None is a null vector."""
    return i32(-1) if items is None else i32(len(items)) + b"".join(write(item) for item in items)


def strings(items):
    return vector(items, ustring)


def acl(entry):
    perms, scheme, name = entry
    return i32(perms) + ustring(scheme) + ustring(name)


def acls(entries):
    return vector(entries, acl)


class Reader:
    """Reads a record from the left. Raises struct.error where the bytes end too early."""

    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def i32(self):
        (value,) = struct.unpack_from(">i", self.data, self.at)
        self.at += 4
        return value

    def i64(self):
        (value,) = struct.unpack_from(">q", self.data, self.at)
        self.at += 8
        return value

    def byte(self):
        (value,) = struct.unpack_from(">B", self.data, self.at)
        self.at += 1
        return value

    def take(self, count):
        taken = self.data[self.at:self.at + count]
        if len(taken) < count:
            raise struct.error(f"{count} bytes expected, {len(taken)} left")
        self.at += count
        return taken

    def buffer(self):
        length = self.i32()
        return None if length < 0 else self.take(length)

    def vector(self, read):
        count = self.i32()
        return None if count < 0 else [read() for _ in range(count)]

    def acl(self):
        return self.i32(), self.buffer(), self.buffer()

    def rest(self):
        return self.take(len(self.data) - self.at)
