"""What a contraction need not copy: operands that its register tiles read where they lie, a result written in place.

Packing pays for itself by being read many times. Where an operand's words lie in the order of a panel, or as a few
streams that a processor follows by itself, a tile reads them from the tensor; where the epilogue is the sum itself, a
tile stores its registers into the result. Both are a matter of addresses alone.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from tallystick.engine.contraction import Contraction, Operand
from tallystick.engine.contraction_forms import Form, emit_form
from tallystick.engine.gemm_control import advance, counted, i64, prefetch
from tallystick.engine.gemm_pack import PACK
from tallystick.engine.gemm_run import EPILOGUE
from tallystick.engine.gemm_tiles import PanelLayout, Side, TileFormat
from tallystick.engine.kernel_function import load_operand
from tallystick.engine.words import F32
from tallystick.spec.instructions import Op
from tallystick.spec.tensors import DType

NEAR = 512  # words between steps that still lie near each other
ANY = 1 << 31
MOST_TILES: dict[Side, tuple[tuple[int, int], ...]] = {
    "rows": ((NEAR, ANY), (ANY, 3)),
    "columns": ((64, ANY), (NEAR, 200), (ANY, 3)),
}
"""Words from step to step of a side whose indices are neighbours, and how many tiles of the other side may read them
before packing pays for itself."""


def layout(contraction: Contraction, side: Side, tiles: TileFormat) -> PanelLayout | None:
    """How the tiles read an operand where it lies, or None if it is to be packed."""
    operand = contraction.a if side == "rows" else contraction.b
    panel, steps = operand.address.panel, operand.address.steps
    if operand.dtype != DType.F32 or operand.guards or not panel.is_linear or not steps.is_linear:
        return None
    if side == "rows":
        again = -(-contraction.columns.size // tiles.columns)
        pays = panel.stride == 1 or steps.stride in (0, 1)  # rows that lie together, or so many streams
    else:
        again = -(-contraction.rows.size // tiles.rows)
        pays = panel.stride == 1 and contraction.columns.size % tiles.lanes == 0  # vectors must not reach past the end
    if panel.stride == 1:
        pays &= any(abs(steps.stride) <= near and again <= most for near, most in MOST_TILES[side])
    return PanelLayout(panel.stride, steps.stride, packed=False) if pays else None


def result_pitch(contraction: Contraction, tiles: TileFormat) -> int | None:
    """Words from row to row of the result, if tiles can be stored where they belong."""
    kernel, epilogue = contraction.nest.kernel, contraction.fold.epilogue
    rows, columns, _ = _result_forms(contraction)
    plain = [epilogue.instructions[result].op for result in epilogue.results] == [Op.ACC]
    whole = (columns.is_linear and columns.run % tiles.lanes == 0) or columns.run % tiles.columns == 0
    if not plain or kernel.outputs != (DType.F32,) or not rows.is_linear or columns.stride != 1 or not whole:
        return None
    return rows.stride


def _result_forms(contraction: Contraction) -> tuple[Form, Form, Form]:
    """Where rows, columns and batch entries lie in the result."""
    nest = contraction.nest
    strides = nest.out_strides + (0,) * len(nest.reduce_shape)
    return (
        contraction.rows.form(strides),
        contraction.columns.form(strides),
        contraction.batch.form(strides),
    )


def emit_finder(module: ir.Module, name: str, operand: Operand) -> ir.Function:
    """In place of a packer: where a block of an operand begins."""

    def write(builder: ir.IRBuilder, arguments: list[ir.Value]) -> ir.Value:
        source, batch, first, *_, k, _, _ = arguments
        address = operand.address
        start = builder.add(emit_form(builder, address.batch, batch), i64(address.base))
        start = builder.add(start, builder.mul(first, i64(address.panel.stride)))
        return advance(builder, source, builder.add(start, builder.mul(k, i64(address.steps.stride))), F32)

    return _function(module, name, PACK, write)


def emit_opener(module: ir.Module, name: str, contraction: Contraction, tiles: TileFormat) -> ir.Function:
    """In place of an epilogue: where a tile belongs in the result, whose memory is asked for meanwhile."""
    rows, columns, batches = _result_forms(contraction)

    def write(builder: ir.IRBuilder, arguments: list[ir.Value]) -> ir.Value:
        _, _, batch, row, count, column, width, _, _ = arguments
        result = load_operand(builder, len(contraction.nest.kernel.loads))
        start = builder.add(emit_form(builder, batches, batch), builder.mul(row, i64(rows.stride)))
        tile = advance(builder, result, builder.add(start, emit_form(builder, columns, column)), F32)
        with counted(builder, i64(0), count) as number:
            line = advance(builder, tile, builder.mul(number, i64(rows.stride)), F32)
            with counted(builder, i64(0), width, tiles.lanes) as offset:
                prefetch(builder, advance(builder, line, offset, F32))
        return tile

    return _function(module, name, EPILOGUE, write)


def _function(
    module: ir.Module,
    name: str,
    type: ir.FunctionType,
    write: Callable[[ir.IRBuilder, list[ir.Value]], ir.Value],
) -> ir.Function:
    """A function of a GEMM's table that returns what is written."""
    function = ir.Function(module, type, name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    builder.ret(write(builder, list(function.args)))
    return function
