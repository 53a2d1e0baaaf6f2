"""The code of a contraction kernel: its packers and epilogue, bound to the shared loops of a GEMM."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from tallystick.engine import arithmetic, contraction_stream
from tallystick.engine.contraction import Contraction, Operand
from tallystick.engine.contraction_direct import emit_finder, emit_opener, layout, result_pitch
from tallystick.engine.contraction_epilogue import epilogue_function
from tallystick.engine.contraction_pack import packer
from tallystick.engine.emit import Emitter, float_accumulator
from tallystick.engine.gemm_blocking import Blocking, choose
from tallystick.engine.gemm_control import POINTER, zeros
from tallystick.engine.gemm_run import pack_function, run_function, size_words
from tallystick.engine.gemm_tiles import Side, TileFormat, TileShape, microkernel
from tallystick.engine.kernel_function import KernelFunction, Phase, declare_phase
from tallystick.engine.storage import narrow
from tallystick.engine.target import Target
from tallystick.engine.words import I64, Literal
from tallystick.spec.tensors import DType

NS_PER_VECTOR = 0.3  # one vector fused multiply-add
PACK_NS_PER_WORD = 0.15


def emit_contraction(module: ir.Module, name: str, contraction: Contraction, target: Target) -> KernelFunction:
    """The functions of a contraction. ``name`` prefixes every name that is this kernel's own."""
    stream = contraction_stream.choose(contraction, target)
    if stream is not None:
        return contraction_stream.emit_stream(module, name, contraction, stream, target)
    tiles = TileFormat.of(target)
    c = contraction
    layouts = layout(c, "rows", tiles), layout(c, "columns", tiles)
    sizes = c.rows.size, c.columns.size, c.batch.size, c.steps.size
    blocking = choose(tiles, *sizes, c.block, layouts, result_pitch(c, tiles))
    slow, fast = blocking.slow.side, blocking.fast.side
    operands: dict[Side, Operand] = {"rows": c.a, "columns": c.b}
    packers = {
        side: packer(module, f"{name}.pack.{side}", target, tiles, side, operand, blocking.chunk)
        if blocking.layout(side).packed
        else emit_finder(module, f"{name}.find.{side}", operand)
        for side, operand in operands.items()
    }
    if blocking.pitch is None:
        finish = epilogue_function(module, f"{name}.epilogue", c, target, tiles)
    else:
        finish = emit_opener(module, f"{name}.open", c, tiles)
    functions = [packers[slow], packers[fast], finish, *_tile_table(module, blocking, target)]
    words = size_words(blocking, operands[slow].slot, operands[fast].slot)
    size_table = _table(module, f"{name}.sizes", I64, [ir.Constant(I64, word) for word in words])
    function_table = _table(module, f"{name}.functions", POINTER, functions)

    def phase(suffix: str, shared: ir.Function, tasks: int, cost: float) -> Phase:
        function = declare_phase(module, f"{name}.{suffix}")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        builder.call(shared, [*function.args, size_table, function_table])
        builder.ret_void()
        return Phase(function.name, tasks, cost)

    phases: list[Phase] = []
    if blocking.in_advance:
        cost = PACK_NS_PER_WORD * blocking.batches * blocking.fast.extent * blocking.steps
        phases.append(phase("pack", pack_function(module, tiles, slow), blocking.pack_tasks, cost))
    work = c.batch.size * c.rows.size * c.columns.size * c.steps.size
    cost = NS_PER_VECTOR * work / tiles.lanes * (1 if target.has_fma else 20)
    phases.append(phase("run", run_function(module, tiles, slow), blocking.tasks, cost))
    return KernelFunction(tuple(phases), blocking.shared_bytes, blocking.scratch_bytes)


def _tile_table(module: ir.Module, blocking: Blocking, target: Target) -> list[ir.Constant]:
    """Register tiles by (rows - 1, vectors - 1); null for shapes that do not occur."""
    tiles = blocking.tiles

    def fma(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        return arithmetic.fused_multiply_add(builder, target, a, b, c)

    def finish(builder: ir.IRBuilder, sums: ir.Value) -> ir.Value:
        return narrow(Emitter(builder, target), DType.F32, float_accumulator(sums))

    cuts = {cut.side: cut.tile_sizes(tiles) for cut in (blocking.slow, blocking.fast)}
    vectors = {-(-columns // tiles.lanes) for columns in cuts["columns"]}
    table: list[ir.Constant] = [zeros(POINTER)] * (tiles.rows * tiles.vectors)
    for rows in cuts["rows"]:
        for count in vectors:
            shape = TileShape(rows, count, blocking.rows, blocking.columns, blocking.pitch)
            table[(rows - 1) * tiles.vectors + count - 1] = microkernel(module, tiles, shape, fma, finish)
    return table


def _table(module: ir.Module, name: str, type: ir.Type, entries: Sequence[ir.Value]) -> ir.GlobalVariable:
    """A constant array in a module."""
    array = ir.ArrayType(type, len(entries))
    table = ir.GlobalVariable(module, array, name)
    table.linkage = "internal"
    table.global_constant = True
    texts = ", ".join(f"{type} {entry.get_reference()}" for entry in entries)
    table.initializer = Literal(array, f"[{texts}]")
    return table
