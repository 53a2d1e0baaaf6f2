"""What an arena says of a game, held against what a player knows himself: nothing from outside is taken on trust.

A node that lies, or an arena that errs, must not lead a player to run for ever, to fall, or to answer for another
claim. What cannot be right is not answered: ``CannotAnswer`` says what it was.
"""

from __future__ import annotations

from tallystick.dispute.step_trace import StepTrace, maker_of
from tallystick.errors import CannotAnswer
from tallystick.spec.board import Claim, Game, Level, Phase, Tree
from tallystick.spec.digests import chunk_count
from tallystick.spec.game import DIGEST, WORD, game_width, levels, parts
from tallystick.spec.kernels import Kernel
from tallystick.spec.limits import STEPS
from tallystick.spec.merkle import depth, leaf, merkle_root
from tallystick.spec.programs import Program
from tallystick.spec.scalar_steps import accumulator_words, scalar_steps
from tallystick.spec.standing import Standing

DESCENTS = frozenset({Phase.POINT_TRACE, Phase.REVEAL_CHILDREN, Phase.POINT_CHILD})
IN_A_CHUNK = frozenset({Phase.REVEAL_CHUNK, Phase.POINT_ELEMENT})
INTERVALS = frozenset({Phase.REVEAL_INTERVAL, Phase.POINT_INTERVAL})


def between_states(game: Game) -> bool:
    """Whether a game is still about whole steps, of which nothing but roots is known."""
    return game.phase in INTERVALS and game.level is Level.STEPS


def check_counts(claim: Claim, game: Game) -> None:
    """Steps that a claim can have, and a place among them."""
    require(claim.steps > 0 and claim.first_step >= 0 and claim.first_step + claim.steps <= STEPS, "so many steps")
    if between_states(game):
        require(0 <= game.low < game.high - 1 < claim.steps, "this interval of steps")
    else:
        require(0 <= game.step < claim.steps, "this step")


def check_revealed(standing: Standing, fanout: int) -> None:
    """The bytes to point into are those whose digest the referee keeps."""
    game, revealed = standing.dispute.game, standing.revealed
    match game.phase:
        case Phase.POINT_INTERVAL:
            require(len(revealed) == (parts(game, fanout) - 1) * game_width(game), "so many items")
            require(leaf(revealed) == game.revealed, "these items")
        case Phase.POINT_TRACE | Phase.POINT_CHILD if game.height:
            check_children(revealed, game.node, game.height, fanout)
        case Phase.POINT_ELEMENT:
            require(leaf(revealed) == game.node, "this chunk")


def check_children(revealed: bytes, node: bytes, height: int, fanout: int) -> list[bytes]:
    """The digests below a node, one after the other."""
    require(len(revealed) == DIGEST << levels(height, fanout), "so many digests")
    children = cut(revealed, DIGEST)
    require(merkle_root(children) == node, "these digests")
    return children


def cut(revealed: bytes, width: int) -> list[bytes]:
    """Pieces that lie one after the other."""
    return [revealed[at : at + width] for at in range(0, len(revealed), width)]


def check_place(claim: Claim, game: Game, trace: StepTrace) -> None:
    """The step is the program's, and what is disputed in it is there."""
    program = trace.program
    require(claim.first_step + game.step == trace.step, "a step of this number")
    if game.phase is Phase.REVEAL_TRACE:
        return
    counts = (len(program.states), len(program.constants), len(trace.types))
    require((game.states, game.constants, game.values) == counts, "a program with so many values")
    if game.phase in DESCENTS:
        check_node(game, trace)
    elif game.phase is Phase.PROVE_SLOT:
        require(0 <= game.index < game.states, "this slot")
    elif game.phase is Phase.PROVE_INPUT:
        require(0 <= game.value < game.states + game.constants, "this input")
    else:
        kernel = check_made(game, program)
        if game.phase in IN_A_CHUNK:
            check_chunk(game, trace)
        elif game.phase is not Phase.REVEAL_TENSOR:
            check_scalar_steps(game, trace, kernel)


def check_node(game: Game, trace: StepTrace) -> None:
    """A node of the tree that is descended."""
    count = {Tree.TRACE: game.values, Tree.STATE: game.states, Tree.CHUNKS: 0}[game.tree]
    if game.tree is Tree.CHUNKS:
        check_made(game, trace.program)
        count = chunk_count(trace.types[game.value].nbytes)
    above = depth(count) - game.height
    require(game.height >= 0 and above >= 0 and 0 <= game.index < 1 << above, "this node")


def check_made(game: Game, program: Program) -> Kernel:
    """A value that a kernel makes."""
    require(game.states + game.constants <= game.value < game.values, "this value")
    return maker_of(program, game.value).kernel


def check_chunk(game: Game, trace: StepTrace) -> None:
    """A chunk of the disputed value."""
    type = trace.types[game.value]
    require(0 <= game.index < chunk_count(type.nbytes), "this chunk")
    require((game.nbytes, game.size) == (type.nbytes, type.dtype.size), f"a value of {game.nbytes} bytes")


def check_scalar_steps(game: Game, trace: StepTrace, kernel: Kernel) -> None:
    """An interval of an element's scalar steps."""
    require(0 <= game.element < trace.types[game.value].elements, "this element")
    require(0 <= game.low < game.high <= scalar_steps(kernel, game.element), "this interval of scalar steps")
    require(game.width == accumulator_words(kernel) * WORD, "accumulators of this size")


def require(holds: bool, what: str) -> None:
    if not holds:
        raise CannotAnswer(f"there cannot be {what} in this game: the arena errs, or another claim is meant")
