"""Trained weights as safetensors, the format every PyTorch user can read.

The writer is ours so that a model has exactly one file: then a verifier compares bytes and parses nothing.

    u64 little-endian length of the header, the header (JSON, padded with spaces to 8 bytes), the tensors' dense bytes
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np

from tallystick.commitment import dense_pieces
from tallystick.job.manifest import Manifest, SlotFact

PREFIX = "model."
"""Slots with this prefix are the model; the rest of the name is the one in PyTorch's state_dict."""


class ModelFile:
    """The layout of a model file: which slots lie where.

    The slots are those of the state, then the constants: weights that are not trained are constants. Tensors are
    ordered by falling element size, then by name, so that every one of them is aligned.
    """

    @classmethod
    def of(cls, manifest: Manifest) -> ModelFile:
        """The file of a job: empty unless it trains something."""
        trains = any(fact.name.startswith(PREFIX) for fact in manifest.state)
        return cls((*manifest.state, *manifest.constants) if trains else ())

    def __init__(self, facts: Sequence[SlotFact]) -> None:
        slots = [slot for slot, fact in enumerate(facts) if fact.name.startswith(PREFIX)]
        self.facts = facts
        self.slots = sorted(slots, key=lambda slot: (-facts[slot].type.dtype.size, facts[slot].name))
        self.head = self._head()
        self.nbytes = len(self.head) + sum(facts[slot].type.nbytes for slot in self.slots)

    def _head(self) -> bytes:
        entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
        start = 0
        for slot in self.slots:
            fact = self.facts[slot]
            entries[fact.name.removeprefix(PREFIX)] = {
                "dtype": fact.dtype.upper(),
                "shape": list(fact.shape),
                "data_offsets": [start, start + fact.type.nbytes],
            }
            start += fact.type.nbytes
        text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    def pieces(self, arrays: Sequence[np.ndarray]) -> Iterator[bytes | memoryview]:
        """The file's bytes for the slots' arrays, in order."""
        yield self.head
        for slot in self.slots:
            yield from dense_pieces(arrays[slot])

    def place(self, offset: int) -> tuple[int, int, int] | None:
        """The slot and the element that a byte of the file belongs to, and where that element's bytes begin.

        None for a byte of the header.
        """
        start = len(self.head)
        for slot in self.slots:
            type = self.facts[slot].type
            if start <= offset < start + type.nbytes:
                element = (offset - start) // type.dtype.size
                return slot, element, start + element * type.dtype.size
            start += type.nbytes
        return None
