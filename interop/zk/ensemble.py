"""An ensemble of servers, of one implementation or mixed."""
import pathlib
import time

from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError, NoNodeError

from .server import Server, free_ports, wait_until


class Ensemble:
    """N servers with ids 1..N, on loopback or one at each of `hosts`. `impls` is a name, or one
    name a server."""

    def __init__(self, impls, directory, count=3, observers=(), hosts=None, **extra):
        impls = [impls] * count if isinstance(impls, str) else list(impls)
        count = len(impls)
        hosts = hosts or ["127.0.0.1"] * count
        ports = free_ports(3 * count)
        members = {}
        for i in range(count):
            role = "observer" if i + 1 in observers else "participant"
            members[f"server.{i + 1}"] = f"{hosts[i]}:{ports[3 * i + 1]}:{ports[3 * i + 2]}:{role}"
        self.quorum_ports = [ports[3 * i + 1] for i in range(count)]
        self.election_ports = [ports[3 * i + 2] for i in range(count)]
        self.servers = []
        for i, impl in enumerate(impls):
            directory_i = pathlib.Path(directory) / f"server{i + 1}"
            config = {
                "tickTime": 1000, "initLimit": 10, "syncLimit": 5,
                "dataDir": directory_i / "data", "clientPort": ports[3 * i],
                "clientPortAddress": hosts[i], "maxClientCnxns": 0,
                "4lw.commands.whitelist": "*", "preAllocSize": 1024, "admin.enableServer": "false",
                **extra, **members,
            }
            if i + 1 in observers:
                config["peerType"] = "observer"
            self.servers.append(Server(impl, directory_i, config, ports[3 * i], i + 1, hosts[i]))

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, error, trace):
        for server in self.servers:
            server.kill()

    def start(self, timeout=60):
        for server in self.servers:
            server.start()
        self.wait_serving(timeout)
        return self

    def wait_serving(self, timeout=60):
        for server in self.servers:
            if server.running():
                wait_until(server.mode, timeout, f"server {server.sid} serves")

    def leader(self, timeout=30):
        def find():
            return next((s for s in self.servers if s.running() and s.mode() == "leader"), None)
        return wait_until(find, timeout, "there is a leader")

    def followers(self):
        return [s for s in self.servers if s.running() and s.mode() == "follower"]

    @property
    def connect_string(self):
        return ",".join(s.address for s in self.servers)

    def client(self, *servers, timeout=10.0, **options):
        """A started kazoo client of these servers (all, if none are named)."""
        hosts = ",".join(s.address for s in servers) if servers else self.connect_string
        client = KazooClient(hosts=hosts, timeout=timeout, **options)
        client.start(timeout=30)
        return client


def tree_of(server):
    """Everything that a member shows after a sync: path → (data, stat)."""
    client = KazooClient(hosts=server.address, timeout=10.0)
    client.start(timeout=30)
    try:
        client.sync("/")
        tree, queue = {}, ["/"]
        while queue:
            level, queue = queue, []
            requests = [(p, client.get_async(p), client.get_children_async(p)) for p in level]
            for path, data, children in requests:
                try:
                    value, stat = data.get(timeout=30)
                    names = children.get(timeout=30)
                except NoAuthError:
                    value, names = "NoAuth", []
                    stat = ()
                except NoNodeError:
                    continue  # deleted since it was seen, as containers are
                if path != "/zookeeper/config":
                    tree[path] = (value, tuple(stat))
                queue += [path.rstrip("/") + "/" + c for c in names]
        return tree
    finally:
        client.stop()
        client.close()


def assert_same_trees(servers, timeout=30):
    """All members show the same tree, to the last field of every stat."""
    deadline = time.monotonic() + timeout
    while True:
        trees = [tree_of(s) for s in servers]
        if all(tree == trees[0] for tree in trees):
            return trees[0]
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    for server, tree in zip(servers[1:], trees[1:]):
        paths = sorted(set(tree) | set(trees[0]))
        different = [p for p in paths if tree.get(p) != trees[0].get(p)]
        for path in different[:5]:
            print(f"{path}: server {servers[0].sid} {trees[0].get(path)}, server {server.sid} {tree.get(path)}")
    raise AssertionError("the members' trees differ")
