"""The leaf of a dispute: one scalar step, executed from a kernel's bytes and from words that are proved, not trusted.

The words a step loads come in a *witness*, one entry for every load slot of the kernel, in order of the slots:

    entry
        mode             u8         0 nothing: the slot is not read, or a guard is closed
                                    1 the address is computed and falls outside the value
                                    2 a word
      modes 1 and 2:
        type             tensor type of the value
      mode 1:
        chunk root       32 bytes
      mode 2:
        element          u64        the address
        length           u16        bytes of the chunk
        chunk            [length]
        chunk path       32 bytes for every level of the value's chunk tree, nearest first
      modes 1 and 2:
        trace path       32 bytes for every level of the trace tree, nearest first

START of a scatter that has a base takes one entry, mode 2, for the base; every other START, and both MERGEs, take none.
An entry is believed only if it leads to the trace root, whose values left of the disputed one both sides accept.
"""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.errors import DecodingError, IllegalMove
from tallystick.spec.digests import CHUNK, chunk_count, tensor_digest_of_root
from tallystick.spec.encoding import encode_tensor_type
from tallystick.spec.encoding.decoder import decode_tensor_type
from tallystick.spec.encoding.reader import Reader
from tallystick.spec.kernels import Kernel
from tallystick.spec.merkle import depth, leaf, root_of_path
from tallystick.spec.scalar_steps import Place, Work, run_scalar_step, scalar_step
from tallystick.spec.tensors import TensorType, widen
from tallystick.spec.views import View, locate

NOTHING, OUTSIDE, WORD = 0, 1, 2
DIGEST = 32  # bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a witness. ``word`` is what the element at ``element`` loads as; ``type`` says in what value."""

    mode: int
    type: TensorType | None = None
    element: int = 0
    word: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """What the values of a step are proved against: their root, and how many there are."""

    root: bytes
    values: int


def execute_leaf(
    kernel: Kernel, first_value: int, place: Place, position: int, accumulators: list[int], witness: bytes, trace: Trace
) -> list[int]:
    """The accumulators (or bits) after a scalar step whose loads are in a witness.

    ``first_value`` is the number of the kernel's first output: only values before it can be proved.
    Raises: IllegalMove if the witness does not prove exactly the words that the step reads.
    """
    now = scalar_step(kernel, place.element, position)
    values = witnessed_values(kernel, now.work)
    require(all(value < first_value for value in values), "value is not earlier")
    try:
        entries = read_witness(witness, values, trace)
    except DecodingError as error:
        raise IllegalMove("malformed witness") from error
    return run_scalar_step(kernel, place, position, accumulators, WitnessWords(kernel, entries))


def witnessed_values(kernel: Kernel, work: Work) -> list[int]:
    """The values that the entries of a witness are about."""
    if work is Work.START:
        assert kernel.scatter is not None
        return [] if kernel.scatter.base is None else [kernel.scatter.base]
    if work in (Work.MERGE_LANES, Work.MERGE_BLOCK) or (work is Work.STORE and kernel.scatter is not None):
        return []
    return [view.value for view in kernel.loads]


class WitnessWords:
    """Words out of the entries of a witness; each entry must be what its slot's address asks for."""

    def __init__(self, kernel: Kernel, entries: list[Entry]) -> None:
        self.kernel = kernel
        self.entries = entries

    def load(self, slot: int, indices: tuple[int, ...], registers: list[int]) -> int:
        view, entry = self.kernel.loads[slot], self.entries[slot]
        if not is_open(view, indices):
            require(entry.mode == NOTHING, "guard is closed")
            return view.fill
        require(entry.type is not None, "word is missing")
        assert entry.type is not None
        at = locate(view.address, indices, registers, entry.type.elements)
        if at is None:
            require(entry.mode == OUTSIDE, "address is outside")
            return view.fill
        require(entry.mode == WORD, "word is missing")
        require(entry.element == at, "wrong element")
        return entry.word

    def base(self, element: int) -> int:
        (entry,) = self.entries
        require(entry.mode == WORD, "word is missing")
        require(entry.element == element, "wrong element")
        return entry.word


def is_open(view: View, indices: tuple[int, ...]) -> bool:
    """Whether all guards of a view hold."""
    sums = (
        (guard, guard.base + sum(stride * index for stride, index in zip(guard.strides, indices, strict=True)))
        for guard in view.address.guards
    )
    return all(0 <= at < guard.limit for guard, at in sums)


# READING A WITNESS


def read_witness(witness: bytes, values: list[int], trace: Trace) -> list[Entry]:
    """The entries of a witness, one for each of the values."""
    reader = Reader(witness)
    entries = [read_entry(reader, value, trace) for value in values]
    reader.finish()
    return entries


def read_entry(reader: Reader, value: int, trace: Trace) -> Entry:
    """One entry, checked against the trace root."""
    mode = number(reader, 1)
    require(mode in (NOTHING, OUTSIDE, WORD), "unknown mode")
    if mode == NOTHING:
        return Entry(NOTHING)
    type = decode_tensor_type(reader, "type")
    element, word = 0, 0
    if mode == OUTSIDE:
        root = digest(reader)
    else:
        element, word, root = read_word(reader, type)
    require(
        root_of_path(tensor_digest_of_root(type, root), value, digests(reader, depth(trace.values))) == trace.root,
        "not in the trace",
    )
    return Entry(mode, type, element, word)


def read_word(reader: Reader, type: TensorType) -> tuple[int, int, bytes]:
    """Element number, the word it loads as, and the chunk root that its chunk leads to."""
    element = number(reader, 8)
    require(element < type.elements, "no such element")
    index, offset = divmod(element * type.dtype.size, CHUNK)
    length = number(reader, 2)
    require(length == min(CHUNK, type.nbytes - index * CHUNK), "wrong chunk length")
    chunk = bytes(reader.take("chunk", length))
    root = root_of_path(leaf(chunk), index, digests(reader, depth(chunk_count(type.nbytes))))
    bits = int.from_bytes(chunk[offset : offset + type.dtype.size], "little")
    return element, widen(type.dtype, bits), root


def number(reader: Reader, width: int) -> int:
    return reader.unsigned("witness", width)


def digest(reader: Reader) -> bytes:
    return bytes(reader.take("digest", DIGEST))


def digests(reader: Reader, count: int) -> list[bytes]:
    return [digest(reader) for _ in range(count)]


# WRITING A WITNESS


def encode_word(
    type: TensorType, element: int, chunk: bytes, chunk_path: list[bytes], trace_path: list[bytes]
) -> bytes:
    """The entry of a word."""
    return b"".join(
        [
            bytes([WORD]),
            encode_tensor_type(type),
            element.to_bytes(8, "little"),
            len(chunk).to_bytes(2, "little"),
            chunk,
            *chunk_path,
            *trace_path,
        ]
    )


def encode_outside(type: TensorType, chunk_root: bytes, trace_path: list[bytes]) -> bytes:
    """The entry of an address that falls outside its value."""
    return b"".join([bytes([OUTSIDE]), encode_tensor_type(type), chunk_root, *trace_path])


def encode_nothing() -> bytes:
    """The entry of a slot that reads nothing."""
    return bytes([NOTHING])


def require(holds: bool, reason: str) -> None:
    if not holds:
        raise IllegalMove(reason)
