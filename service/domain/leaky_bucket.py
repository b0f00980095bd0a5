"""The leaky bucket that throttles a client (canvas/conventions.md 11).

A request reserves its pre-flight cost when it begins; when it ends it gives that back and pays what it did cost. So
only requests that run at the same time can fill the bucket. What is kept of a bucket is how long it takes to drain,
in seconds: with time it empties, and nothing has to be written for that.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeakyBucket:
    """The rules. maximum, high_water and preflight are costs, outflow is cost per second and above 0."""

    maximum: float
    high_water: float
    outflow: float
    preflight: float

    @property
    def longest(self) -> float:
        """Seconds in which a brimful bucket drains."""
        return self.maximum / self.outflow

    @property
    def reserving(self) -> float:
        """Seconds by which a request that begins prolongs the draining."""
        return self.preflight / self.outflow

    def settling(self, cost: float) -> float:
        """Seconds by which a request that ends changes the draining; negative for all but the costliest."""
        return (cost - self.preflight) / self.outflow

    def poured(self, drains_in: float, seconds: float) -> float:
        """The bucket after a change: never above the maximum; below 0 counts as empty at the next change."""
        return min(max(drains_in, 0.0) + seconds, self.longest)

    def level(self, drains_in: float) -> float:
        """The cost in a bucket."""
        return max(drains_in, 0.0) * self.outflow

    def is_full(self, drains_in: float) -> bool:
        """Whether a request is turned away whose own reservation is already in the bucket."""
        return self.level(drains_in) >= self.high_water

    def full_for(self, drains_in: float) -> float:
        """Seconds until the next request is let in, the own reservation of the refused one given back."""
        return max(drains_in - self.high_water / self.outflow, 0.0)

    def remaining(self, drains_in: float) -> float:
        """What X-Rate-Limit-Remaining says."""
        return max(self.high_water - self.level(drains_in), 0.0)
