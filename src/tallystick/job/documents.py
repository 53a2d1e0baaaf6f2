"""JSON documents that a stranger may have written: strict, bounded, and with exactly one form of their bytes."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, StringConstraints, ValidationError

from tallystick.errors import ReceiptError

MAX_DOCUMENT = 1 << 24  # bytes
MAX_SEGMENTS = 100_000
MAX_SLOTS = 1 << 16
MAX_STEPS = (1 << 31) - 1
MOST_RUNS = 16  # that go on from each other: each is verified, and a stranger says how many there are
LINE = 150  # characters of a line in a stored document, if it can be cut

HexDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)]
"""A SHA-256 digest in lower-case hex."""

UNSEEN = r"\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
"""Control and formatting characters: what a stranger writes must not command a terminal or turn its text around."""

Name = Annotated[str, StringConstraints(pattern=f"^[^{UNSEEN}]+$", max_length=500)]
"""A name to show people."""

Count = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]

Digests = Annotated[tuple[HexDigest, ...], FailFast(), Field(max_length=MAX_SEGMENTS)]


class Document(BaseModel):
    """Base of all documents: no unknown field, no conversion, no change after it was read."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    def canonical(self) -> bytes:
        """The bytes that are hashed: sorted keys, no spaces, ASCII."""
        return canonical_json(self.model_dump(mode="json"))

    def text(self) -> str:
        """The form that is stored: fields in their order, indented, lists of numbers on one line."""
        return pretty(self.model_dump(mode="json")) + "\n"

    @classmethod
    def parse(cls, data: bytes, name: str) -> Self:
        """A document from the bytes of a file; ``name`` is what messages call the file.

        Raises: ReceiptError, naming the place, for anything but the bytes that ``text`` writes.
        """
        try:
            document = cls.model_validate_json(data)
        except ValidationError as error:
            raise ReceiptError(f"{name} is malformed: {describe(error)}") from None
        if (written := document.text().encode()) != data:
            raise ReceiptError(
                f"{name} is not in its canonical form: it differs first in {first_difference(data, written)}"
            )
        return document


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys, no spaces and only ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def pretty(value: Any, indent: str = "") -> str:
    """JSON for people; a list of numbers, and whatever else is short, stays on one line."""
    line = json.dumps(value, allow_nan=False)
    numbers = isinstance(value, list) and all(isinstance(item, int) for item in value)
    if not isinstance(value, dict | list) or numbers or (indent and len(indent) + len(line) <= LINE):
        return line
    deeper = indent + "  "
    if isinstance(value, dict):
        rows = [f"{deeper}{json.dumps(key)}: {pretty(item, deeper)}" for key, item in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + pretty(item, deeper) for item in value) + f"\n{indent}]"


def describe(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    message = re.sub(r"\s+", " ", first["msg"])[:300]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{printable(place)}: {message}{more}" if place else f"{message}{more}"


def first_difference(data: bytes, written: bytes) -> str:
    """Line and column at which two texts part."""
    at = next((i for i, (a, b) in enumerate(zip(data, written, strict=False)) if a != b), min(len(data), len(written)))
    line_start = data.rfind(b"\n", 0, at) + 1
    line = data.count(b"\n", 0, at) + 1
    return f"line {line}, column {at - line_start + 1}"


def printable(text: str) -> str:
    """Text from a stranger, harmless on a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:200])
