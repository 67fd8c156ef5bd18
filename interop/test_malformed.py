"""Malformed requests are answered as by Apache ZooKeeper 3.9.5: the corpus in differ/malformed on both
servers, and the list of intended differences."""
import re

import pytest

from differ import malformed, servers
from zk import parts

pytestmark = pytest.mark.usefixtures("zabkeeper_only")

EXAMPLES = malformed.read_all()


@pytest.fixture(scope="module")
def ports():
    impls = ["zabkeeper"] if parts.missing_java() else ["zabkeeper", "apache"]
    with servers.pair(impls) as both:
        yield [server.client_port for server in both]


@pytest.mark.parametrize("name", EXAMPLES)
def test_zabkeeper(ports, name):
    example = EXAMPLES[name]
    expected = example.zabkeeper or example.apache
    answer = malformed.answers(example, ports[0], expected)
    assert answer == expected


@pytest.mark.parametrize("name", EXAMPLES)
def test_apache(ports, java, name):
    """The recorded answers are those of ZooKeeper."""
    example = EXAMPLES[name]
    assert malformed.answers(example, ports[1], example.apache) == example.apache


def test_every_difference_is_explained():
    text = (malformed.HERE / "README.md").read_text().split("on purpose")[1]
    explained = set(re.findall(r"^\| (?!example \|)([^-|][^|]*?) \|", text, re.M))
    different = {e.name for e in EXAMPLES.values() if e.zabkeeper}
    assert explained == different
