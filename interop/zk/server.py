"""One server process of either implementation: files, start, stop, kill."""
import atexit
import os
import pathlib
import signal
import socket
import subprocess
import time

from . import parts

LOG4J = """
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %-5p [%t] %c{1}: %m%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
"""


def four_letters(port, word, timeout=3.0, host="127.0.0.1"):
    """Sends a four-letter word; the answer as text ('' when nobody is there)."""
    try:
        with socket.create_connection((host, port), timeout=timeout) as s:
            s.settimeout(timeout)
            s.sendall(word.encode())
            answer = b""
            while chunk := s.recv(65536):
                answer += chunk
            return answer.decode()
    except OSError:
        return ""


running_groups = set()
started = []  # every server that was started, for the logs of a test that fails


@atexit.register
def kill_what_still_runs():
    """Whatever ends the tests, no server outlives them."""
    for group in list(running_groups):
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Server:
    """A server on loopback, or at `host`; `impl` is 'zabkeeper', 'apache' (3.9.5) or 'apache-3.8', and may be
    another one at the next start."""

    def __init__(self, impl, directory, config, client_port, sid=None, host="127.0.0.1"):
        self.options = []  # of the command line, zabkeeper only
        self.within = []  # the command that executes the server, if it is not to run as it is
        self.jvm_options = []  # Apache ZooKeeper only
        self.flags = []
        self.impl, self.client_port, self.sid, self.host = impl, client_port, sid, host
        self.dir = pathlib.Path(directory)
        self.data = self.dir / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.log = self.dir / "server.log"
        self.config = self.dir / "zoo.cfg"
        self.write_config(config)
        if sid is not None:
            (self.data / "myid").write_text(f"{sid}\n")
        self.process = None

    def write_config(self, config):
        # No line of zoo.cfg reaches these.
        flags = {k: v for k, v in config.items() if k.startswith(("znode.container.", "jute.maxbuffer", "readonlymode."))}
        self.flags = [f"-D{k}={v}" for k, v in flags.items()]
        self.config.write_text("".join(f"{k}={v}\n" for k, v in config.items() if k not in flags))

    def command(self):
        if self.impl == "zabkeeper":
            return [str(parts.binary()), "server", str(self.config), *self.flags, *self.options]
        log4j = self.dir / "log4j2.properties"
        log4j.write_text(LOG4J)
        version = "3.8" if self.impl == "apache-3.8" else "3.9.5"
        return [
            "java", "-Xmx512m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={log4j}",
            "-Dzookeeper.admin.enableServer=false", *self.flags, *self.jvm_options, "-cp", parts.classpath(version),
            "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self.config),
        ]

    def start(self):
        assert self.process is None or self.process.poll() is not None, "already running"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*self.within, *self.command()], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            start_new_session=True)
        running_groups.add(self.process.pid)
        if self not in started:
            started.append(self)
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL, and wait for it."""
        if self.running():
            self.process.kill()
        if self.process:
            self.process.wait(10)
            running_groups.discard(self.process.pid)

    def terminate(self, timeout=10):
        """SIGTERM; the exit code."""
        if self.running():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def words(self, word):
        return four_letters(self.client_port, word, host=self.host)

    def mode(self):
        """'leader', 'follower', 'observer', 'standalone', or None while it does not serve."""
        for line in self.words("srvr").splitlines():
            if line.startswith("Mode: "):
                return line[6:]
        return None

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        return 0

    def log_tail(self, lines=40):
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    @property
    def address(self):
        return f"{self.host}:{self.client_port}"


def wait_until(condition, timeout, what):
    """Polls until the condition gives something true; its value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.02)


def free_ports(count):
    """Ports that nobody uses now, below the range that outgoing connections take."""
    found, port = [], free_ports.next
    while len(found) < count:
        port = port + 1 if port < 27999 else 21000
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                found.append(port)
            except OSError:
                pass
    free_ports.next = port
    return found


free_ports.next = 21000 + os.getpid() % 6000
