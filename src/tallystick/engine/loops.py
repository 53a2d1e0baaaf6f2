"""Counted loops in LLVM IR, with values carried from one turn to the next."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from tallystick.engine.words import I64, element_of, lanes_of, splat_constant


def i64(number: int) -> ir.Constant:
    return ir.Constant(I64, number)


class Loop:
    """for index in range(start, stop, step), tested before each turn.

    The builder stands in the body once the loop is made; `close` ends the body and leaves the builder after the loop.

        loop = Loop(builder, i64(0), count, carried=[zero])
        (total,) = loop.close([builder.fadd(loop.carried[0], value)])
    """

    def __init__(
        self,
        builder: ir.IRBuilder,
        start: ir.Value,
        stop: ir.Value,
        step: int = 1,
        carried: Sequence[ir.Value] = (),
    ) -> None:
        self.builder = builder
        self._step = step
        before = builder.block
        self._header = builder.append_basic_block("loop")
        body = builder.append_basic_block("body")
        self._exit = builder.append_basic_block("done")
        builder.branch(self._header)
        builder.position_at_end(self._header)
        self.index = builder.phi(I64)
        self.index.add_incoming(start, before)
        self.carried = [builder.phi(value.type) for value in carried]
        for phi, value in zip(self.carried, carried, strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", self.index, stop), body, self._exit)
        builder.position_at_end(body)

    def close(self, carried: Sequence[ir.Value] = ()) -> list[ir.Value]:
        """End the body; the carried values as they are after the last turn."""
        latch = self.builder.block
        self.index.add_incoming(self.builder.add(self.index, i64(self._step), flags=["nsw"]), latch)
        for phi, value in zip(self.carried, carried, strict=True):
            phi.add_incoming(value, latch)
        self.builder.branch(self._header)
        self.builder.position_at_end(self._exit)
        return list(self.carried)


def split_index(builder: ir.IRBuilder, index: ir.Value, extents: Sequence[int]) -> list[ir.Value]:
    """The indices of a point from its row-major number. ``index`` is a non-negative i64, or a vector of i32."""
    indices: list[ir.Value] = []
    for extent in reversed(extents[1:]):
        by = constant_like(index, extent)
        indices.append(builder.urem(index, by))
        index = builder.udiv(index, by)
    return [index, *reversed(indices)] if extents else []


def constant_like(value: ir.Value, number: int) -> ir.Value:
    """A constant of the same type as a value."""
    return splat_constant(element_of(value), number, lanes_of(value))
