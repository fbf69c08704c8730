"""How long a validator waits for what. Local policy: no rule of validity depends on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Durations in milliseconds.

    delta: a message between honest validators takes no longer, as a rule; execution: neither does
    checking a block; precision, message_delay: bounds of a block's time (proposer-based
    timestamps, arXiv 1807.04938 as amended by CometBFT's PBTS).
    """

    block_interval: int
    delta: int = 1000
    execution: int = 1000
    precision: int = 500
    message_delay: int = 4000
    skip: int = 30_000
    longest: int = 60_000

    @property
    def leader(self) -> int:
        """Until a view without a proposal is given up."""
        return self.block_interval + 2 * self.delta

    @property
    def certificate(self) -> int:
        """Until a view without a certificate is given up."""
        return self.block_interval + 3 * self.delta + self.execution

    @property
    def retry(self) -> int:
        """Between repetitions in a view that was given up."""
        return 2 * self.delta

    @property
    def standstill(self) -> int:
        """Without a finalization until everything undecided is sent again."""
        return 5 * max(self.block_interval, self.delta)

    @property
    def status(self) -> int:
        """Between two reports to the peers."""
        return 10 * self.delta

    def backed_off(self, duration: int, failed_views: int) -> int:
        """Grow a duration by a quarter for each view without finality beyond two, to `longest`."""
        if duration >= self.longest:
            return duration
        for _ in range(max(0, failed_views - 2)):
            duration += duration // 4
            if duration >= self.longest:
                return self.longest
        return duration

    def latest_arrival(self, timestamp: int, skipped: int) -> int:
        """Return until when a block of this time may arrive, after so many skipped views."""
        delay = self.message_delay
        for _ in range(min(skipped, 64)):
            delay += delay // 10
        return timestamp + delay + self.precision
