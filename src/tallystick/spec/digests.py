"""What is hashed, and how: tensors, states, constants, traces, programs and manifests.

The first byte of what is hashed separates the domains: ``00`` leaf and ``01`` node (in ``merkle``), ``02`` tensor,
``03`` program, ``04`` manifest. Integers are little-endian.

    chunk           1024 bytes of a tensor's dense row-major little-endian bytes; the last may be short
    chunk root      Merkle root over the leaves of the chunks
    tensor digest   sha256(02 + tensor type + chunk root)
    tensor type     u8 dtype, u8 rank, then each dimension as u64
    state root      Merkle root over the digests of the state slots, in order
    constants root  the same over the constants
    trace root      the same over all values of one step, in order of their numbers
    slot leaf       leaf(tensor type + u32 number of the value it holds after a step) of a state slot,
                    leaf(tensor type) of a constant
    slots root      Merkle root over the slot leaves, state slots first, then constants
    kernel leaf     leaf(u32 number of its first output value + its canonical bytes)
    kernels root    Merkle root over the kernel leaves, in order
    program header  u16 version, u32 states, u32 constants, u32 values, u32 kernels, slots root, kernels root
    program root    sha256(03 + program header)
    manifest id     sha256(04 + canonical bytes of the manifest)
    words digest    sha256(05 + words as u32), of the accumulators between two scalar steps

A kernel leaf carries the number of its first output, so that one leaf and its path show which kernel made a value. The
program header is short and of one length, so that a referee can be shown the counts of a program of any size, and one
slot or one kernel of it, for the price of a path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from tallystick.spec.encoding import VERSION, encode_kernel, encode_tensor_type
from tallystick.spec.merkle import depth, leaf, merkle_root, path, root_of_path, verify
from tallystick.spec.programs import Program
from tallystick.spec.tensors import TensorType

TENSOR = b"\x02"
PROGRAM = b"\x03"
MANIFEST = b"\x04"
WORDS = b"\x05"
CHUNK = 1024  # bytes


# TENSORS


def chunk_count(nbytes: int) -> int:
    """Chunks of a tensor of that many bytes."""
    return -(-nbytes // CHUNK)


def chunk_leaves(data: bytes | bytearray | memoryview) -> Iterator[bytes]:
    """The leaves of a tensor's bytes, in order."""
    view = memoryview(data).cast("B")
    for start in range(0, len(view), CHUNK):
        yield leaf(view[start : start + CHUNK])


def chunk_root(data: bytes | bytearray | memoryview) -> bytes:
    return merkle_root(list(chunk_leaves(data)))


def tensor_digest(type: TensorType, data: bytes | bytearray | memoryview) -> bytes:
    """The digest of a tensor from its dense bytes."""
    assert memoryview(data).nbytes == type.nbytes, "a tensor's bytes must fit its type"
    return tensor_digest_of_root(type, chunk_root(data))


def tensor_digest_of_root(type: TensorType, root: bytes) -> bytes:
    """The digest of a tensor whose chunk root is known."""
    return sha256(TENSOR + encode_tensor_type(type) + root).digest()


# STATES, CONSTANTS, TRACES


def state_root(digests: Sequence[bytes]) -> bytes:
    """The root over the tensor digests of all state slots, in order."""
    return merkle_root(digests)


def constants_root(digests: Sequence[bytes]) -> bytes:
    """The root over the tensor digests of all constants, in order."""
    return merkle_root(digests)


def trace_root(digests: Sequence[bytes]) -> bytes:
    """The root over the tensor digests of all values of one step, by number."""
    return merkle_root(digests)


# PROGRAMS AND MANIFESTS


@dataclass(frozen=True, slots=True)
class ProgramHeader:
    """What a program's root is the hash of: how many there are of everything, and the roots over slots and kernels."""

    states: int
    constants: int
    values: int
    kernels: int
    slots_root: bytes
    kernels_root: bytes

    def encode(self) -> bytes:
        counts = (self.states, self.constants, self.values, self.kernels)
        numbers = b"".join(count.to_bytes(4, "little") for count in counts)
        return VERSION.to_bytes(2, "little") + numbers + self.slots_root + self.kernels_root

    @property
    def root(self) -> bytes:
        """The program root."""
        return sha256(PROGRAM + self.encode()).digest()


def program_header(program: Program) -> ProgramHeader:
    """The header of a program."""
    return ProgramHeader(
        states=len(program.states),
        constants=len(program.constants),
        values=len(program.value_types),
        kernels=len(program.kernels),
        slots_root=merkle_root([leaf(slot) for slot in slot_records(program)]),
        kernels_root=merkle_root(kernel_leaves(program)),
    )


