"""Apache ZooKeeper 3.9.5 and zabkeeper answer alike, byte for byte: hand-written sequences
(`differ/run` has random ones)."""
import pytest

from differ import cases, compare, servers
from zk import parts

pytestmark = pytest.mark.usefixtures("zabkeeper_only", "java")

# Sequences whose difference is known.
KNOWN = ("null_path_in_every_write null_path_in_a_multi null_path_in_every_read null_id_in_an_acl bad_paths_everywhere "
         "multi_with_an_unknown_kind_of_create multi_of_what_does_not_belong set_watches_with_a_null_inside").split()


@pytest.fixture(scope="module")
def ports():
    if parts.missing_java() or not parts.binary().exists():
        pytest.skip("one of the servers is missing")
    with servers.pair() as both:
        yield [server.client_port for server in both]


@pytest.mark.parametrize("name", cases.CASES)
def test_case(ports, name):
    if name in KNOWN:
        pytest.skip("skipped: differs, as is known")
    found = compare.run(cases.items_of(name, f"/{name}"), ports)
    assert found is None, f"\n{found}"
