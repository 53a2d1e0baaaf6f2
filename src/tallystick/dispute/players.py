"""The honest defender and the honest challenger. A liar is either of them over a computation that goes wrong."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.dispute.answers import children_of, execute, packed, prove_input, prove_slot, tree_of
from tallystick.dispute.replay import TraceProvider
from tallystick.dispute.revealed_trace import RevealedTrace
from tallystick.dispute.scrutiny import between_states, check_counts, check_place, check_revealed, cut
from tallystick.dispute.step_trace import StepTrace, maker_of
from tallystick.errors import CannotAnswer
from tallystick.spec.board import PROOFS, Claim, Game, Level, Phase, Side
from tallystick.spec.digests import open_kernel
from tallystick.spec.game import DIGEST, boundary, game_width, levels, parts
from tallystick.spec.merkle import path
from tallystick.spec.moves import (
    Move,
    PointChild,
    PointElement,
    PointGather,
    PointInterval,
    RevealChildren,
    RevealChunk,
    RevealInterval,
    RevealTensor,
    RevealTrace,
)
from tallystick.spec.standing import Standing


class Player:
    """What both sides can do: prove, once the game has come down to something that can be proved.

    ``fanout`` is the referee's. ``address`` is whom the referee knows the player as. ``claim`` is what the games are
    about, where the player knows that from elsewhere; he answers for no other.
    """

    side = Side.NOBODY

    def __init__(self, address: str, provider: TraceProvider, fanout: int, claim: Claim | None = None) -> None:
        self.address = address
        self.provider = provider
        self.fanout = fanout
        self.claim = claim

    def answer(self, standing: Standing) -> Move:
        """The move to make where the game stands. Raises: CannotAnswer where this player knows of none."""
        self.check(standing)
        return self.respond(standing)

    def check(self, standing: Standing) -> None:
        """Believe nothing of a game that cannot be so. Raises: CannotAnswer."""
        claim, game = standing.claim.claim, standing.dispute.game
        if self.claim not in (None, claim):
            raise CannotAnswer("this game is about another claim")
        check_counts(claim, game)
        if not between_states(game):
            trace = self.provider.step_trace(game.step)
            if trace.header.root != claim.program_root:
                raise CannotAnswer("this game is about another program")
            check_place(claim, game, trace)
        check_revealed(standing, self.fanout)

    def respond(self, standing: Standing) -> Move:
        """The move to make in a game that can be so."""
        game = standing.dispute.game
        if game.phase not in PROOFS:
            raise CannotAnswer(f"there is nothing for the {self.side.name.lower()} to do")
        trace = self.provider.step_trace(game.step)
        if game.phase is Phase.PROVE_INPUT:
            return prove_input(game, trace)
        if game.phase is Phase.PROVE_SLOT:
            return prove_slot(game, trace)
        return execute(game, trace, RevealedTrace.of(standing, self.fanout))

    def own_items(self, game: Game) -> list[bytes]:
        """What this player has at the inner boundaries of the interval."""
        numbers = [boundary(game, part, self.fanout) for part in range(1, parts(game, self.fanout))]
        if game.level is Level.STEPS:
            return self.provider.state_roots(numbers)
        elements = self.provider.step_trace(game.step).accumulators(game.value, game.element)
        return [packed(elements.at(number)) for number in numbers]


class Defender(Player):
    """Reveals what the referee asks for."""

    side = Side.DEFENDER

    def respond(self, standing: Standing) -> Move:
        game = standing.dispute.game
        match game.phase:
            case Phase.REVEAL_INTERVAL:
                return RevealInterval(b"".join(self.own_items(game)))
            case Phase.REVEAL_TRACE:
                return self.reveal_trace(self.provider.step_trace(game.step))
            case Phase.REVEAL_CHILDREN:
                tree = tree_of(game, self.provider.step_trace(game.step))
                if tree.height < game.height or tree.node(game.height, game.index) != game.node:
                    raise CannotAnswer("the tree under this node was never made")
                return RevealChildren(children_of(tree, game.height, game.index, self.fanout))
            case Phase.REVEAL_TENSOR:
                return self.reveal_tensor(game, self.provider.step_trace(game.step))
            case Phase.REVEAL_CHUNK:
                return RevealChunk(self.provider.step_trace(game.step).tensor(game.value).chunk(game.index))
            case _:
                return super().respond(standing)

    def reveal_trace(self, trace: StepTrace) -> RevealTrace:
        tree = trace.trace
        children = children_of(tree, tree.height, 0, self.fanout)
        return RevealTrace(trace.header, tree.root, children)

    def reveal_tensor(self, game: Game, trace: StepTrace) -> RevealTensor:
        made = maker_of(trace.program, game.value)
        opening = open_kernel(trace.program, made.number)
        tree = trace.tensor(game.value).tree
        return RevealTensor(
            trace.header,
            made.number,
            made.first_value,
            opening.kernel_bytes,
            opening.siblings,
            tree.root,
            children_of(tree, tree.height, 0, self.fanout),
        )


class Challenger(Player):
    """Points at the first thing that differs from what it computed itself."""

    side = Side.CHALLENGER

    def respond(self, standing: Standing) -> Move:
        game, revealed = standing.dispute.game, standing.revealed
        match game.phase:
            case Phase.POINT_INTERVAL:
                wrong = first_difference(cut(revealed, game_width(game)), self.own_items(game))
                return PointInterval(parts(game, self.fanout) if wrong is None else wrong + 1, revealed)
            case Phase.POINT_TRACE:
                return self.point_trace(game, revealed)
            case Phase.POINT_CHILD:
                return self.point_child(game, revealed)
            case Phase.POINT_ELEMENT:
                return self.point_element(game, revealed)
            case _:
                return super().respond(standing)

    def point_trace(self, game: Game, revealed: bytes) -> Move:
        """A value that is wrong; if all are right, the new state."""
        trace = self.provider.step_trace(game.step)
        if game.trace_root == trace.trace.root:
            return PointGather()
        return self.point_child(game, revealed)

    def point_child(self, game: Game, revealed: bytes) -> PointChild:
        """The first child that differs from this player's own."""
        claimed = cut(revealed, DIGEST) or [game.node]
        tree = tree_of(game, self.provider.step_trace(game.step))
        down = levels(game.height, self.fanout)
        wrong = first_difference(claimed, list(tree.children(game.height, game.index, down)))
        child = 0 if wrong is None else wrong
        return PointChild(child, claimed[child], tuple(path(claimed, child)))

    def point_element(self, game: Game, chunk: bytes) -> PointElement:
        """The first element of the chunk that differs from this player's own."""
        own = self.provider.step_trace(game.step).tensor(game.value).chunk(game.index)
        return PointElement(first_difference(cut(chunk, game.size), cut(own, game.size)) or 0, chunk)


def first_difference(claimed: Sequence[bytes], own: Sequence[bytes]) -> int | None:
    """The number of the first item that differs."""
    return next((n for n, (theirs, mine) in enumerate(zip(claimed, own, strict=False)) if theirs != mine), None)
