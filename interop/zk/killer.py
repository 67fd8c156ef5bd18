"""Kills members of an ensemble, and starts them again."""
import random
import threading
import time


class Killer(threading.Thread):
    """Kills members with SIGKILL and starts them again, in a way that a seed decides: mostly one,
    the leader more often than the others; sometimes two; seldom all."""

    def __init__(self, ensemble, seed):
        super().__init__(daemon=True)
        self.ensemble, self.random = ensemble, random.Random(seed)
        self.halt, self.kills, self.error = threading.Event(), 0, None

    def run(self):
        try:
            while not self.halt.wait(self.random.uniform(1.0, 4.0)):
                self.kill_some()
        except BaseException as error:
            self.error = error

    def kill_some(self):
        dice, members = self.random.random(), self.ensemble.servers
        if dice < 0.4:
            victims = [s for s in members if s.mode() == "leader"] or members[:1]
        else:
            victims = self.random.sample(members, 1 if dice < 0.85 else 2 if dice < 0.95 else 3)
        for victim in victims:
            victim.kill()
            self.kills += 1
        time.sleep(self.random.uniform(0.1, 2.0))
        for victim in victims:
            victim.start()
        if self.random.random() < 0.7:
            self.ensemble.wait_serving()

    def end(self):
        self.halt.set()
        self.join(90)
        if self.error:
            raise self.error
        self.ensemble.wait_serving()
