"""A data directory goes from Apache ZooKeeper to zabkeeper and back."""
from zk.ensemble import tree_of
from zk.server import Server, free_ports, wait_until
from kazoo.client import KazooClient


def fill(client, prefix):
    client.create(f"/{prefix}", b"root", makepath=True)
    for i in range(200):
        client.create(f"/{prefix}/n-", bytes([i]) * i, sequence=True)
    for i in range(0, 200, 3):
        client.set(f"/{prefix}/n-{i:010}", b"changed")
    for i in range(0, 200, 7):
        client.delete(f"/{prefix}/n-{i:010}")
    t = client.transaction()
    t.create(f"/{prefix}/t1", b"1")
    t.create(f"/{prefix}/t2", b"2")
    t.commit()
    client.create(f"/{prefix}/gone", ephemeral=True)


def test_there_and_back(zabkeeper_only, java, tmp_path):
    (port,) = free_ports(1)
    config = {"dataDir": tmp_path / "data", "clientPort": port, "tickTime": 1000, "preAllocSize": 1024,
              "4lw.commands.whitelist": "*", "admin.enableServer": "false", "snapCount": 150}
    before = None
    for turn, impl in enumerate(["apache", "zabkeeper", "apache", "zabkeeper"]):
        server = Server(impl, tmp_path / f"{turn}", config, port)
        server.start()
        try:
            wait_until(server.mode, 40, f"{impl} serves")
            if before is not None:
                assert tree_of(server) == before, f"{impl} shows another tree"
            client = KazooClient(hosts=server.address)
            client.start(timeout=10)
            fill(client, f"{impl}-{turn}")
            client.stop()
            client.close()
            before = tree_of(server)
            # At once in every second turn: the log must do.
            if turn % 2:
                server.kill()
            else:
                server.terminate()
        except BaseException:
            print(server.log_tail())
            raise
        finally:
            server.kill()
