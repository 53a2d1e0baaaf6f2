"""The packers of a contraction's operands: shared ones for plain matrices, one of its own for everything else."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from tallystick.engine.contraction import Operand
from tallystick.engine.contraction_forms import emit_form
from tallystick.engine.contraction_source import ViewSource, runs_touched
from tallystick.engine.gemm_control import advance, i64
from tallystick.engine.gemm_matrix import LinearSource
from tallystick.engine.gemm_pack import (
    PACK,
    PANELS_ABREAST,
    Over,
    PackFrame,
    Side,
    pack_across,
    pack_across_by_squares,
    pack_along,
    pitch_of,
)
from tallystick.engine.gemm_tiles import TileFormat
from tallystick.engine.storage import MEMORY_TYPE
from tallystick.engine.target import Target
from tallystick.spec.tensors import DType

GATHER_COST = 24  # of a gathered vector against a loaded one
TRANSPOSE_COST = 4  # of transposing a vector's share of a square


@dataclass(frozen=True, slots=True)
class Packing:
    """How an operand is packed: lanes over panel indices or over steps."""

    over: Over
    cost: float


def choose(operand: Operand, side: Side, lanes: int) -> Packing:
    """The cheaper of the two ways."""
    along = runs_touched(operand.address.panel, lanes, aligned=side == "columns")
    across = runs_touched(operand.address.steps, lanes, aligned=True)
    along_cost = GATHER_COST if along is None else along * operand.address.panel.stride
    across_cost = TRANSPOSE_COST + (GATHER_COST if across is None else across * operand.address.steps.stride)
    return Packing("panel", along_cost) if along_cost <= across_cost else Packing("steps", across_cost)


def packer(
    module: ir.Module, name: str, target: Target, tiles: TileFormat, side: Side, operand: Operand, chunk: int
) -> ir.Function:
    """The packer of an operand, whose variant is the batch. ``chunk``: the most steps packed at once."""
    function = ir.Function(module, PACK, name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    way = choose(operand, side, tiles.lanes)
    along, other = operand.address.panel, operand.address.steps
    if way.over == "steps":
        along, other = other, along
    plain = not operand.guards and along.is_linear and along.stride == 1 and other.is_linear
    if plain:
        source, batch, *rest = function.args
        start = builder.add(emit_form(builder, operand.address.batch, batch), i64(operand.address.base))
        source = advance(builder, source, start, MEMORY_TYPE[operand.dtype])
        shared = matrix_packer(module, target, tiles, side, way.over, operand.dtype)
        builder.ret(builder.call(shared, [source, i64(other.stride), *rest]))
        return function
    source, batch, *rest = function.args
    frame = PackFrame(builder, tiles, side, rest)
    capacity = chunk if way.over == "panel" else pitch_of(tiles, side)
    aligned = side == "columns" or way.over == "steps"
    view = ViewSource(builder, target, operand, way.over, source, batch, capacity, aligned)
    if way.over == "panel":
        pack_along(frame, view, abreast=1)
    else:
        pack_across_by_squares(frame, view)
    return function


def matrix_packer(
    module: ir.Module, target: Target, tiles: TileFormat, side: Side, over: Over, dtype: DType
) -> ir.Function:
    """The packer that all plain matrices of a storage type share. Its variant is the stride of what is not in lanes."""
    name = f"gemm.pack.{side}.{over}.{dtype.name.lower()}"
    known = module.globals.get(name)
    if known is not None:
        return known
    function = ir.Function(module, PACK, name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    source, stride, *rest = function.args
    frame = PackFrame(builder, tiles, side, rest)
    linear = LinearSource(builder, target, dtype, over, source, stride)
    if over == "panel":
        pack_along(frame, linear, PANELS_ABREAST)
    else:
        pack_across(frame, linear)
    return function
