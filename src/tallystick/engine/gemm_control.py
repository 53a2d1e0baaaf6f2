"""Counted loops, masked memory and small constants in LLVM IR, shared by everything that writes a GEMM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

from tallystick.engine import arithmetic
from tallystick.engine.loops import Loop, i64
from tallystick.engine.words import F32, I32, Converter, Literal, lanes_of

POINTER = ir.PointerType()


def i32(value: int) -> ir.Constant:
    return ir.Constant(I32, value)


def splat(builder: ir.IRBuilder, scalar: ir.Value, lanes: int) -> ir.Value:
    """A vector with the scalar in every lane."""
    return Converter(builder).broadcast(scalar, lanes)


def advance(builder: ir.IRBuilder, pointer: ir.Value, elements: ir.Value, type: ir.Type = F32) -> ir.Value:
    """The address ``elements`` elements after a pointer."""
    return builder.gep(pointer, [elements], source_etype=type)


@contextmanager
def counted(builder: ir.IRBuilder, start: ir.Value, stop: ir.Value, step: int = 1) -> Iterator[ir.Value]:
    """``for i in range(start, stop, step)``; the body is what is written inside."""
    loop = Loop(builder, start, stop, step)
    yield loop.index
    loop.close()


def reserve(builder: ir.IRBuilder, type: ir.Type, align: int | None = None) -> ir.Value:
    """Memory on the stack of the function being built."""
    pointer = builder.alloca(type)
    pointer.align = align
    pointer.type = POINTER  # llvmlite would give it a typed one, which takes nothing but that type
    return pointer


def smaller(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The smaller of two signed integers."""
    return arithmetic.overloaded(builder, "llvm.smin", a, b)


def round_up(builder: ir.IRBuilder, value: ir.Value, multiple: int) -> ir.Value:
    """To a multiple that is a power of two."""
    return builder.and_(builder.add(value, i64(multiple - 1)), i64(-multiple))


def masked_load(builder: ir.IRBuilder, pointer: ir.Value, mask: ir.Value, otherwise: ir.Value) -> ir.Value:
    """The lanes of a vector in memory where the mask is set; the rest is not touched and yields ``otherwise``."""
    type = otherwise.type
    name = f"llvm.masked.load.{arithmetic.type_name(type)}.p0"
    return arithmetic.intrinsic(builder, name, type, [pointer, mask, otherwise], {0: _bytes(type)})


def masked_gather(builder: ir.IRBuilder, pointers: ir.Value, mask: ir.Value, otherwise: ir.Value) -> ir.Value:
    """The elements at a vector of pointers where the mask is set."""
    type = otherwise.type
    name = f"llvm.masked.gather.{arithmetic.type_name(type)}.v{type.count}p0"
    return arithmetic.intrinsic(builder, name, type, [pointers, mask, otherwise], {0: _bytes(type)})


def prefetch(builder: ir.IRBuilder, pointer: ir.Value, level: int = 2) -> None:
    """Ask for a cache line, any address allowed.

    It comes to the second level: brought nearer, what is needed later would drive out what is needed now. ``level`` 1
    is for what is needed in a moment.
    """
    hints = [i32(0), i32({1: 3, 2: 2}[level]), i32(1)]  # to read, how near, data
    arithmetic.intrinsic(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, *hints])


def within(builder: ir.IRBuilder, value: ir.Value, limit: ir.Value) -> ir.Value:
    """0 <= value < limit, in every lane; the limit may be a scalar."""
    if lanes_of(value) != lanes_of(limit):
        limit = splat(builder, limit, lanes_of(value))
    return builder.icmp_unsigned("<", value, limit)


def zeros(type: ir.Type) -> ir.Constant:
    return Literal(type, "zeroinitializer")


def _bytes(type: ir.Type) -> int:
    """Of one element of a vector type."""
    return 4 if type.element == F32 else type.element.width // 8
