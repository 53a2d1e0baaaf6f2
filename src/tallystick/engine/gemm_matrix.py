"""Reading a plain matrix for packing: what most operands of matrix products are, shared by all kernels."""

from __future__ import annotations

from llvmlite import ir

from tallystick.engine.emit import Emitter, iota
from tallystick.engine.gemm_control import advance, i64, masked_load, prefetch, smaller, splat, zeros
from tallystick.engine.gemm_pack import Over
from tallystick.engine.storage import MEMORY_TYPE, widen
from tallystick.engine.target import Target
from tallystick.engine.words import I32, vector
from tallystick.spec.tensors import DType


class LinearSource:
    """A matrix in memory: unit stride over the lanes, any stride over the singles."""

    def __init__(
        self, builder: ir.IRBuilder, target: Target, dtype: DType, over: Over, pointer: ir.Value, stride: ir.Value
    ) -> None:
        self.builder = builder
        self.emitter = Emitter(builder, target)
        self.width = target.lanes
        self.dtype = dtype
        self.over: Over = over
        self.type = MEMORY_TYPE[dtype]
        self.pointer = pointer
        self.stride = stride
        self.last: ir.Value = i64(0)

    def prepare(self, start: ir.Value, stop: ir.Value) -> None:
        self.last = self.builder.sub(stop, i64(1))

    def single(self, index: ir.Value) -> ir.Value:
        index = index if self.over == "panel" else smaller(self.builder, index, self.last)
        return advance(self.builder, self.pointer, self.builder.mul(index, self.stride), self.type)

    def lanes(self, start: ir.Value, stop: ir.Value) -> tuple[ir.Value, ir.Value]:
        builder, width = self.builder, self.width
        count = splat(builder, builder.trunc(builder.sub(stop, start), I32), width)
        return start, builder.icmp_signed("<", iota(width), count)

    def load(self, lanes: tuple[ir.Value, ir.Value], single: ir.Value) -> ir.Value:
        start, mask = lanes
        pointer = advance(self.builder, single, start, self.type)
        raw = masked_load(self.builder, pointer, mask, zeros(vector(self.type, self.width)))
        if self.dtype == DType.F32:
            return raw
        return self.emitter.as_float(widen(self.emitter, self.dtype, raw))

    def foresee(self, start: ir.Value, index: ir.Value) -> None:
        place = self.builder.add(self.builder.mul(index, self.stride), start)
        prefetch(self.builder, advance(self.builder, self.pointer, place, self.type))
