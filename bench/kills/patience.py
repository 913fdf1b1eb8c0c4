"""How long to wait.

Only time in which this process was awake counts: it may be stopped, by SIGSTOP, a freezer or a suspended
machine, and with it who it waits for.
"""

import time


class Lost(Exception):
    """Something acknowledged is gone, damaged, or does not come back."""


class Hung(Lost):
    """Something does not answer."""


class Patience:
    """So many seconds of it, spent by calls that are at most a second apart."""

    def __init__(self, seconds):
        self.seconds = self.left = seconds
        self.last = time.monotonic()

    def spend(self, what):
        now = time.monotonic()
        self.left -= min(now - self.last, 1)
        self.last = now
        if self.left < 0:
            raise Hung(f"{what}: not within {self.seconds} s")


def patiently(what, condition, alive=lambda: None, seconds=120):
    """Waits until condition() is true; alive() raises if it never will be."""
    patience = Patience(seconds)
    while True:
        found = condition()
        if found:
            return found
        alive()
        patience.spend(what)
        time.sleep(0.02)
