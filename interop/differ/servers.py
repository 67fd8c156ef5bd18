"""The two servers that are compared: standalone or a follower of three, configured alike."""
import contextlib
import pathlib
import tempfile

from zk.ensemble import Ensemble
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
JVM = ["-XX:TieredStopAtLevel=1"]


# `apache*3` is a follower of three servers.
ENSEMBLE = "*3"


@contextlib.contextmanager
def pair(impls=("apache", "zabkeeper"), directory=None, ports=None, **extra):
    """Two servers that serve; their Servers. Ports are only for those that stand alone."""
    with tempfile.TemporaryDirectory(prefix="differ-", dir=directory) as root:
        ports = ports or free_ports(2)
        groups = [start(impl, pathlib.Path(root) / f"{number}-{impl.strip('*')}", port, extra)
                  for number, (impl, port) in enumerate(zip(impls, ports))]
        try:
            for group in groups:
                for server in group:
                    wait_until(server.mode, 60, f"{server.impl} serves")
            yield [next((s for s in group if s.mode() == "follower"), group[0]) for group in groups]
        finally:
            for group in groups:
                for server in group:
                    server.kill()


def start(impl, where, port, extra):
    """Starts what an implementation's name asks for; its Servers."""
    if impl.endswith(ENSEMBLE):
        config = {key: value for key, value in CONFIG.items() if key != "clientPortAddress"}
        servers = Ensemble(impl.removesuffix(ENSEMBLE), where, **config, **extra).servers
    else:
        config = {**CONFIG, "dataDir": where / "data", "clientPort": port, **extra}
        servers = [Server(impl, where, config, port)]
    for server in servers:
        server.jvm_options = JVM
        server.start()
    return servers
