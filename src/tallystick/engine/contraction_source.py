"""Reading an operand of a contraction through its view, a vector at a time.

One of panel index and step runs over the lanes; the other, the *single*, is the same in all of them. Lanes that are
neighbours in memory are loaded as vectors, one masked load for every run of neighbours that a vector can touch; where
runs are too short, elements are gathered. Guards become masks: this is how a convolution's windows are read without
ever being written out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Literal

from llvmlite import ir

from tallystick.engine.contraction import Operand, Reach
from tallystick.engine.contraction_forms import Form, emit_form
from tallystick.engine.emit import Emitter, iota
from tallystick.engine.gemm_control import (
    POINTER,
    advance,
    counted,
    i32,
    i64,
    masked_gather,
    masked_load,
    prefetch,
    reserve,
    smaller,
    splat,
    within,
    zeros,
)
from tallystick.engine.storage import MEMORY_TYPE, widen
from tallystick.engine.target import Target
from tallystick.engine.words import I32, I64, constant_word, splat_constant, vector
from tallystick.spec.tensors import DType

MOST_RUNS = 4  # a vector in more pieces than this is gathered

Over = Literal["panel", "steps"]


def runs_touched(form: Form, lanes: int, aligned: bool) -> int | None:
    """Into how many runs of neighbours in memory a vector may fall, or None if it must be gathered.

    ``aligned``: vectors start at multiples of ``lanes``.
    """
    if form.stride != 1:
        return None
    if form.is_linear:
        return 1
    farthest = form.run - (gcd(form.run, lanes) if aligned else 1)
    runs = (farthest + lanes - 1) // form.run + 1
    return runs if runs <= MOST_RUNS else None


@dataclass(frozen=True, slots=True)
class Lanes:
    """One vector of neighbours: element offsets and masks of its runs (or of all lanes), and its part of the guards."""

    runs: tuple[tuple[ir.Value, ir.Value], ...]
    guards: tuple[ir.Value | None, ...]


@dataclass(frozen=True, slots=True)
class Single:
    """An element offset, and a part of every guard."""

    offset: ir.Value
    guards: tuple[ir.Value, ...]


class ViewSource:
    """An operand seen through its view.

    Raises nothing: addresses are those the verifier has proved in range wherever the guards are open.
    """

    def __init__(
        self,
        builder: ir.IRBuilder,
        target: Target,
        operand: Operand,
        over: Over,
        pointer: ir.Value,
        batch: ir.Value,
        capacity: int,
        aligned: bool,
    ) -> None:
        """``capacity``: the most singles that will be announced at once."""
        self.builder = builder
        self.emitter = Emitter(builder, target)
        self.width = target.lanes
        self.operand = operand
        self.over: Over = over
        self.type = MEMORY_TYPE[operand.dtype]
        self.runs = runs_touched(self._lane_form(operand.address), self.width, aligned)
        start = builder.add(emit_form(builder, operand.address.batch, batch), i64(operand.address.base))
        self.pointer = advance(builder, pointer, start, self.type)
        narrow_batch = builder.trunc(batch, I32)
        self.guard_starts = tuple(
            builder.add(emit_form(builder, reach.batch, narrow_batch), i32(reach.base)) for reach, _ in operand.guards
        )
        rows = -(-capacity // self.width) * self.width
        self.tables = {
            form: reserve(builder, ir.ArrayType(I32, rows))
            for form in map(self._single_form, (operand.address, *(reach for reach, _ in operand.guards)))
            if not form.is_linear
        }
        self.announced: ir.Value = i64(0)

    def _lane_form(self, reach: Reach) -> Form:
        return reach.panel if self.over == "panel" else reach.steps

    def _single_form(self, reach: Reach) -> Form:
        return reach.steps if self.over == "panel" else reach.panel

    # SINGLES
    def prepare(self, start: ir.Value, stop: ir.Value) -> None:
        """Write the tables of what is not a multiple of the single's index."""
        builder = self.builder
        self.announced = start
        if not self.tables:
            return
        last = splat(builder, builder.trunc(builder.sub(stop, i64(1)), I32), self.width)
        with counted(builder, start, stop, self.width) as single:
            first = splat(builder, builder.trunc(single, I32), self.width)
            numbers = smaller(builder, builder.add(first, iota(self.width)), last)
            for form, table in self.tables.items():
                place = advance(builder, table, builder.sub(single, start), I32)
                builder.store(emit_form(builder, form, numbers), place, align=4)

    def single(self, index: ir.Value) -> Single:
        """What a single contributes."""
        builder = self.builder
        offset = self._single_value(self._single_form(self.operand.address), index, I64)
        guards = tuple(
            builder.add(start, self._single_value(self._single_form(reach), index, I32))
            for start, (reach, _) in zip(self.guard_starts, self.operand.guards, strict=True)
        )
        return Single(offset, guards)

    def _single_value(self, form: Form, index: ir.Value, type: ir.IntType) -> ir.Value:
        builder = self.builder
        table = self.tables.get(form)
        if table is None:
            return emit_form(builder, form, index if type == I64 else builder.trunc(index, I32))
        entry = advance(builder, table, builder.sub(index, self.announced), I32)
        value = builder.load(entry, align=4, typ=I32)
        return builder.sext(value, I64) if type == I64 else value

    # LANES
    def lanes(self, start: ir.Value, stop: ir.Value) -> Lanes:
        """What the lanes start, start+1, .. contribute; those from ``stop`` on are closed."""
        builder, width = self.builder, self.width
        numbers = builder.add(splat(builder, builder.trunc(start, I32), width), iota(width))
        open = builder.icmp_signed("<", numbers, splat(builder, builder.trunc(stop, I32), width))
        form = self._lane_form(self.operand.address)
        if self.runs is None:
            runs = [(emit_form(builder, form, numbers), open)]
        elif self.runs == 1:
            runs = [(emit_form(builder, form, start), open)]
        else:
            runs = [self._run(form, start, number, open) for number in range(self.runs)]
        guards = [self._lane_form(reach) for reach, _ in self.operand.guards]
        parts = [None if guard.is_zero else emit_form(builder, guard, numbers) for guard in guards]
        return Lanes(tuple(runs), tuple(parts))

    def _run(self, form: Form, start: ir.Value, number: int, open: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Offset (of lane 0, were it in the run) and mask of one of the runs that a vector touches."""
        builder, width = self.builder, self.width
        run = builder.add(builder.udiv(start, i64(form.run)), i64(number))
        ahead = builder.sub(builder.mul(run, i64(form.run)), start)  # of lane 0; the first run starts at or before it
        offset = builder.sub(emit_form(builder, Form(form.digits[:-1]), run), ahead)
        first = splat(builder, builder.trunc(ahead, I32), width)
        inside = within(builder, builder.sub(iota(width), first), i32(form.run))
        return offset, builder.and_(open, inside)

    # WORDS
    def load(self, lanes: Lanes, single: Single) -> ir.Value:
        """A vector of words, as floats."""
        builder = self.builder
        raw_type = vector(self.type, self.width)
        guarded = self._guards(lanes, single)
        fill = self.emitter.as_float(constant_word(self.operand.fill, self.width))
        raw = fill if self.operand.dtype == DType.F32 else zeros(raw_type)
        pointer = advance(builder, self.pointer, single.offset, self.type)
        for offset, mask in lanes.runs:
            mask = mask if guarded is None else builder.and_(mask, guarded)
            if self.runs is None:
                raw = masked_gather(builder, self._elements(pointer, offset), mask, raw)
            else:
                raw = masked_load(builder, advance(builder, pointer, offset, self.type), mask, raw)
        if self.operand.dtype == DType.F32:
            return raw
        word = self.emitter.as_float(widen(self.emitter, self.operand.dtype, raw))
        return word if guarded is None else builder.select(guarded, word, fill)

    def _elements(self, pointer: ir.Value, offsets: ir.Value) -> ir.Value:
        pointers = advance(self.builder, pointer, offsets, self.type)
        pointers.type = ir.VectorType(POINTER, self.width)  # which llvmlite does not see by itself
        return pointers

    def foresee(self, start: ir.Value, index: ir.Value) -> None:
        """Nothing: windows overlap, and most of what comes next is there already."""

    def _guards(self, lanes: Lanes, single: Single) -> ir.Value | None:
        """Where all guards are open, or None if there are none."""
        builder = self.builder
        result: ir.Value | None = None
        for (_, limit), part, rest in zip(self.operand.guards, lanes.guards, single.guards, strict=True):
            if part is None:
                open = splat(builder, within(builder, rest, i32(limit)), self.width)
            else:
                position = builder.add(part, splat(builder, rest, self.width))
                open = within(builder, position, splat_constant(I32, limit, self.width))
            result = open if result is None else builder.and_(result, open)
        return result


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
