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
    kernel leaf     leaf(u32 number of its first output value + its canonical bytes)
    kernels root    Merkle root over the kernel leaves, in order
    program root    sha256(03 + sha256(canonical bytes of the header) + kernels root)
    manifest id     sha256(04 + canonical bytes of the manifest)

A kernel leaf carries the number of its first output, so that one leaf and its path show which kernel made a value. The
header enters as a digest, so that an opening of one kernel need not carry it; it starts with ``TALY``, which keeps its
own hash apart from every domain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from tallystick.spec.encoding import encode_header, encode_kernel, encode_tensor_type
from tallystick.spec.merkle import depth, leaf, merkle_root, path, root_of_path
from tallystick.spec.programs import Program
from tallystick.spec.tensors import TensorType

TENSOR = b"\x02"
PROGRAM = b"\x03"
MANIFEST = b"\x04"
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


def program_root(program: Program) -> bytes:
    """The root that names a program."""
    return program_root_of(sha256(encode_header(program)).digest(), merkle_root(kernel_leaves(program)))


def program_root_of(header_digest: bytes, kernels_root: bytes) -> bytes:
    """A program's root from the digest of its header and the root of its kernels."""
    return sha256(PROGRAM + header_digest + kernels_root).digest()


def manifest_id(canonical: bytes) -> bytes:
    """The name of a job: the hash of its manifest's canonical bytes."""
    return sha256(MANIFEST + canonical).digest()


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
    """One kernel of a program with its way to the program's root."""

    number: int
    first_value: int
    kernel_bytes: bytes
    siblings: tuple[bytes, ...]
    header_digest: bytes


def open_kernel(program: Program, number: int) -> KernelOpening:
    """Kernel ``number`` of a program, and what proves it."""
    before = program.kernels[:number]
    first_value = len(program.states) + len(program.constants) + sum(len(kernel.outputs) for kernel in before)
    siblings = tuple(path(kernel_leaves(program), number))
    header_digest = sha256(encode_header(program)).digest()
    return KernelOpening(number, first_value, encode_kernel(program.kernels[number]), siblings, header_digest)


def verify_kernel(root: bytes, count: int, opening: KernelOpening) -> bool:
    """Whether an opening shows a kernel of the program of ``count`` kernels with this root."""
    if not 0 <= opening.number < count or len(opening.siblings) != depth(count):
        return False
    digest = kernel_leaf(opening.first_value, opening.kernel_bytes)
    kernels_root = root_of_path(digest, opening.number, opening.siblings)
    return program_root_of(opening.header_digest, kernels_root) == root