def program_root(program: Program) -> bytes:
    """The root that names a program."""
    return program_header(program).root


def slot_records(program: Program) -> list[bytes]:
    """What the slot leaves are the leaves of: state slots, then constants."""
    states = zip(program.states, program.next_state, strict=True)
    records = [encode_tensor_type(type) + value.to_bytes(4, "little") for type, value in states]
    return records + [encode_tensor_type(type) for type in program.constants]


def kernel_leaf(first_value: int, kernel_bytes: bytes) -> bytes:
    """The leaf of a kernel whose first output has number ``first_value``."""
    return leaf(first_value.to_bytes(4, "little") + kernel_bytes)


def kernel_leaves(program: Program) -> list[bytes]:
    """The leaves of a program's kernels, in order."""
    leaves: list[bytes] = []
    value = len(program.states) + len(program.constants)
    for kernel in program.kernels:
        leaves.append(kernel_leaf(value, encode_kernel(kernel)))
        value += len(kernel.outputs)
    return leaves


def manifest_id(canonical: bytes) -> bytes:
    """The name of a job: the hash of its manifest's canonical bytes."""
    return sha256(MANIFEST + canonical).digest()


def words_digest(words: Sequence[int]) -> bytes:
    """The digest of accumulators, or of the one word that holds the bits of an element."""
    return sha256(WORDS + b"".join(word.to_bytes(4, "little") for word in words)).digest()


# OPENINGS


@dataclass(frozen=True, slots=True)
class ChunkOpening:
    """One chunk of a tensor with its way to the tensor's digest."""

    index: int
    chunk: bytes
    siblings: tuple[bytes, ...]


def open_chunk(data: bytes | bytearray | memoryview, index: int) -> ChunkOpening:
    """Chunk ``index`` of a tensor's bytes, and what proves it."""
    view = memoryview(data).cast("B")
    chunk = bytes(view[index * CHUNK : (index + 1) * CHUNK])
    return ChunkOpening(index, chunk, tuple(path(list(chunk_leaves(view)), index)))


def verify_chunk(digest: bytes, type: TensorType, opening: ChunkOpening) -> bool:
    """Whether an opening shows a chunk of the tensor of this type with this digest."""
    count = chunk_count(type.nbytes)
    if not 0 <= opening.index < count:
        return False
    if len(opening.chunk) != min(CHUNK, type.nbytes - opening.index * CHUNK):
        return False
    root = root_of_path(leaf(opening.chunk), opening.index, opening.siblings)
    return len(opening.siblings) == depth(count) and tensor_digest_of_root(type, root) == digest


@dataclass(frozen=True, slots=True)
class KernelOpening:
    """One kernel of a program with its way to the kernels root."""

    number: int
    first_value: int
    kernel_bytes: bytes
    siblings: tuple[bytes, ...]


def open_kernel(program: Program, number: int) -> KernelOpening:
    """Kernel ``number`` of a program, and what proves it."""
    before = program.kernels[:number]
    first_value = len(program.states) + len(program.constants) + sum(len(kernel.outputs) for kernel in before)
    siblings = tuple(path(kernel_leaves(program), number))
    return KernelOpening(number, first_value, encode_kernel(program.kernels[number]), siblings)


def verify_kernel(header: ProgramHeader, opening: KernelOpening) -> bool:
    """Whether an opening shows a kernel of the program with this header."""
    digest = kernel_leaf(opening.first_value, opening.kernel_bytes)
    return verify(header.kernels_root, header.kernels, opening.number, digest, opening.siblings)


@dataclass(frozen=True, slots=True)
class SlotOpening:
    """One state slot of a program with its way to the slots root: its type and the value it holds after a step."""

    slot: int
    type_bytes: bytes
    next_value: int
    siblings: tuple[bytes, ...]


def open_slot(program: Program, slot: int) -> SlotOpening:
    """State slot ``slot`` of a program, and what proves it."""
    siblings = tuple(path([leaf(record) for record in slot_records(program)], slot))
    return SlotOpening(slot, encode_tensor_type(program.states[slot]), program.next_state[slot], siblings)


def verify_slot(header: ProgramHeader, opening: SlotOpening) -> bool:
    """Whether an opening shows a state slot of the program with this header."""
    digest = leaf(opening.type_bytes + opening.next_value.to_bytes(4, "little"))
    slots = header.states + header.constants
    return opening.slot < header.states and verify(header.slots_root, slots, opening.slot, digest, opening.siblings)
