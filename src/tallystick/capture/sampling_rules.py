"""How the next token is chosen. Only descriptions: ``sampling`` carries them out inside a program."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.errors import UsageError

SMALLEST = 2.0**-126  # smaller numbers may be 0 in binary32


@dataclass(frozen=True)
class Greedy:
    """Always the most probable token; of equals the one with the lowest number."""

    def __str__(self) -> str:
        return "greedy"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw a token by its probability: divide the logits, filter by ``top_k``, then by ``top_p``, and draw.

    ``temperature``  what the logits are divided by: above 1 flattens, below 1 sharpens
    ``top_k``        keep a token if fewer than ``top_k`` have a larger logit, so equals of the last one are all kept
    ``top_p``        keep a token if those that are more probable than it have together less than ``top_p`` of the
                     probability, so that equals are kept or dropped together; at least one token is always kept

    Raises: UsageError for numbers that cannot be.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not SMALLEST <= self.temperature < float("inf"):
            raise UsageError(f"temperature={self.temperature}: give a number above 0, or use Greedy()")
        if self.top_k is not None and (isinstance(self.top_k, bool) or self.top_k < 1):
            raise UsageError(f"top_k={self.top_k}: give a whole number of at least 1, or None for all tokens")
        if self.top_p is not None and not SMALLEST <= self.top_p <= 1.0:
            raise UsageError(f"top_p={self.top_p}: give a share above 0 and at most 1, or None for all tokens")

    def __str__(self) -> str:
        parts = [f"temperature {self.temperature:g}"]
        parts += [f"top {self.top_k}"] * (self.top_k is not None) + [f"top p {self.top_p}"] * (self.top_p is not None)
        return "sample at " + ", ".join(parts)


Sampling = Greedy | Sample
