"""Where the real parts are, and why one is missing."""
import os
import pathlib
import shutil

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("ZABKEEPER_CACHE", ROOT / ".cache"))
CLI_MT = pathlib.Path("/usr/lib/zookeeper/bin/cli_mt")


def binary():
    """The zabkeeper under test."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return pathlib.Path(os.environ.get("ZABKEEPER_BINARY", target / "release" / "zabkeeper"))


def sim():
    """The program that replays journals."""
    return pathlib.Path(os.environ.get("ZABKEEPER_SIM", binary().with_name("sim")))


def classpath():
    """The class path of Apache ZooKeeper 3.9.5."""
    return ":".join(str(jar) for jar in sorted((CACHE / "jars").glob("*.jar")))


def missing_java():
    """Why Apache ZooKeeper cannot run here, or None."""
    if shutil.which("java") is None:
        return "java is not installed"
    if not (CACHE / "jars" / "zookeeper-3.9.5.jar").exists():
        return "the jars of Apache ZooKeeper 3.9.5 are not here (interop/setup)"
    return None


def missing_javac():
    """Why Java programs cannot be compiled here, or None."""
    return "javac is not installed" if shutil.which("javac") is None else None


def missing_curator():
    """Why Curator's recipes cannot run here, or None."""
    if not list((CACHE / "jars").glob("curator-recipes-*.jar")):
        return "Curator's jars are not here (interop/setup)"
    return None


def missing_c_client():
    """Why the C client cannot run here, or None."""
    return None if CLI_MT.exists() else "cli_mt (Debian's zookeeper-bin) is not installed"
