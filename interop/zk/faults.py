"""What befalls the members of an ensemble in namespaces, as a seed draws it."""
import os
import pathlib
import random
import signal
import subprocess
import threading
import time

from .ensemble import Ensemble
from .namespaces import Network
from .server import wait_until

SLOW_SYNC = pathlib.Path(__file__).resolve().parents[1] / "slow-sync" / "slow_sync.c"
TICK_MS, SYNC_LIMIT = 500, 5
ENDED = {0, -signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM}  # how a member ends that is told to


class Field:
    """An ensemble whose members have a network namespace and a disk of changing speed each."""

    def __init__(self, impls, directory):
        self.library = directory / "slow_sync.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self.library, SLOW_SYNC], check=True)
        self.network = Network(len(impls))
        self.impls, self.directory = impls, directory
        self.ensemble, self.slow = None, {}
        self.ended = []  # members that nobody told to

    def __enter__(self):
        self.network.__enter__()
        try:
            # Ports are looked for in the namespace where the clients are; the members' are empty.
            self.ensemble = Ensemble(self.impls, self.directory, hosts=self.network.hosts, tickTime=TICK_MS,
                                     syncLimit=SYNC_LIMIT, snapCount=20000)
            for server in self.ensemble.servers:
                slow = self.slow[server.sid] = server.dir / "slow-sync"
                slow.write_text("0")
                server.within = [*self.network.within(server.sid), "env", f"LD_PRELOAD={self.library}",
                                 f"SLOW_SYNC={slow}"]
            self.ensemble.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        for server in self.ensemble.servers if self.ensemble else []:
            server.kill()
        self.network.__exit__()

    def slow_down(self, sid, ms):
        # Renamed into place: a member that reads meanwhile finds the old number or the new one.
        new = self.slow[sid].with_suffix(".new")
        new.write_text(str(ms))
        os.replace(new, self.slow[sid])

    def heal(self):
        """Everything is in order again; members that do not run are started."""
        self.network.heal()
        for server in self.ensemble.servers:
            self.slow_down(server.sid, 0)
            if server.running():
                server.process.send_signal(signal.SIGCONT)
            else:
                code = server.process.returncode
                if code not in ENDED:
                    self.ended.append(f"server {server.sid} ended by itself with code {code}")
                server.start()


class Faults(threading.Thread):
    """One fault after another, sometimes two at once, healed before the next; `told` is the list
    of them."""

    KINDS = {
        "slow": 8, "slow_and_kill": 3, "kill_leader": 2, "kill_one": 2, "kill_two": 1, "kill_all": 1,
        "terminate": 1, "stop": 2, "cut": 2, "cut_leader": 2, "deaf": 1, "mute": 1, "one_way": 1, "loss": 2,
        "cut_clients": 1,
    }

    def __init__(self, field, seed):
        super().__init__(daemon=True)
        self.field, self.random = field, random.Random(seed)
        self.servers = field.ensemble.servers
        self.halt, self.error, self.told = threading.Event(), None, []

    def run(self):
        try:
            while not self.halt.wait(self.random.uniform(0.2, 1.2)):
                count = 1 if self.random.random() < 0.8 else 2
                kinds = self.random.choices(list(self.KINDS), self.KINDS.values(), k=count)
                seconds = self.random.uniform(0.3, 4.0)
                text = " and ".join(getattr(self, kind)() for kind in kinds)
                self.told.append((time.monotonic(), f"{text}, {seconds:.1f} s"))
                self.halt.wait(seconds)
                self.field.heal()
                self.told.append((time.monotonic(), "healed"))
        except BaseException as error:
            self.error = error
        finally:
            self.field.heal()

    def end(self):
        """Ends it: everything is healed and serves."""
        self.halt.set()
        self.join(60)
        assert not self.is_alive(), "a fault does not end"
        if self.error:
            raise self.error
        assert not self.field.ended, self.field.ended
        self.field.ensemble.wait_serving()
        wait_until(lambda: any(s.mode() == "leader" for s in self.servers), 60, "there is a leader")

    def one(self):
        return self.random.choice(self.servers)

    def leader(self):
        # A member that does not answer at once is not asked for long.
        return next((s for s in self.servers if s.running() and s.mode() == "leader"), self.servers[0])

    def others(self, server):
        return [s.sid for s in self.servers if s is not server]

    def kill(self, victims):
        for server in victims:
            server.process.kill()
        for server in victims:
            server.kill()
        return f"kill -9 of {[s.sid for s in victims]}"

    def kill_one(self):
        return self.kill([self.one()])

    def kill_leader(self):
        return "leader: " + self.kill([self.leader()])

    def kill_two(self):
        return self.kill(self.random.sample(self.servers, 2))

    def kill_all(self):
        return self.kill(self.servers)

    def terminate(self):
        server = self.one()
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        server.kill()
        return f"SIGTERM of {server.sid}"

    def stop(self):
        server = self.random.choice([self.one(), self.leader()])
        server.process.send_signal(signal.SIGSTOP)
        return f"SIGSTOP of {server.sid}"

    def slow(self):
        victims = self.random.choice([self.servers, [self.leader()], self.random.sample(self.servers, 2)])
        ms = self.random.choice([20, 50, 100, 200, 500, 1000, 2000, 5000])
        for server in victims:
            self.field.slow_down(server.sid, ms)
        return f"syncs of {[s.sid for s in victims]} take {ms} ms"

    def slow_and_kill(self):
        text = self.slow()
        self.halt.wait(self.random.uniform(0.1, 1.0))
        return f"{text}; {self.kill([self.random.choice([self.one(), self.leader()])])}"

    def cut(self):
        server = self.one()
        self.field.network.cut(server.sid, self.others(server))
        return f"{server.sid} is cut off"

    def cut_leader(self):
        server = self.leader()
        self.field.network.cut(server.sid, self.others(server))
        return f"leader {server.sid} is cut off"

    def deaf(self):
        server = self.one()
        self.field.network.deafen(server.sid, self.others(server))
        return f"{server.sid} is deaf"

    def mute(self):
        server = self.one()
        self.field.network.mute(server.sid, self.others(server))
        return f"{server.sid} is mute"

    def one_way(self):
        server = self.one()
        other = self.random.choice(self.others(server))
        self.field.network.deafen(server.sid, [other])
        return f"{server.sid} does not hear {other}"

    def loss(self):
        victims = self.random.choice([self.servers, [self.one()]])
        probability = self.random.choice([0.02, 0.1, 0.3])
        for server in victims:
            self.field.network.lose(server.sid, probability)
        return f"{probability:.0%} of what is sent to {[s.sid for s in victims]} is lost"

    def cut_clients(self):
        server = self.one()
        self.field.network.cut_clients(server.sid)
        return f"the clients do not reach {server.sid}"
