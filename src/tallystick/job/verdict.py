"""What a dispute came down to: where, what was claimed there, and what the referee found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tallystick.dispute import Played, Player, StepTrace
from tallystick.dispute.step_trace import maker_of
from tallystick.ir.captured import Captured
from tallystick.spec.board import Game, Phase, Side, Tree
from tallystick.spec.scalar_steps import ScalarStep, Work, scalar_step, unravel


@dataclass(frozen=True)
class Verdict:
    """The end of a dispute. What does not apply to its last move is None.

    ``step`` is the program's number of the disputed step, ``value`` that of the disputed value, ``slot`` the name of
    what the value is or goes into. ``claimed`` and ``executed`` are words (or digests) in hexadecimal.
    """

    winner: Side
    text: str
    step: int
    value: int | None = None
    kernel: int | None = None
    source: str | None = None
    slot: str | None = None
    element: tuple[int, ...] | None = None
    scalar_step: str | None = None
    claimed: str | None = None
    executed: str | None = None


def verdict_of(played: Played, captured: Captured, first_step: int, claiming: Player, true: Player) -> Verdict:
    """Why a game ended as it did.

    ``claiming`` is the defender, ``true`` the honest side: the same player when the claim is true.
    """
    last = played.turns[-1]
    game, step = last.before, first_step + last.before.step
    where = f"step {step}"
    if last.move is None:
        loser = "challenger" if played.winner is Side.DEFENDER else "defender"
        return Verdict(played.winner, f"{where}: the {loser} could not answer: {last.trouble}", step)
    ours, theirs = true.provider.step_trace(game.step), claiming.provider.step_trace(game.step)
    match game.phase:
        case Phase.EXECUTE:
            return executed(played.winner, game, captured, step, theirs, ours)
        case Phase.PROVE_INPUT:
            name = [*captured.state_names, *captured.constant_names][game.value]
            claimed, found = theirs.digest(game.value).hex(), ours.digest(game.value).hex()
            text = f"{where}, input {name}: digest claimed {claimed[:8]}…, proved {found[:8]}…"
            return Verdict(played.winner, text, step, game.value, slot=name, claimed=claimed, executed=found)
        case Phase.PROVE_SLOT:
            return gathered(played.winner, game, captured, step, theirs, ours)
        case _:
            tree = {Tree.TRACE: "values", Tree.STATE: "state slots", Tree.CHUNKS: f"chunks of value {game.value}"}
            end = "is padding, as it must be" if played.winner is Side.DEFENDER else "is not padding"
            return Verdict(played.winner, f"{where}: what lies past the last of the {tree[game.tree]} {end}", step)


def executed(winner: Side, game: Game, captured: Captured, step: int, theirs: StepTrace, ours: StepTrace) -> Verdict:
    """A scalar step that the referee executed."""
    made = maker_of(captured.program, game.value)
    claimed_words = theirs.accumulators(game.value, game.element).at(game.high)
    true_words = ours.accumulators(game.value, game.element).at(game.high)
    claimed, found = first_differing(claimed_words, true_words)
    element = unravel(game.element, made.kernel.output_types[made.output].shape)
    source = captured.sources[made.number]
    name = named(scalar_step(made.kernel, game.element, game.low))
    after = dict(zip(captured.program.next_state, captured.state_names, strict=True))
    slot = after.get(game.value)
    text = (
        f"step {step}, kernel {made.number} ({source}), {f'{slot}, ' if slot else ''}element {list(element)}, {name}: "
        f"claimed 0x{claimed:08x}, executed 0x{found:08x}"
    )
    return Verdict(
        winner,
        text,
        step,
        value=game.value,
        kernel=made.number,
        source=source,
        slot=slot,
        element=element,
        scalar_step=name,
        claimed=f"0x{claimed:08x}",
        executed=f"0x{found:08x}",
    )


def gathered(winner: Side, game: Game, captured: Captured, step: int, theirs: StepTrace, ours: StepTrace) -> Verdict:
    """A slot of the new state that was compared with the value that belongs there."""
    slot, value = captured.state_names[game.index], captured.program.next_state[game.index]
    claimed, found = theirs.end_digests[game.index].hex(), ours.end_digests[game.index].hex()
    text = (
        f"step {step}, slot {slot}: digest claimed {claimed[:8]}…, of value {value}, which belongs there, {found[:8]}…"
    )
    return Verdict(winner, text, step, value=value, slot=slot, claimed=claimed, executed=found)


def first_differing(claimed: Sequence[int], true: Sequence[int]) -> tuple[int, int]:
    """The first words that differ, or the first ones of all."""
    pairs = list(zip(claimed, true, strict=True))
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[0])


def named(now: ScalarStep) -> str:
    """A scalar step in words."""
    match now.work:
        case Work.START:
            return "start value"
        case Work.UPDATE:
            return f"fold step {now.point}"
        case Work.MERGE_LANES:
            return f"merge of lanes {now.left} and {now.right}"
        case Work.MERGE_BLOCK:
            return "merge of a block"
        case Work.PLACE:
            return f"source point {now.point}"
        case Work.STORE:
            return "stored word"
