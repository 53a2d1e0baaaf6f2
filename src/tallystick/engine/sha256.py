"""SHA-256 of many messages of one size at once: one message per vector lane.

The messages of a Merkle tree are a prefix byte and 1,024 or 64 bytes of data. Every lane therefore runs the same number
of blocks, and every word of a message straddles two words of data, which unaligned loads one byte early take care of.

Legend: a block is 64 bytes, a group is as many messages as a vector has lanes.
Source: FIPS 180-4, 6.2.
"""

from __future__ import annotations

import ctypes
from functools import cache
from hashlib import sha256
from math import isqrt

import numpy as np
from llvmlite import ir

from tallystick.engine.arithmetic import overloaded
from tallystick.engine.kernel_function import I32, I64, POINTER
from tallystick.engine.loops import Loop, i64
from tallystick.engine.machine_code import LoadedCode, compile_object
from tallystick.engine.target import Target
from tallystick.engine.words import splat_constant

BLOCK = 64  # bytes
WORDS = 16  # per block
DIGEST = 32  # bytes
ROUNDS = 64
I8 = ir.IntType(8)
FUNCTION = "sha256_groups"


class VectorHasher:
    """A ``commitment.Hasher`` that hashes a group of messages at a time, for messages of whole blocks and a byte.

    Other sizes, and what is left at the end, go through hashlib.
    """

    def __init__(self, target: Target | None = None) -> None:
        self.target = target or Target.host()
        code = LoadedCode(compile_object(str(build_module(self.target)), self.target), self.target)
        self._code: LoadedCode = code
        signature = ctypes.CFUNCTYPE(
            None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint8
        )
        self._hash_groups = signature(code.address(FUNCTION))

    def digests(self, prefix: bytes, data: bytes | bytearray | memoryview, size: int) -> bytes:
        """The digests of ``prefix + piece`` for all pieces of ``size`` bytes of ``data``, one after the other.

        The last piece may be short. Shapes: ``data`` n bytes -> 32 * ceil(n / size) bytes.
        """
        view = memoryview(data).cast("B")
        groups = 0
        if len(prefix) == 1 and size % BLOCK == 0:
            groups = len(view) // (size * self.target.lanes)
        done = groups * self.target.lanes * size
        rest = [sha256(prefix + view[at : at + size]).digest() for at in range(done, len(view), size)]
        return b"".join([self._grouped(prefix[0], view, groups, size) if groups else b"", *rest])

    def _grouped(self, prefix: int, view: memoryview, groups: int, size: int) -> bytes:
        source = np.frombuffer(view, np.uint8)
        # Axes: group, word of the digest, lane.
        words = np.empty((groups, DIGEST // 4, self.target.lanes), np.uint32)
        self._hash_groups(source.ctypes.data, words.ctypes.data, groups, size // BLOCK, prefix)
        return words.transpose(0, 2, 1).astype(">u4").tobytes()


# CONSTANTS
@cache
def fractional_bits(root: int, count: int) -> tuple[int, ...]:
    """The first 32 bits after the point of the square (2) or cube (3) roots of the first primes."""
    primes = [n for n in range(2, 320) if all(n % d for d in range(2, isqrt(n) + 1))][:count]
    return tuple(integer_root(prime << 32 * root, root) & 0xFFFFFFFF for prime in primes)


def integer_root(number: int, root: int) -> int:
    """The largest integer whose power does not exceed a number."""
    low, high = 0, 1 << (number.bit_length() // root + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**root <= number else (low, middle - 1)
    return low


# CODE
def build_module(target: Target) -> ir.Module:
    """``void sha256_groups(ptr data, ptr words, i64 groups, i64 blocks, i8 prefix)``

    ``data`` holds groups * lanes messages of 64 * blocks bytes, without their prefix; ``words`` takes the digests as
    (groups, 8, lanes) words.
    """
    module = ir.Module("sha256")
    table = ir.GlobalVariable(module, ir.ArrayType(I32, ROUNDS), "round_constants")
    table.initializer = ir.Constant(table.value_type, list(fractional_bits(3, ROUNDS)))
    table.global_constant, table.linkage = True, "internal"
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I64, I64, I8]), FUNCTION)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    Compression(builder, target, table).groups()
    builder.ret_void()
    return module


class Compression:
    """Emits the loops over groups, blocks and rounds."""

    def __init__(self, builder: ir.IRBuilder, target: Target, table: ir.GlobalVariable) -> None:
        self.builder = builder
        self.lanes = target.lanes
        self.table = table
        self.type = ir.VectorType(I32, self.lanes)
        self.data, self.words, self.group_count, self.blocks, self.prefix = builder.function.args
        size = builder.mul(self.blocks, i64(BLOCK))
        self.pieces = [builder.mul(size, i64(lane)) for lane in range(self.lanes)]
        self.group_bytes = builder.mul(size, i64(self.lanes))
        self.message = [builder.alloca(self.type, name=f"w{i}") for i in range(WORDS)]
        self.state = [builder.alloca(self.type, name=f"h{i}") for i in range(8)]

    def groups(self) -> None:
        """One digest per lane for every group."""
        builder = self.builder
        loop = Loop(builder, i64(0), self.group_count)
        start = builder.gep(self.data, [builder.mul(loop.index, self.group_bytes)], source_etype=I8)
        for word, slot in zip(fractional_bits(2, 8), self.state, strict=True):
            builder.store(self._splat(word), slot)
        self._first_block(start)
        middle = Loop(builder, i64(1), self.blocks)
        at = builder.gep(start, [builder.mul(middle.index, i64(BLOCK))], source_etype=I8)
        self._compress([self._rows(at, part) for part in range(WORDS // self.lanes)])
        middle.close()
        self._last_block(start)
        out = builder.mul(loop.index, i64(len(self.state)))
        for number, slot in enumerate(self.state):
            pointer = builder.gep(self.words, [builder.add(out, i64(number))], source_etype=self.type)
            builder.store(builder.load(slot, typ=self.type), pointer, align=4)
        loop.close()

    # BLOCKS
    def _first_block(self, start: ir.Value) -> None:
        """The prefix, then 63 bytes: nothing before the data is read."""
        builder = self.builder
        count = 4 * self.lanes
        bytes_type = ir.VectorType(I8, count)
        prefix = builder.insert_element(ir.Constant(bytes_type, ir.Undefined), self.prefix, ir.Constant(I32, 0))
        mask = ir.Constant(ir.VectorType(I32, count), [count, *range(count - 1)])
        rows = []
        for piece in self.pieces:
            pointer = builder.gep(start, [piece], source_etype=I8)
            loaded = builder.load(pointer, typ=bytes_type, align=1)
            rows.append(builder.bitcast(builder.shuffle_vector(loaded, prefix, mask), self.type))
        others = [self._rows(start, part) for part in range(1, WORDS // self.lanes)]
        self._compress([rows, *others])

    def _last_block(self, start: ir.Value) -> None:
        """The last byte of data, a one bit, zeros, and the length in bits."""
        builder = self.builder
        last = builder.sub(builder.mul(self.blocks, i64(BLOCK)), i64(1))
        ends: ir.Value = ir.Constant(self.type, ir.Undefined)
        for lane, piece in enumerate(self.pieces):
            pointer = builder.gep(start, [builder.add(piece, last)], source_etype=I8)
            byte = builder.zext(builder.load(pointer, typ=I8, align=1), I32)
            ends = builder.insert_element(ends, byte, ir.Constant(I32, lane))
        ends = builder.or_(builder.shl(ends, self._splat(24)), self._splat(0x00800000))
        builder.store(ends, self.message[0])
        for slot in self.message[1:-1]:
            builder.store(self._splat(0), slot)
        bits = builder.mul(builder.add(last, i64(2)), i64(8))
        builder.store(self._broadcast(builder.trunc(bits, I32)), self.message[-1])
        self._rounds()

    def _rows(self, block: ir.Value, part: int) -> list[ir.Value]:
        """One vector of consecutive words per lane, starting a byte before the block's ``part``."""
        builder = self.builder
        offset = i64(part * 4 * self.lanes - 1)
        rows = []
        for piece in self.pieces:
            pointer = builder.gep(block, [builder.add(piece, offset)], source_etype=I8)
            rows.append(builder.load(pointer, typ=self.type, align=1))
        return rows

    def _compress(self, parts: list[list[ir.Value]]) -> None:
        """The rounds for one block, given as vectors of consecutive words per lane."""
        for part, rows in enumerate(parts):
            for i, word in enumerate(self._transpose(rows)):
                swapped = overloaded(self.builder, "llvm.bswap", word)
                self.builder.store(swapped, self.message[part * self.lanes + i])
        self._rounds()

    def _transpose(self, rows: list[ir.Value]) -> list[ir.Value]:
        """A square of words, by exchanging halves, quarters, and so on."""
        rows, stride = list(rows), self.lanes // 2
        while stride:
            upper = [k if not k & stride else self.lanes + k - stride for k in range(self.lanes)]
            lower = [k + stride if not k & stride else self.lanes + k for k in range(self.lanes)]
            for i in (i for i in range(self.lanes) if not i & stride):
                a, b = rows[i], rows[i + stride]
                rows[i] = self.builder.shuffle_vector(a, b, ir.Constant(self.type, upper))
                rows[i + stride] = self.builder.shuffle_vector(a, b, ir.Constant(self.type, lower))
            stride //= 2
        return rows

    # ROUNDS
    def _rounds(self) -> None:
        """64 rounds: three times sixteen that also extend the message, then the last sixteen."""
        builder = self.builder
        before = [builder.load(slot, typ=self.type) for slot in self.state]
        loop = Loop(builder, i64(0), i64(ROUNDS - WORDS), WORDS, before)
        variables = loop.close(self._sixteen_rounds(loop.carried, loop.index, extend=True))
        variables = self._sixteen_rounds(variables, i64(ROUNDS - WORDS), extend=False)
        for slot, old, new in zip(self.state, before, variables, strict=True):
            builder.store(builder.add(old, new), slot)

    def _sixteen_rounds(self, variables: list[ir.Value], first: ir.Value, extend: bool) -> list[ir.Value]:
        builder = self.builder
        words = [builder.load(slot, typ=self.type) for slot in self.message]
        for i in range(WORDS):
            number = builder.add(first, i64(i))
            constant = builder.load(builder.gep(self.table, [number], source_etype=I32), typ=I32, align=4)
            variables = self._round(variables, builder.add(words[i], self._broadcast(constant)))
            if extend:
                words[i] = self._extended(words, i)
                builder.store(words[i], self.message[i])
        return variables

    def _round(self, variables: list[ir.Value], addend: ir.Value) -> list[ir.Value]:
        builder = self.builder
        a, b, c, d, e, f, g, h = variables
        choice = builder.xor(g, builder.and_(e, builder.xor(f, g)))
        majority = builder.or_(builder.and_(a, b), builder.and_(c, builder.or_(a, b)))
        one = builder.add(builder.add(h, addend), builder.add(choice, self._rotations(e, 6, 11, 25)))
        two = builder.add(self._rotations(a, 2, 13, 22), majority)
        return [builder.add(one, two), a, b, c, builder.add(d, one), e, f, g]

    def _extended(self, words: list[ir.Value], i: int) -> ir.Value:
        """The message word sixteen places on."""
        builder = self.builder
        old, recent = words[(i + 1) % WORDS], words[(i + 14) % WORDS]
        small = builder.xor(self._rotations(old, 7, 18), builder.lshr(old, self._splat(3)))
        large = builder.xor(self._rotations(recent, 17, 19), builder.lshr(recent, self._splat(10)))
        return builder.add(builder.add(words[i], small), builder.add(words[(i + 9) % WORDS], large))

    def _rotations(self, word: ir.Value, *amounts: int) -> ir.Value:
        """The exclusive or of a word rotated right by several amounts."""
        rotated = [overloaded(self.builder, "llvm.fshr", word, word, self._splat(amount)) for amount in amounts]
        result = rotated[0]
        for other in rotated[1:]:
            result = self.builder.xor(result, other)
        return result

    # VECTORS
    def _splat(self, number: int) -> ir.Constant:
        return splat_constant(I32, number, self.lanes)

    def _broadcast(self, word: ir.Value) -> ir.Value:
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, word, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(self.type, [0] * self.lanes))
