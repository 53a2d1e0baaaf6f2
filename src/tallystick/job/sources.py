"""Where kernels come from: for people, bound by a hash, in no root."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import FailFast, Field, StringConstraints

from tallystick.job.documents import UNSEEN, Document, HexDigest
from tallystick.spec.limits import VALUES

LENGTH = 2000  # characters per kernel
MAX_SOURCES = 1 << 26  # bytes

Line = Annotated[str, StringConstraints(pattern=f"^[^{UNSEEN}]*$", max_length=LENGTH)]


class KernelSource(Document):
    """A kernel's leaf in the program's tree, and the lines of the user's code it came from."""

    leaf: HexDigest
    source: Line


class Sources(Document):
    """All kernels of a program in order. The leaves tell which kernel of a damaged program was damaged."""

    format: Literal["tallystick.sources/1"] = "tallystick.sources/1"
    kernels: Annotated[tuple[KernelSource, ...], FailFast(), Field(max_length=VALUES)]

    @classmethod
    def of(cls, leaves: Sequence[bytes], sources: Sequence[str]) -> Self:
        rows = (
            KernelSource(leaf=leaf.hex(), source=one_line(text)) for leaf, text in zip(leaves, sources, strict=True)
        )
        return cls(kernels=tuple(rows))


def one_line(text: str) -> str:
    """A text without control characters, cut to ``LENGTH``."""
    return "".join(c if c.isprintable() else " " for c in text[:LENGTH])
