"""Where the real parts are, and why one is missing."""
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("ZABKEEPER_CACHE", ROOT / ".cache"))
CLI_MT = pathlib.Path("/usr/lib/zookeeper/bin/cli_mt")


BINARIES = {"smol": "zabkeeper", "std": "zabkeeper-std"}


def binary():
    """The zabkeeper under test."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return pathlib.Path(os.environ.get("ZABKEEPER_BINARY", target / "release" / "zabkeeper"))


def choose_binary(name):
    """A runtime's name, or a path; a runtime is looked for where the other one is."""
    path = binary().with_name(BINARIES[name]) if name in BINARIES else pathlib.Path(name).resolve()
    os.environ["ZABKEEPER_BINARY"] = str(path)


def example(name):
    """An example of runtime-std."""
    return binary().parent / "examples" / name


def sim():
    """The program that replays journals."""
    return pathlib.Path(os.environ.get("ZABKEEPER_SIM", binary().with_name("sim")))


def classpath(version="3.9.5"):
    """The class path of an Apache ZooKeeper; what 3.8 leans on is 3.9.5's, too."""
    jars = sorted((CACHE / "jars").glob("*.jar"))
    if version == "3.8":
        # At the end: the Debian package's jars name others in their manifests.
        jars = [jar for jar in jars if not jar.name.startswith("zookeeper-")]
        jars += sorted((CACHE / "jars-3.8").glob("zookeeper*.jar"))
    return ":".join(str(jar) for jar in jars)


def missing_java():
    """Why Apache ZooKeeper cannot run here, or None."""
    if shutil.which("java") is None:
        return "java is not installed"
    if not (CACHE / "jars" / "zookeeper-3.9.5.jar").exists():
        return "the jars of Apache ZooKeeper 3.9.5 are not here (interop/setup)"
    return None


def missing_java_38():
    """Why Apache ZooKeeper 3.8 cannot run here, or None."""
    if not (CACHE / "jars-3.8" / "zookeeper.jar").exists():
        return "the jars of Apache ZooKeeper 3.8 (Debian's libzookeeper-java) are not here (interop/setup)"
    return missing_java()


def missing_javac():
    """Why Java programs cannot be compiled here, or None."""
    return "javac is not installed" if shutil.which("javac") is None else None


def missing_curator():
    """Why Curator's recipes cannot run here, or None."""
    if not list((CACHE / "jars").glob("curator-recipes-*.jar")):
        return "Curator's jars are not here (interop/setup)"
    return None


def missing_mount_namespaces():
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    return None if done.returncode == 0 else f"no mount namespaces here ({done.stderr.strip()})"


def missing_namespaces():
    """Why members cannot have network namespaces and slow disks here, or None."""
    missing = [tool for tool in ("ip", "iptables", "nsenter", "cc") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)}: not installed (interop/setup)"
    command = ["unshare", "--net", "iptables", "-A", "INPUT", "-m", "statistic", "--mode", "random",
               "--probability", "0.1", "-j", "DROP"]
    done = subprocess.run(command, capture_output=True, text=True)
    return None if done.returncode == 0 else f"no network namespaces with iptables here ({done.stderr.strip()})"


def missing_c_client():
    """Why the C client cannot run here, or None."""
    return None if CLI_MT.exists() else "cli_mt (Debian's zookeeper-bin) is not installed"
