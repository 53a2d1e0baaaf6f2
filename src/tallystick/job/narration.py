"""A dispute told in words."""

from __future__ import annotations

from tallystick.dispute import Turn
from tallystick.spec.board import Game, Level, Side, Tree
from tallystick.spec.digests import CHUNK
from tallystick.spec.moves import (
    Execute,
    PointChild,
    PointElement,
    PointGather,
    PointInterval,
    ProveInput,
    ProveSlot,
    RevealChildren,
    RevealChunk,
    RevealInterval,
    RevealTensor,
    RevealTrace,
)

NODES = {Tree.TRACE: "values", Tree.STATE: "slots of the new state", Tree.CHUNKS: "chunks"}
UNITS = {Level.STEPS: "step", Level.SCALAR_STEPS: "scalar step"}


def told(turn: Turn, first_step: int = 0) -> str:
    """What happened in a turn, as the continuation of "the defender ..." or "the challenger ...".

    Steps are numbered as the program numbers them; ``first_step`` is the first that is claimed.
    """
    before, after = turn.before, turn.after
    step = first_step + before.step
    match turn.move:
        case None:
            silent = "defender" if turn.side is Side.CHALLENGER else "challenger"
            return f"ends the game: the {silent} has no answer ({turn.trouble}) and its time has run out"
        case RevealInterval():
            what = "state roots" if before.level is Level.STEPS else "accumulators"
            return f"reveals {what} inside {interval(before, first_step)}"
        case PointInterval():
            return f"says the first wrong one lies in {interval(after, first_step)}"
        case RevealTrace():
            return f"reveals the trace root of step {step} and {len(turn.move.children)} nodes below it"
        case PointGather():
            return f"says all values of step {step} are right, but the state after it was not made of them"
        case RevealChildren():
            return f"reveals {len(turn.move.children)} nodes over {covered(before)}"
        case PointChild():
            return f"says something is wrong in {covered(after if after.tree is before.tree else before)}"
        case ProveInput():
            return f"opens value {before.value} in what is agreed: the state before the step and the constants"
        case ProveSlot():
            return f"opens slot {before.index} of the program and the value that belongs there"
        case RevealTensor():
            return f"reveals which kernel made value {before.value}, and its chunk root"
        case RevealChunk():
            return f"reveals chunk {before.index} of value {before.value}: {len(turn.move.chunk)} bytes"
        case PointElement():
            return f"says element {after.element} of value {after.value} is wrong"
        case Execute():
            return f"opens the words of scalar step {before.low}: the referee executes it"


def interval(game: Game, first_step: int) -> str:
    """The items between the agreed and the disputed one."""
    unit = UNITS[game.level]
    shift = first_step if game.level is Level.STEPS else 0
    low, high = game.low + shift, game.high + shift
    return f"{unit} {low}" if high - low == 1 else f"{unit}s {low} to {high - 1}"


def covered(game: Game) -> str:
    """The leaves below the disputed node."""
    first = game.index << game.height
    last = ((game.index + 1) << game.height) - 1
    count = {Tree.TRACE: game.values, Tree.STATE: game.states, Tree.CHUNKS: -(-game.nbytes // CHUNK)}[game.tree]
    what = NODES[game.tree]
    if first >= count:
        return f"{what} that do not exist"
    last = min(last, count - 1)
    return f"{what} {first} to {last}" if last > first else f"{what} {first}"
