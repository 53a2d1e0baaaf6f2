"""Reading an operand of a contraction through its view, a vector at a time.

One of panel index and step runs over the lanes; the other, the *single*, is the same in all of them. Lanes that are
neighbours in memory, or every second element, are loaded as vectors, one masked load for every run of neighbours that
a vector can touch; where runs are too short, elements are gathered. Guards become masks: this is how a convolution's
windows are read without ever being written out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

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
    reserve,
    smaller,
    splat,
    within,
    zeros,
)
from tallystick.engine.gemm_pack import Over
from tallystick.engine.storage import MEMORY_TYPE, widen
from tallystick.engine.target import Target
from tallystick.engine.words import I1, I32, I64, Literal, constant_word, lane_numbers, splat_constant, vector
from tallystick.spec.tensors import DType

MOST_RUNS = 4  # a vector in more pieces than this is gathered
SPREADS = (1, 2)  # strides of lanes that are loaded as vectors


def runs_touched(form: Form, lanes: int, aligned: bool) -> int | None:
    """Into how many runs of neighbours in memory a vector may fall, or None if it must be gathered.

    ``aligned``: vectors start at multiples of ``lanes``.
    """
    if form.stride not in SPREADS:
        return None
    if form.is_linear:
        return 1
    farthest = form.run - (gcd(form.run, lanes) if aligned else 1)
    runs = (farthest + lanes - 1) // form.run + 1
    return runs if runs <= MOST_RUNS else None


@dataclass(frozen=True, slots=True)
class Piece:
    """A vector of memory: offsets and masks of its runs (of all lanes, if gathered), and the lanes' parts of guards."""

    runs: tuple[tuple[ir.Value, ir.Value], ...]
    guards: tuple[ir.Value | None, ...]


Lanes = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Single:
    """An element offset, and a part of every guard."""

    offset: ir.Value
    guards: tuple[ir.Value, ...]


