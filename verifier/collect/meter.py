"""What a scan of logs may cost, and what it has cost."""

from msgspec import Struct

from verifier.collect.network import System


class ScanBudget(Struct, frozen=True, kw_only=True):
    """What one scan may cost: requests, seconds, and the size of all answers together, those from
    the cache among them, as they are written into the transcript: one blob of a bundle."""

    requests: int = 30_000
    seconds: float = 1_800.0
    max_bytes: int = 24 << 20


class Meter:
    """What a scan has cost so far."""

    def __init__(self, system: System, budget: ScanBudget) -> None:
        self.requests = 0
        self.received = 0
        self.budget = budget
        self._monotonic = system.monotonic
        self._start = system.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return self._monotonic() - self._start

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return max(self.budget.seconds - self.seconds, 0.0)

    @property
    def spent(self) -> str:
        """Which part of the budget is spent, or ""."""
        if self.requests >= self.budget.requests:
            return f"the budget of {self.budget.requests:,} requests is spent"
        if self.seconds >= self.budget.seconds:
            return f"the budget of {self.budget.seconds:.3g} seconds is spent"
        if self.received >= self.budget.max_bytes:
            return f"the budget of {self.budget.max_bytes:,} bytes is spent"
        return ""


def spelled(seconds: float) -> str:
    """A span of time, in words, roughly."""
    for size, name in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {name}"
    return f"about {max(seconds, 1):.0f} seconds"
