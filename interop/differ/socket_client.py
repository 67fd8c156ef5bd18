"""A connection to a server: frames out, frames in."""
import socket
import struct

CLOSED = object()   # the server ended the connection
SILENT = object()   # nothing came in time


class Connection:
    def __init__(self, port, timeout=5.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.gathered, self.at = b"", 0
        self.open = True
        self.xid, self.session = 0, 0

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # what it had said before, and that it closed, is found when reading

    def frame(self, timeout=None):
        """The next payload, CLOSED or SILENT."""
        while True:
            have = len(self.gathered) - self.at
            if have >= 4:
                (length,) = struct.unpack_from(">i", self.gathered, self.at)
                if have >= 4 + length:
                    start = self.at + 4
                    self.at = start + length
                    return self.gathered[start:self.at]
            try:
                if timeout is not None:
                    self.socket.settimeout(timeout)
                chunk = self.socket.recv(1 << 18)
            except (TimeoutError, socket.timeout):
                return SILENT
            except OSError:
                chunk = b""
            finally:
                if timeout is not None:
                    self.socket.settimeout(self.timeout)
            if not chunk:
                self.close()
                return CLOSED
            self.gathered, self.at = self.gathered[self.at:] + chunk, 0

    def rest(self):
        """What came and is no whole frame."""
        return self.gathered[self.at:]

    def finish_sending(self):
        """Tells the server that nothing more will come."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def leave(self):
        """Ends it from here, and waits for the server to do so, too."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(1 << 18):
                pass
        except OSError:
            pass
        self.close()

    def close(self):
        self.open = False
        self.socket.close()
