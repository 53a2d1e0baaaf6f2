"""The loops around the register tiles: shared functions that every GEMM calls with its own sizes and functions.

    void run(ptr operands, i64 task_lo, i64 task_hi, i32 step, ptr shared, ptr scratch, ptr sizes, ptr functions)

does tasks of the multiplying phase, ``pack`` (same arguments) those of the packing phase.
"""

from __future__ import annotations

from llvmlite import ir

from tallystick.engine.gemm_blocking import PACK_GROUP, Blocking
from tallystick.engine.gemm_control import POINTER, advance, counted, i32, i64, reserve, round_up, smaller
from tallystick.engine.gemm_pack import PACK, pitch_of, tile_count, tile_start
from tallystick.engine.gemm_tiles import CONTINUE, FRESH, MERGE, MICROKERNEL, Side, TileFormat
from tallystick.engine.words import I1, I8, I32, I64

RUN = ir.FunctionType(ir.VoidType(), [POINTER, I64, I64, I32, POINTER, POINTER, POINTER, POINTER])
EPILOGUE = ir.FunctionType(POINTER, [POINTER, I32, *[I64] * 5, POINTER, I1])
"""``ptr epilogue(ptr operands, i32 step, i64 batch, i64 row, i64 rows, i64 column, i64 columns, ptr totals,
i1 early)`` finishes a tile; ``early`` it only asks for the memory that it will write, to arrive meanwhile, and says
where totals are to be put: at ``totals``, or, if they are the result, in the result itself."""

SIZES = (
    "slow_extent",
    "slow_blocks",
    "fast_extent",
    "fast_blocks",
    "fast_bytes",
    "steps",
    "block",
    "chunk",
    "chunks",
    "in_advance",
    "merge_mode",  # of a chain that is not the first of its element
    "tile_pitch",  # bytes from one tile of totals to the next; 0 where one tile serves all
    "slow_at",  # offsets into scratch
    "fast_at",
    "pack_groups",
    "slow_operand",  # places in the operand table
    "fast_operand",
    "slow_packed",  # 1, or 0 for an operand that is read where it lies
    "fast_packed",
    "slow_index",  # bytes from a row or column of a panel to the next, if it is not packed
    "fast_index",
    "a_step",  # bytes from step to step
    "b_step",
    "in_place",  # totals are put into the result, and there is nothing to finish
)
PACK_SLOW, PACK_FAST, FINISH, TILES = range(4)  # places in the table of functions


def size_words(blocking: Blocking, slow_operand: int, fast_operand: int) -> list[int]:
    """The values of `SIZES` for one GEMM."""
    b = blocking
    one_tile = b.chunks == 1
    values = {
        "slow_extent": b.slow.extent,
        "slow_blocks": b.slow.blocks,
        "fast_extent": b.fast.extent,
        "fast_blocks": b.fast.blocks,
        "fast_bytes": b.fast_bytes,
        "steps": b.steps,
        "block": b.block,
        "chunk": b.chunk,
        "chunks": b.chunks,
        "in_advance": int(b.in_advance),
        "merge_mode": CONTINUE if b.block >= b.steps else MERGE,
        "tile_pitch": 0 if one_tile else b.tiles.nbytes,
        "slow_at": b.totals_bytes,
        "fast_at": b.totals_bytes + b.slow_bytes,
        "pack_groups": b.pack_groups,
        "slow_operand": slow_operand,
        "fast_operand": fast_operand,
        "slow_packed": int(b.layout(b.slow.side).packed),
        "fast_packed": int(b.layout(b.fast.side).packed),
        "slow_index": 4 * b.layout(b.slow.side).index_stride,
        "fast_index": 4 * b.layout(b.fast.side).index_stride,
        "a_step": 4 * b.rows.step_stride,
        "b_step": 4 * b.columns.step_stride,
        "in_place": int(b.pitch is not None),
    }
    return [values[name] for name in SIZES]


