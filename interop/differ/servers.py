"""The two servers that are compared: standalone, configured alike."""
import contextlib
import pathlib
import tempfile

from zk.server import Server, free_ports, wait_until

CONFIG = {
    "tickTime": 2000, "clientPortAddress": "127.0.0.1", "maxClientCnxns": 0, "forceSync": "no",
    # Nothing may happen by the clock: sessions are ended by their clients, cleaners do not come.
    "maxSessionTimeout": 600_000, "znode.container.checkIntervalMs": 100_000_000,
    "4lw.commands.whitelist": "*", "admin.enableServer": "false", "preAllocSize": 1024,
    "extendedTypesEnabled": "true", "enforceQuota": "true",
    "DigestAuthenticationProvider.superDigest": "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=",
    # A cached answer of ZooKeeper can be older than a quota's count, which has no version.
    "maxResponseCacheSize": 0, "maxGetChildrenResponseCacheSize": 0,
}
JVM = ["-Dznode.container.checkIntervalMs=100000000", "-XX:TieredStopAtLevel=1"]


@contextlib.contextmanager
def pair(impls=("apache", "zabkeeper"), directory=None, ports=None, **extra):
    """Two servers that serve; their Servers."""
    with tempfile.TemporaryDirectory(prefix="differ-", dir=directory) as root:
        ports = ports or free_ports(2)
        servers = []
        for number, (impl, port) in enumerate(zip(impls, ports)):
            where = pathlib.Path(root) / f"{number}-{impl}"
            config = {**CONFIG, "dataDir": where / "data", "clientPort": port, **extra}
            server = Server(impl, where, config, port)
            server.jvm_options = JVM
            servers.append(server)
        try:
            for server in servers:
                server.start()
            for server in servers:
                wait_until(server.mode, 60, f"{server.impl} serves")
            yield servers
        finally:
            for server in servers:
                server.kill()