class ViewSource:
    """An operand seen through its view.

    Addresses are those the verifier has proved in range wherever the guards are open.
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
        lanes = self._lane_form(operand.address)
        self.runs = runs_touched(lanes, self.width, aligned)
        self.spread = 1 if self.runs is None else lanes.stride
        start = builder.add(emit_form(builder, operand.address.batch, batch), i64(operand.address.base))
        self.pointer = advance(builder, pointer, start, self.type)
        narrow_batch = builder.trunc(batch, I32)
        self.guard_starts = [
            builder.add(emit_form(builder, reach.batch, narrow_batch), i32(reach.base)) for reach, _ in operand.guards
        ]
        table = ir.ArrayType(I32, -(-capacity // self.width) * self.width)
        self.offsets = None if self._single_form(operand.address).is_linear else reserve(builder, table)
        self.guard_tables = [
            None if self._single_form(reach).is_zero else reserve(builder, table) for reach, _ in operand.guards
        ]
        self.announced: ir.Value = i64(0)

    def _lane_form(self, reach: Reach) -> Form:
        return reach.panel if self.over == "panel" else reach.steps

    def _single_form(self, reach: Reach) -> Form:
        return reach.steps if self.over == "panel" else reach.panel

    # SINGLES
    def prepare(self, start: ir.Value, stop: ir.Value) -> None:
        """Write the tables of what singles contribute."""
        builder = self.builder
        self.announced = start
        guards = zip(self.guard_tables, self.guard_starts, self.operand.guards, strict=True)
        wanted = [(table, first, self._single_form(reach)) for table, first, (reach, _) in guards]
        wanted = [
            (table, first, form)
            for table, first, form in [(self.offsets, i32(0), self._single_form(self.operand.address)), *wanted]
            if table is not None
        ]
        if not wanted:
            return
        last = splat(builder, builder.trunc(builder.sub(stop, i64(1)), I32), self.width)
        with counted(builder, start, stop, self.width) as single:
            number = splat(builder, builder.trunc(single, I32), self.width)
            numbers = smaller(builder, builder.add(number, iota(self.width)), last)
            for table, first, form in wanted:
                values = builder.add(emit_form(builder, form, numbers), splat(builder, first, self.width))
                builder.store(values, advance(builder, table, builder.sub(single, start), I32), align=4)

    def single(self, index: ir.Value) -> Single:
        """What a single contributes."""
        builder = self.builder
        if self.offsets is None:
            offset = emit_form(builder, self._single_form(self.operand.address), index)
        else:
            offset = builder.sext(self._entry(self.offsets, index), I64)
        guards = [
            first if table is None else self._entry(table, index)
            for table, first in zip(self.guard_tables, self.guard_starts, strict=True)
        ]
        return Single(offset, tuple(guards))

    def _entry(self, table: ir.Value, index: ir.Value) -> ir.Value:
        place = advance(self.builder, table, self.builder.sub(index, self.announced), I32)
        return self.builder.load(place, align=4, typ=I32)

    # LANES
    def lanes(self, start: ir.Value, stop: ir.Value) -> Lanes:
        """What the lanes start, start+1, .. contribute; those from ``stop`` on are closed."""
        return tuple(self._piece(start, stop, number) for number in range(self.spread))

    def _piece(self, start: ir.Value, stop: ir.Value, number: int) -> Piece:
        builder, width = self.builder, self.width
        elements = range(number * width, (number + 1) * width)
        steps = iota(width) if self.spread == 1 else lane_numbers(tuple(e // self.spread for e in elements))
        numbers = builder.add(splat(builder, builder.trunc(start, I32), width), steps)
        open = builder.icmp_signed("<", numbers, splat(builder, builder.trunc(stop, I32), width))
        if self.spread > 1:
            used = ", ".join(f"i1 {int(e % self.spread == 0)}" for e in elements)
            open = builder.and_(open, Literal(vector(I1, width), f"<{used}>"))
        form = self._lane_form(self.operand.address)
        if self.runs is None:
            runs = [(emit_form(builder, form, numbers), open)]
        elif self.runs == 1:
            runs = [(emit_form(builder, form, start), open)]
        else:
            runs = [self._run(form, start, run, steps, open) for run in range(self.runs)]
        if number:
            runs = [(builder.add(offset, i64(number * width)), mask) for offset, mask in runs]
        guards = [self._lane_form(reach) for reach, _ in self.operand.guards]
        return Piece(tuple(runs), tuple(None if g.is_zero else emit_form(builder, g, numbers) for g in guards))

    def _run(
        self, form: Form, start: ir.Value, number: int, steps: ir.Value, open: ir.Value
    ) -> tuple[ir.Value, ir.Value]:
        """Offset (of the first lane, were it in the run) and mask of one of the runs that a vector touches."""
        builder, width = self.builder, self.width
        run = builder.add(builder.udiv(start, i64(form.run)), i64(number))
        ahead = builder.sub(builder.mul(run, i64(form.run)), start)  # the first run starts at or before the first lane
        offset = builder.sub(emit_form(builder, Form(form.digits[:-1]), run), builder.mul(ahead, i64(form.stride)))
        first = splat(builder, builder.trunc(ahead, I32), width)
        inside = within(builder, builder.sub(steps, first), i32(form.run))
        return offset, builder.and_(open, inside)

    # WORDS
    def load(self, lanes: Lanes, single: Single) -> ir.Value:
        """A vector of words, as floats."""
        words = [self._load_piece(piece, single) for piece in lanes]
        if self.spread == 1:
            return words[0]
        return self.builder.shuffle_vector(*words, lane_numbers(tuple(range(0, self.spread * self.width, self.spread))))

    def _load_piece(self, piece: Piece, single: Single) -> ir.Value:
        builder = self.builder
        guarded = self._guards(piece, single)
        fill = self.emitter.as_float(constant_word(self.operand.fill, self.width))
        raw = fill if self.operand.dtype == DType.F32 else zeros(vector(self.type, self.width))
        pointer = advance(builder, self.pointer, single.offset, self.type)
        for offset, mask in piece.runs:
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

    def _guards(self, piece: Piece, single: Single) -> ir.Value | None:
        """Where all guards are open, or None if there are none."""
        builder = self.builder
        result: ir.Value | None = None
        for (_, limit), part, rest in zip(self.operand.guards, piece.guards, single.guards, strict=True):
            if part is None:
                open = splat(builder, within(builder, rest, i32(limit)), self.width)
            else:
                position = builder.add(part, splat(builder, rest, self.width))
                open = within(builder, position, splat_constant(I32, limit, self.width))
            result = open if result is None else builder.and_(result, open)
        return result

    def foresee(self, start: ir.Value, index: ir.Value) -> None:
        """Nothing: windows overlap, and most of what comes next is there already."""
