"""A way between two servers that can be stopped in one direction."""
import socket
import threading


class Proxy:
    """Passes what connects to `port` on to a port of loopback. While `open` is not set, what the
    connecting side says waits."""

    def __init__(self, port, to):
        self.to, self.open = to, threading.Event()
        self.open.set()
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                near.close()
                continue
            threading.Thread(target=self.pump, args=(near, far, self.open), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, None), daemon=True).start()

    @staticmethod
    def pump(source, target, gate):
        try:
            while data := source.recv(65536):
                if gate:
                    gate.wait()
                target.sendall(data)
        except OSError:
            pass
        for side in (source, target):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.open.set()
        self.listener.close()
