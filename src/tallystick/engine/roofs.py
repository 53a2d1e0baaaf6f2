"""What a machine can do at most: fused multiply-adds from registers, and bytes from and to memory, measured.

The loops are generated for the same target as a program's kernels. No kernel can be faster than the first; one whose
data lies in a cache may well be faster than the others, which go through more memory than caches hold.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from tallystick.engine.arithmetic import overloaded
from tallystick.engine.kernel_function import POINTER, make_self_contained
from tallystick.engine.loops import Loop, i64
from tallystick.engine.machine_code import LoadedCode, compile_object
from tallystick.engine.target import Target
from tallystick.engine.words import F32, I64, splat_constant, vector

CHAINS = 12  # of fused multiply-adds that do not wait for each other: their latency times two units, and some
ABREAST = 8  # vectors read or written in one turn
STREAMED = 256 << 20  # bytes that all threads go through together
LEAST_STREAMED = 16 << 20  # and each of them
TURNS = 1 << 22  # of the loop of multiply-adds: some ten milliseconds, next to which threads start together
REPEATS = 5  # of which the fastest counts: others' work can only slow a loop down


@dataclass(frozen=True, slots=True)
class Roofs:
    """Per second, by so many threads together."""

    flops: float
    read: float
    written: float
    threads: int

    def least_seconds(self, operations: int, read: int, written: int) -> float:
        """No machine with these roofs takes less, from memory; an operation takes the place of a multiply-add."""
        return max(self.compute_seconds(operations), self.memory_seconds(read, written))

    def compute_seconds(self, operations: int) -> float:
        return 2 * operations / self.flops

    def memory_seconds(self, read: int, written: int) -> float:
        return read / self.read + written / self.written


def measure_roofs(target: Target, threads: int) -> Roofs:
    """Takes about a second and a half."""
    module = ir.Module("roofs")
    _emit_multiply(module, target)
    _emit_read(module, target)
    _emit_write(module, target)
    code = LoadedCode(compile_object(str(module), target), target)
    signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
    multiply, read, write = (signature(code.address(name)) for name in ("multiply", "read", "write"))
    size = max(STREAMED // threads, LEAST_STREAMED)
    memory = mmap.mmap(-1, size * threads)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    turn_bytes = ABREAST * target.lanes * 4
    flops = 2 * CHAINS * target.lanes * TURNS

    def rate(amount: int, run: Callable[[int], None]) -> float:
        return threads * amount / min(_together(threads, run) for _ in range(REPEATS))

    return Roofs(
        flops=rate(flops, lambda thread: multiply(start + thread * size, TURNS)),
        written=rate(size, lambda thread: write(start + thread * size, size // turn_bytes)),
        read=rate(size, lambda thread: read(start + thread * size, size // turn_bytes)),
        threads=threads,
    )


def _together(threads: int, run: Callable[[int], None]) -> float:
    """Seconds that threads take from a common start until the last is done."""
    barrier = threading.Barrier(threads)
    times: list[tuple[float, float]] = []

    def one(thread: int) -> None:
        barrier.wait(60)
        begin = time.perf_counter()
        run(thread)
        times.append((begin, time.perf_counter()))

    workers = [threading.Thread(target=one, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return max(end for _, end in times) - min(begin for begin, _ in times)


def _start(module: ir.Module, name: str) -> tuple[ir.IRBuilder, ir.Value, ir.Value]:
    """A function ``void name(ptr memory, i64 turns)``."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, I64]), name)
    make_self_contained(function)
    return ir.IRBuilder(function.append_basic_block("entry")), *function.args


def _emit_multiply(module: ir.Module, target: Target) -> None:
    """Chains of fused multiply-adds in registers; where there is no such instruction, of a product and a sum."""
    builder, memory, turns = _start(module, "multiply")
    factor = builder.load(memory, typ=vector(F32, target.lanes), align=4)
    loop = Loop(builder, i64(0), turns, carried=[splat_constant(F32, float(i), target.lanes) for i in range(CHAINS)])
    if target.has_fma:
        values = [overloaded(builder, "llvm.fma", chain, factor, factor) for chain in loop.carried]
    else:
        values = [builder.fadd(builder.fmul(chain, factor), factor) for chain in loop.carried]
    total, *others = loop.close(values)
    for other in others:
        total = builder.fadd(total, other)
    builder.store(total, memory, align=4)
    builder.ret_void()


def _emit_read(module: ir.Module, target: Target) -> None:
    builder, memory, turns = _start(module, "read")
    word = vector(I64, target.lanes // 2)
    loop = Loop(builder, i64(0), turns, carried=[splat_constant(I64, 0, target.lanes // 2)] * ABREAST)
    first = builder.mul(loop.index, i64(ABREAST))
    places = [builder.gep(memory, [builder.add(first, i64(i))], source_etype=word) for i in range(ABREAST)]
    words = [builder.load(place, typ=word, align=8) for place in places]
    total, *others = loop.close([builder.xor(a, b) for a, b in zip(loop.carried, words, strict=True)])
    for other in others:
        total = builder.xor(total, other)
    builder.store(total, memory, align=8)
    builder.ret_void()


def _emit_write(module: ir.Module, target: Target) -> None:
    builder, memory, turns = _start(module, "write")
    word = vector(I64, target.lanes // 2)
    loop = Loop(builder, i64(0), turns)
    first = builder.mul(loop.index, i64(ABREAST))
    for i in range(ABREAST):
        place = builder.gep(memory, [builder.add(first, i64(i))], source_etype=word)
        builder.store(splat_constant(I64, 1, target.lanes // 2), place, align=8)
    loop.close()
    builder.ret_void()
