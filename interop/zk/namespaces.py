"""A network namespace for each member, joined by a bridge in a namespace of their own where the
test's clients are. Nothing outside of these namespaces changes."""
import atexit
import contextlib
import ctypes
import os
import pathlib
import subprocess

PREFIX = "zabkeeper-test"
NETWORK = "10.77.0"
CLONE_NEWNET = 0x40000000


def ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr.strip()}"
    return done.stdout


def remove(pid):
    """Ends the namespaces of this process, with the devices in them."""
    for path in pathlib.Path("/run/netns").glob(f"{PREFIX}-{pid}-*"):
        subprocess.run(["ip", "netns", "delete", path.name], capture_output=True)


def remove_abandoned():
    """A process that was ended by SIGKILL could not remove its own."""
    for path in pathlib.Path("/run/netns").glob(f"{PREFIX}-*-hub"):
        pid = path.name.split("-")[-2]
        if not pathlib.Path(f"/proc/{pid}").exists():
            remove(pid)


@atexit.register
def remove_own():
    remove(os.getpid())


def enter(descriptor):
    """This thread, and what it starts, goes into another namespace."""
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


class Network:
    """Namespaces 1 to `count` with an address each. Who is inside of `with` is at the bridge."""

    def __init__(self, count):
        self.members = range(1, count + 1)
        self.hosts = [f"{NETWORK}.{n}" for n in self.members]
        self.stack = contextlib.ExitStack()

    @staticmethod
    def name(which):
        return f"{PREFIX}-{os.getpid()}-{which}"

    def within(self, member):
        """The command that runs another one in a member's namespace."""
        return ["nsenter", f"--net=/run/netns/{self.name(member)}"]

    def __enter__(self):
        remove_abandoned()
        remove_own()
        with contextlib.ExitStack() as stack:
            stack.callback(remove_own)
            self.build()
            home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            stack.callback(os.close, home)
            hub = os.open(f"/run/netns/{self.name('hub')}", os.O_RDONLY)
            enter(hub)
            os.close(hub)
            stack.callback(enter, home)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def build(self):
        hub = self.name("hub")
        ip("netns", "add", hub)
        ip("-n", hub, "link", "set", "lo", "up")
        ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", hub, "address", "add", f"{NETWORK}.254/24", "dev", "bridge")
        ip("-n", hub, "link", "set", "bridge", "up")
        for member, host in zip(self.members, self.hosts):
            name, port = self.name(member), f"member{member}"
            ip("netns", "add", name)
            ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("-n", hub, "link", "set", port, "master", "bridge", "up")
            ip("-n", name, "address", "add", f"{host}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")

    def rule(self, member, chain, *match):
        """Drops what matches, in a member's namespace."""
        command = [*self.within(member), "iptables", "-w", "-A", chain, *match, "-j", "DROP"]
        subprocess.run(command, check=True, capture_output=True)

    def host(self, member):
        return self.hosts[member - 1]

    def deafen(self, member, others):
        """The member hears nothing of the others."""
        for other in others:
            self.rule(member, "INPUT", "-s", self.host(other))

    def mute(self, member, others):
        """The others hear nothing of the member."""
        for other in others:
            self.rule(member, "OUTPUT", "-d", self.host(other))

    def cut(self, member, others):
        self.deafen(member, others)
        self.mute(member, others)

    def cut_clients(self, member):
        """The member neither hears the clients nor is heard by them."""
        self.rule(member, "INPUT", "-s", f"{NETWORK}.254")
        self.rule(member, "OUTPUT", "-d", f"{NETWORK}.254")

    def lose(self, member, probability):
        """Some of what is sent to the member is lost."""
        self.rule(member, "INPUT", "-m", "statistic", "--mode", "random", "--probability", str(probability))

    def heal(self):
        for member in self.members:
            command = [*self.within(member), "iptables", "-w", "-F"]
            subprocess.run(command, check=True, capture_output=True)
