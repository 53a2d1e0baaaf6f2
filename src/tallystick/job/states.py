"""States on disk: one file per state, named by its root.

    32 bytes per slot   the slot's tensor digest
    then                the slots' dense little-endian bytes, in order

The root in the name binds the digests and the digests bind the slots, so damage is known to the slot. There is no
header: the program says how many slots there are and how large each is, so the size is known before a byte is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tallystick.commitment import NUMPY_DTYPES, Hasher, array_digest, dense_pieces
from tallystick.errors import IntegrityError
from tallystick.spec.digests import state_root
from tallystick.spec.tensors import DType, TensorType
from tallystick.store import Blobs

DIGEST = 32  # bytes
CANONICAL_NAN = 0x7FC00000


@dataclass(frozen=True)
class Examined:
    """What a state file holds. ``state`` are read-only mapped arrays, None if the file has the wrong size.

    ``damage`` says what is wrong, None for an intact file; ``slots`` are the damaged slots, as far as they are known.
    """

    state: list[np.ndarray] | None
    damage: str | None
    slots: tuple[int, ...] = ()


class StateFiles:
    """The states of one program in a folder of blobs."""

    def __init__(self, blobs: Blobs, types: Sequence[TensorType], names: Sequence[str], hasher: Hasher) -> None:
        self.blobs = blobs
        self.types = types
        self.names = names
        self.hasher = hasher
        self.nbytes = sum(DIGEST + type.nbytes for type in types)

    def put(self, state: Sequence[np.ndarray], digests: Sequence[bytes]) -> bytes:
        """Write a state whose slots have these digests; returns its root. Raises: ResourceError, JobError."""

        def pieces() -> Iterator[bytes | memoryview]:
            yield b"".join(digests)
            for array in state:
                yield from dense_pieces(array)

        root = state_root(digests)
        self.blobs.put(root, pieces())  # also where one lies already: it might be damaged
        return root

    def open(self, root: bytes) -> list[np.ndarray]:
        """The slots of the state with this root, as read-only mapped arrays, checked.

        Raises: IntegrityError if the file is missing or damaged.
        """
        found = self.examine(root)
        if found.state is None or found.damage is not None:
            raise IntegrityError(f"{self.blobs.path(root)}: {found.damage}")
        return found.state

    def examine(self, root: bytes) -> Examined:
        """Look for damage. Nothing in the file is believed."""
        try:
            data = self.blobs.open_unchecked(root, self.nbytes)
        except IntegrityError as error:
            return Examined(None, str(error))
        state = self._slots(data)
        digests = [data[DIGEST * n : DIGEST * (n + 1)].tobytes() for n in range(len(self.types))]
        true = [array_digest(type, array, self.hasher) for type, array in zip(self.types, state, strict=True)]
        wrong = tuple(slot for slot, digest in enumerate(digests) if digest != true[slot])
        if state_root(digests) != root:
            if state_root(true) == root:  # the slots are as they were: only the list was hit
                return Examined(state, f"the stored digest of {self._listed(wrong)} was changed")
            return Examined(state, "its list of digests does not lead to the root it is named by")
        if wrong:
            return Examined(state, f"{self._listed(wrong)} changed: the bytes do not match their digest", wrong)
        noncanonical = tuple(slot for slot, array in enumerate(state) if has_forbidden_nan(self.types[slot], array))
        if noncanonical:
            return Examined(state, f"{self._listed(noncanonical)} with a NaN that is not canonical", noncanonical)
        return Examined(state, None)

    def _slots(self, data: np.ndarray) -> list[np.ndarray]:
        slots, start = [], DIGEST * len(self.types)
        for type in self.types:
            # Slots lie one after the other without padding: an array may be unaligned, and is copied before use.
            slots.append(np.ndarray(type.shape, NUMPY_DTYPES[type.dtype], data.data, start))
            start += type.nbytes
        return slots

    def _listed(self, slots: Sequence[int]) -> str:
        more = f" and {len(slots) - 3} more slots" if len(slots) > 3 else ""
        return ", ".join(f"slot {self.names[slot]}" for slot in slots[:3]) + more


def has_forbidden_nan(type: TensorType, array: np.ndarray) -> bool:
    """Whether a float32 tensor holds a NaN other than the canonical one."""
    if type.dtype is not DType.F32:
        return False
    nans = np.isnan(array)
    return bool(nans.any()) and bool((array[nans].view(np.uint32) != CANONICAL_NAN).any())


def aligned(state: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The arrays themselves where they are aligned, copies where they are not."""
    return [np.require(array, requirements=["C", "A"]) for array in state]
