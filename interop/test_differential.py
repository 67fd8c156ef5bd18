"""Apache ZooKeeper 3.9.5 and zabkeeper give identical answers, byte for byte: hand-written sequences,
and some random ones (`differ/run` runs more)."""
import pytest

from differ import cases, compare, generate, servers
from zk import parts

pytestmark = pytest.mark.usefixtures("zabkeeper_only", "java")

# Intended differences: see differ/README.md.
WITHOUT = ["deleteContainer"]


@pytest.fixture(scope="module")
def ports():
    if parts.missing_java() or not parts.binary().exists():
        pytest.skip("one of the servers is missing")
    with servers.pair() as both:
        yield [server.client_port for server in both]


@pytest.fixture(scope="module")
def ports_of_three():
    """A standalone server of ZooKeeper, and a follower in an ensemble of three."""
    if parts.missing_java() or not parts.binary().exists():
        pytest.skip("one of the servers is missing")
    with servers.pair(("apache", "zabkeeper*3")) as both:
        yield [server.client_port for server in both]


@pytest.mark.parametrize("name", cases.CASES)
def test_case(ports, name):
    found = compare.run(cases.items_of(name, f"/{name}"), ports)
    assert found is None, f"\n{found}"


@pytest.mark.parametrize("seed", range(1000, 1004))
def test_random(ports, quick, seed):
    items = generate.story(seed, 500 if quick else 2000, f"/random-{seed}", WITHOUT)
    found = compare.run(items, ports)
    assert found is None, f"differ/run --seeds {seed}\n{found}"


@pytest.mark.parametrize("seed", range(2000, 2002))
def test_random_through_a_follower(ports_of_three, quick, seed):
    items = generate.story(seed, 500 if quick else 2000, f"/random-{seed}", [*WITHOUT, "config"])
    found = compare.run(items, ports_of_three)
    assert found is None, f"differ/run --impls apache,zabkeeper*3 --without config --seeds {seed}\n{found}"
