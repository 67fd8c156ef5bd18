"""The programs of interop/java: recipes and clients of the JVM, at work while a test does things
to the servers."""
import pathlib
import re
import subprocess

from . import parts
from .server import LOG4J

JAVA = pathlib.Path(__file__).resolve().parents[1] / "java"
PROGRAMS = re.findall(r"(\w+)\.class", (JAVA / "Main.java").read_text().split("ALL")[1].split(";")[0])


def missing():
    """Why they cannot run here, or None."""
    return parts.missing_java() or parts.missing_curator() or parts.missing_javac()


def compiled(directory):
    """The programs' classes."""
    classes = directory / "classes"
    subprocess.run(["javac", "-nowarn", "-Xlint:-options", "-cp", parts.classpath(), "-d", classes,
                    *sorted(JAVA.glob("*.java"))], check=True, capture_output=True, text=True)
    return classes


class Programs:
    """One process with some of the programs (all, if none are named), which has begun when this
    is entered."""

    def __init__(self, ensemble, directory, seed, *names, properties=()):
        self.directory, self.names = directory, names or PROGRAMS
        log4j = LOG4J.replace("level=info", "level=warn") + "appender.out.target=SYSTEM_ERR\n"
        (directory / "log4j2.properties").write_text(log4j)
        self.command = [
            "java", "-Xmx512m", "-XX:+UseSerialGC", "-ea", "-Dzookeeper.extendedTypesEnabled=true",
            f"-Dlog4j2.configurationFile={directory / 'log4j2.properties'}", *properties,
            "-cp", f"{compiled(directory)}:{parts.classpath()}", "Main", ensemble.connect_string, str(seed), *names,
        ]

    def __enter__(self):
        with open(self.directory / "java.log", "w") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                            text=True)
        for line in self.process.stdout:
            if line == "begun\n":
                break
        return self

    def __exit__(self, kind, error, trace):
        self.process.kill()
        self.process.wait()

    def finish(self):
        """Lets them finish and check: name → (ok or failed, what it saw), and the traces."""
        output, _ = self.process.communicate("\n", timeout=180)
        results = {}
        for line in output.splitlines():
            if line.startswith(("ok\t", "failed\t")):
                outcome, name, text = line.split("\t", 2)
                results[name] = (outcome, text)
        log = (self.directory / "java.log").read_text()
        trace = "\n".join(re.findall(r"^\S+Z \w+, .*(?:\n.+){,12}", log, re.M))  # what each program failed with
        assert set(results) == set(self.names), f"no word of {set(self.names) - set(results)}\n{trace}"
        return results, trace