class Frame:
    """Arguments of a shared function, and its sizes loaded by name."""

    def __init__(self, module: ir.Module, name: str, tiles: TileFormat, slow: Side) -> None:
        self.function = ir.Function(module, RUN, name)
        self.function.linkage = "internal"
        self.function.attributes.add("nounwind")
        self.function.attributes.add("noinline")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.tiles = tiles
        self.slow_side: Side = slow
        self.fast_side: Side = "columns" if slow == "rows" else "rows"
        arguments = self.function.args
        self.operands, self.task_lo, self.task_hi, self.step, self.shared, self.scratch = arguments[:6]
        self._sizes, self._functions = arguments[6:]
        self._known: dict[str, ir.Value] = {name: self._load_size(name) for name in SIZES}

    def _load_size(self, name: str) -> ir.Value:
        place = advance(self.builder, self._sizes, i64(SIZES.index(name)), I64)
        return self.builder.load(place, align=8, typ=I64, name=name)

    def __getitem__(self, name: str) -> ir.Value:
        return self._known[name]

    def function_at(self, place: ir.Value) -> ir.Value:
        return self.builder.load(advance(self.builder, self._functions, place, POINTER), align=8, typ=POINTER)

    def operand(self, name: str) -> ir.Value:
        place = advance(self.builder, self.operands, self[name], POINTER)
        return self.builder.load(place, align=8, typ=POINTER)

    def call(self, type: ir.FunctionType, place: ir.Value, arguments: list[ir.Value]) -> ir.Value:
        """Call a function of the table."""
        return self.builder.call(Callee(self.function_at(place), type), arguments)

    def block_start(self, side: Side, extent: ir.Value, blocks: ir.Value, block: ir.Value) -> ir.Value:
        """As `Cut.start`."""
        builder = self.builder
        if side == "rows":
            return builder.udiv(builder.mul(block, extent), blocks)
        panels = tile_count(builder, self.tiles, side, extent)
        whole = builder.udiv(builder.mul(block, panels), blocks)
        return smaller(builder, extent, builder.mul(whole, i64(self.tiles.columns)))

    def block(self, which: str, number: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Start, end and number of tiles of a slow or fast block."""
        builder = self.builder
        side = self.slow_side if which == "slow" else self.fast_side
        extent, blocks = self[f"{which}_extent"], self[f"{which}_blocks"]
        start = self.block_start(side, extent, blocks, number)
        stop = self.block_start(side, extent, blocks, builder.add(number, i64(1)))
        return start, stop, tile_count(builder, self.tiles, side, builder.sub(stop, start))

    def advance_slot(self, batch: ir.Value, chunk: ir.Value, block: ir.Value) -> ir.Value:
        """Where in the shared memory the fast operand's chunk of a block is packed."""
        builder = self.builder
        slot = builder.add(builder.mul(batch, self["chunks"]), chunk)
        slot = builder.add(builder.mul(slot, self["fast_blocks"]), block)
        return advance(builder, self.shared, builder.mul(slot, self["fast_bytes"]), I8)

    def panel_bytes(self, side: Side, steps: ir.Value) -> ir.Value:
        """Of a packed panel."""
        pitch = 4 * pitch_of(self.tiles, side)
        return self.builder.mul(round_up(self.builder, steps, self.tiles.lanes), i64(pitch))

    def panel_strides(self, which: str, steps: ir.Value) -> tuple[ir.Value, ir.Value]:
        """By how many bytes a panel lies after the first, for each tile and for each row or column before it."""
        packed = self.builder.icmp_unsigned("!=", self[f"{which}_packed"], i64(0))
        side = self.slow_side if which == "slow" else self.fast_side
        by_tile = self.builder.select(packed, self.panel_bytes(side, steps), i64(0))
        return by_tile, self.builder.select(packed, i64(0), self[f"{which}_index"])


class Callee:
    """A pointer to a function of a known type, in the shape in which llvmlite expects something to call."""

    def __init__(self, pointer: ir.Value, type: ir.FunctionType) -> None:
        self.pointer = pointer
        self.type = pointer.type
        self.function_type = type

    def get_reference(self) -> str:
        return self.pointer.get_reference()


def pack_function(module: ir.Module, tiles: TileFormat, slow: Side) -> ir.Function:
    """The packing phase: tasks are groups of panels of the fast operand, of one chunk and block each."""
    name = f"gemm.advance.{slow}"
    known = module.globals.get(name)
    if known is not None:
        return known
    frame = Frame(module, name, tiles, slow)
    builder = frame.builder
    with counted(builder, frame.task_lo, frame.task_hi) as task:
        group = builder.urem(task, frame["pack_groups"])
        slot = builder.udiv(task, frame["pack_groups"])
        block = builder.urem(slot, frame["fast_blocks"])
        chunk = builder.urem(builder.udiv(slot, frame["fast_blocks"]), frame["chunks"])
        batch = builder.udiv(slot, builder.mul(frame["fast_blocks"], frame["chunks"]))
        start, stop, count = frame.block("fast", block)
        k = builder.mul(chunk, frame["chunk"])
        steps = smaller(builder, frame["chunk"], builder.sub(frame["steps"], k))
        first = smaller(builder, builder.mul(group, i64(PACK_GROUP)), count)
        last = smaller(builder, builder.add(first, i64(PACK_GROUP)), count)
        offset = builder.mul(first, frame.panel_bytes(frame.fast_side, steps))
        panels = advance(builder, frame.advance_slot(batch, chunk, block), offset, I8)
        arguments = [frame.operand("fast_operand"), batch, start, stop, count, first, last, k, steps, panels]
        frame.call(PACK, i64(PACK_FAST), arguments)
    builder.ret_void()
    return frame.function


def run_function(module: ir.Module, tiles: TileFormat, slow: Side) -> ir.Function:
    """The multiplying phase."""
    name = f"gemm.run.{slow}"
    known = module.globals.get(name)
    if known is not None:
        return known
    frame = Frame(module, name, tiles, slow)
    builder = frame.builder
    slow_panels, fast_panels = _Panels(frame, "slow"), _Panels(frame, "fast")
    totals = reserve(builder, POINTER)
    with counted(builder, frame.task_lo, frame.task_hi) as task:
        fast = builder.urem(task, frame["fast_blocks"])
        batch_slow = builder.udiv(task, frame["fast_blocks"])
        slow_block = builder.urem(batch_slow, frame["slow_blocks"])
        batch = builder.udiv(batch_slow, frame["slow_blocks"])
        batch_fast = builder.add(builder.mul(batch, frame["fast_blocks"]), fast)
        slow_range, fast_range = frame.block("slow", slow_block), frame.block("fast", fast)
        with counted(builder, i64(0), frame["chunks"]) as chunk:
            k = builder.mul(chunk, frame["chunk"])
            steps = smaller(builder, frame["chunk"], builder.sub(frame["steps"], k))
            slow_at = slow_panels.ready(batch, batch_slow, slow_range, k, steps)
            in_advance = builder.icmp_unsigned("!=", frame["in_advance"], i64(0))
            with builder.if_else(in_advance) as (known, made):
                with known:
                    slot = frame.advance_slot(batch, chunk, fast)
                    from_slot = builder.block
                with made:
                    own = fast_panels.ready(batch, batch_fast, fast_range, k, steps)
                    from_own = builder.block
            fast_at = builder.phi(POINTER)
            fast_at.add_incoming(slot, from_slot)
            fast_at.add_incoming(own, from_own)
            _multiply(frame, batch, slow_range, fast_range, slow_at, fast_at, totals, chunk, k, steps)
    builder.ret_void()
    return frame.function


Range = tuple[ir.Value, ir.Value, ir.Value]


class _Panels:
    """The panels of one side that a task packs itself, or finds in the operand."""

    def __init__(self, frame: Frame, which: str) -> None:
        self.frame, self.which = frame, which
        self.number = frame.builder.alloca(I64)  # of the block that is packed now
        self.start = reserve(frame.builder, POINTER)
        frame.builder.store(i64(-1), self.number)

    def ready(self, batch: ir.Value, number: ir.Value, range: Range, k: ir.Value, steps: ir.Value) -> ir.Value:
        """Where a block's chunk begins. It is packed, unless it is the only chunk and its block the last one packed."""
        frame, builder = self.frame, self.frame.builder
        several = builder.icmp_unsigned("!=", frame["chunks"], i64(1))
        other = builder.icmp_unsigned("!=", builder.load(self.number, typ=I64), number)
        with builder.if_then(builder.or_(several, other)):
            start, stop, count = range
            place = i64(PACK_SLOW if self.which == "slow" else PACK_FAST)
            room = advance(builder, frame.scratch, frame[f"{self.which}_at"], I8)
            operand = frame.operand(f"{self.which}_operand")
            arguments = [operand, batch, start, stop, count, i64(0), count, k, steps, room]
            builder.store(frame.call(PACK, place, arguments), self.start)
            builder.store(number, self.number)
        return builder.load(self.start, typ=POINTER)


def _multiply(
    frame: Frame,
    batch: ir.Value,
    slow: Range,
    fast: Range,
    slow_panels: ir.Value,
    fast_panels: ir.Value,
    totals: ir.Value,
    chunk: ir.Value,
    k: ir.Value,
    steps: ir.Value,
) -> None:
    """All tiles of one chunk: fast panels one by one, each against the whole slow block.

    ``totals``: room for a pointer.
    """
    builder, tiles = frame.builder, frame.tiles
    is_last = builder.icmp_unsigned("==", builder.add(k, steps), frame["steps"])
    in_place = builder.icmp_unsigned("!=", frame["in_place"], i64(0))
    announced, finished = builder.or_(is_last, in_place), builder.and_(is_last, builder.not_(in_place))
    extents = [builder.sub(stop, start) for start, stop, _ in (slow, fast)]
    slow_strides, fast_strides = frame.panel_strides("slow", steps), frame.panel_strides("fast", steps)

    def tile_range(side: Side, extent: ir.Value, count: ir.Value, tile: ir.Value) -> tuple[ir.Value, ir.Value]:
        first = tile_start(builder, tiles, side, extent, count, tile)
        return first, builder.sub(tile_start(builder, tiles, side, extent, count, builder.add(tile, i64(1))), first)

    def panel(panels: ir.Value, strides: tuple[ir.Value, ir.Value], tile: ir.Value, first: ir.Value) -> ir.Value:
        offset = builder.add(builder.mul(tile, strides[0]), builder.mul(first, strides[1]))
        return advance(builder, panels, offset, I8)

    with counted(builder, i64(0), fast[2]) as fast_tile:
        fast_first, fast_size = tile_range(frame.fast_side, extents[1], fast[2], fast_tile)
        fast_panel = panel(fast_panels, fast_strides, fast_tile, fast_first)
        with counted(builder, i64(0), slow[2]) as slow_tile:
            slow_first, slow_size = tile_range(frame.slow_side, extents[0], slow[2], slow_tile)
            slow_panel = panel(slow_panels, slow_strides, slow_tile, slow_first)
            number = builder.add(builder.mul(fast_tile, slow[2]), slow_tile)
            kept = advance(builder, frame.scratch, builder.mul(number, frame["tile_pitch"]), I8)
            slow_at = (builder.add(slow[0], slow_first), slow_size, slow_panel)
            fast_at = (builder.add(fast[0], fast_first), fast_size, fast_panel)
            a, b = (slow_at, fast_at) if frame.slow_side == "rows" else (fast_at, slow_at)
            arguments = [frame.operands, frame.step, batch, a[0], a[1], b[0], b[1], kept]
            builder.store(kept, totals)
            with builder.if_then(announced):
                builder.store(frame.call(EPILOGUE, i64(FINISH), [*arguments, I1(1)]), totals)
            _tile(frame, a[1], b[1], a[2], b[2], builder.load(totals, typ=POINTER), chunk, steps)
            with builder.if_then(finished):
                frame.call(EPILOGUE, i64(FINISH), [*arguments, I1(0)])


def _tile(
    frame: Frame,
    rows: ir.Value,
    columns: ir.Value,
    a: ir.Value,
    b: ir.Value,
    totals: ir.Value,
    chunk: ir.Value,
    steps: ir.Value,
) -> None:
    """The chains of one tile in one chunk, a block at a time."""
    builder, tiles = frame.builder, frame.tiles
    vectors = builder.udiv(builder.add(columns, i64(tiles.lanes - 1)), i64(tiles.lanes))
    place = builder.add(builder.mul(builder.sub(rows, i64(1)), i64(tiles.vectors)), builder.sub(vectors, i64(1)))
    tile = frame.function_at(builder.add(place, i64(TILES)))
    size = frame["block"]
    blocks = builder.udiv(builder.sub(builder.add(steps, size), i64(1)), size)
    with counted(builder, i64(0), blocks) as block:
        k = builder.mul(block, size)
        count = smaller(builder, size, builder.sub(steps, k))
        fresh = builder.icmp_unsigned("==", builder.or_(chunk, k), i64(0))
        mode = builder.select(fresh, i32(FRESH), builder.trunc(frame["merge_mode"], I32))
        a_start = advance(builder, a, builder.mul(k, frame["a_step"]), I8)
        b_start = advance(builder, b, builder.mul(k, frame["b_step"]), I8)
        builder.call(Callee(tile, MICROKERNEL), [count, a_start, b_start, totals, mode])
