"""The dispute game: from "these n steps do not lead there" down to one scalar step that a referee executes.

The defender claims that n steps lead from state root A to state root Z. Only the defender reveals; the challenger only
points, and pointing at i means: everything before i is right, i is wrong. What was pointed past is *agreed*, what was
pointed at is *disputed*. In every phase one side has to move.

    phase                 moves        what happens
    REVEAL_INTERVAL       defender     items between an agreed and a disputed one: state roots, or accumulators
    POINT_INTERVAL        challenger   the first wrong item; neighbours left: REVEAL_TRACE, or EXECUTE
    REVEAL_TRACE          defender     the trace root of the one step that is left, and its first children
    POINT_TRACE           challenger   a wrong child; or none: then the new state was not gathered from these values
    REVEAL_CHILDREN       defender     the digests some levels below a node of a Merkle tree
    POINT_CHILD           challenger   a wrong child; a leaf ends the descent:
                                         trace tree    an input (PROVE_INPUT) or a kernel's output (REVEAL_TENSOR)
                                         state tree    a slot of the new state (PROVE_SLOT)
                                         chunk tree    a chunk (REVEAL_CHUNK)
                                         padding       decided at once: it is empty or it is not
    PROVE_INPUT           anyone       the digest that the agreed state, or the constants, have there
    PROVE_SLOT            anyone       the digest of the value that the program says the slot holds
    REVEAL_TENSOR         defender     the kernel that makes the value, the chunk root, and its first children
    REVEAL_CHUNK          defender     the bytes of the chunk
    POINT_ELEMENT         challenger   a wrong element in it; its scalar steps are the next interval
    EXECUTE               anyone       the kernel and the words one scalar step loads: the referee executes it
    OVER                  nobody

The side that has to move and does not, loses; where anyone may move, that side is the challenger. All of this is a pure
state machine; ``referee`` adds who is who, clocks and bonds.
"""

from __future__ import annotations

from math import prod

from tallystick.errors import DecodingError, IllegalMove
from tallystick.spec.board import Claim, Game, Level, Phase, Side, Tree
from tallystick.spec.digests import CHUNK, chunk_count, kernel_leaf, tensor_digest_of_root, words_digest
from tallystick.spec.encoding import decode_kernel
from tallystick.spec.kernels import Kernel
from tallystick.spec.leaf import Trace, execute_leaf
from tallystick.spec.limits import ELEMENTS
from tallystick.spec.merkle import EMPTY, depth, leaf, merkle_root, root_of_path, verify
from tallystick.spec.moves import (
    WORDS,
    Execute,
    Move,
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
    is_formed,
)
from tallystick.spec.scalar_steps import Place, accumulator_words, first_accumulators, scalar_steps
from tallystick.spec.tensors import TensorType

DIGEST = 32  # bytes
WORD = 4  # bytes


def open_game(claim: Claim) -> Game:
    """A game about a claim."""
    game = Game(high=claim.steps, low_digest=claim.start_root, high_digest=claim.end_root)
    narrow_interval(game)
    return game


def boundary(game: Game, part: int, fanout: int) -> int:
    """The number of the item that ends a part of the interval; part 0 ends where the interval begins."""
    length = game.high - game.low
    return game.low + length * part // min(fanout, length)


def parts(game: Game, fanout: int) -> int:
    """Into how many parts the interval is cut."""
    return min(fanout, game.high - game.low)


def levels(height: int, fanout: int) -> int:
    """How many levels of a tree one move descends."""
    return min(height, fanout.bit_length() - 1)


# RULES


def play(game: Game, claim: Claim, fanout: int, move: Move) -> None:
    """Make a move. ``fanout`` is how many parts or children are revealed at once, a power of two.

    Raises: IllegalMove, with the reason; the game is then as it was.
    """
    require(is_formed(move), "not of the move's types")
    match move:
        case RevealInterval():
            reveal_interval(game, fanout, move)
        case PointInterval():
            point_interval(game, fanout, move)
        case RevealTrace():
            reveal_trace(game, claim, fanout, move)
        case PointGather():
            point_gather(game)
        case RevealChildren():
            reveal_children(game, fanout, move)
        case PointChild():
            point_child(game, fanout, move)
        case ProveInput():
            prove_input(game, claim, move)
        case ProveSlot():
            prove_slot(game, claim, move)
        case RevealTensor():
            reveal_tensor(game, claim, fanout, move)
        case RevealChunk():
            reveal_chunk(game, move)
        case PointElement():
            point_element(game, move)
        case Execute():
            execute(game, claim, move)


# INTERVALS


def reveal_interval(game: Game, fanout: int, move: RevealInterval) -> None:
    """Rationale: nothing can be wrong in the items themselves; what they are is only claimed."""
    in_phase(game, Phase.REVEAL_INTERVAL)
    require(len(move.items) == (parts(game, fanout) - 1) * game_width(game), "wrong length")
    game.revealed = leaf(move.items)
    game.phase = Phase.POINT_INTERVAL


def point_interval(game: Game, fanout: int, move: PointInterval) -> None:
    """Rationale: the part before the first wrong item begins with a right one, so the lie lies within."""
    in_phase(game, Phase.POINT_INTERVAL)
    count = parts(game, fanout)
    require(1 <= move.part <= count, "no such part")
    require(leaf(move.items) == game.revealed, "not what was revealed")
    low, high = boundary(game, move.part - 1, fanout), boundary(game, move.part, fanout)
    if move.part > 1:
        game.low_digest = item_digest(game, move.items, move.part - 1)
    if move.part < count:
        game.high_digest = item_digest(game, move.items, move.part)
    game.low, game.high = low, high
    narrow_interval(game)


def game_width(game: Game) -> int:
    """Bytes of an item of the interval."""
    return DIGEST if game.level is Level.STEPS else game.width


def item_digest(game: Game, items: bytes, number: int) -> bytes:
    """The digest of item ``number``, counted from 1: a state root is its own, accumulators are hashed."""
    width = game_width(game)
    item = items[(number - 1) * width : number * width]
    if game.level is Level.STEPS:
        return item
    return words_digest([int.from_bytes(item[at : at + WORD], "little") for at in range(0, width, WORD)])


def narrow_interval(game: Game) -> None:
    """Between neighbours there is nothing left to reveal."""
    if game.high - game.low > 1:
        game.phase = Phase.REVEAL_INTERVAL
    elif game.level is Level.STEPS:
        game.phase, game.step = Phase.REVEAL_TRACE, game.low
    else:
        game.phase = Phase.EXECUTE


# TREES


def reveal_trace(game: Game, claim: Claim, fanout: int, move: RevealTrace) -> None:
    """Rationale: the counts of the program decide what its trees look like, so they come with its root."""
    in_phase(game, Phase.REVEAL_TRACE)
    require(move.header.root == claim.program_root, "wrong program")
    height = depth(move.header.values)
    check_children(move.children, move.trace_root, height, fanout)
    game.states, game.constants, game.values = move.header.states, move.header.constants, move.header.values
    game.trace_root = move.trace_root
    enter(game, Tree.TRACE, move.trace_root, height)
    game.phase = Phase.POINT_TRACE


def point_gather(game: Game) -> None:
    """Rationale: if every value of the step is right, a wrong new state was put together wrongly."""
    in_phase(game, Phase.POINT_TRACE)
    enter(game, Tree.STATE, game.high_digest, depth(game.states))
    descend(game)


def reveal_children(game: Game, fanout: int, move: RevealChildren) -> None:
    """Rationale: only who knows the tree under a digest can show its children."""
    in_phase(game, Phase.REVEAL_CHILDREN)
    check_children(move.children, game.node, game.height, fanout)
    game.phase = Phase.POINT_CHILD


def point_child(game: Game, fanout: int, move: PointChild) -> None:
    """Rationale: the node is a commitment to its children, so one of them needs a path only."""
    require(game.phase in (Phase.POINT_TRACE, Phase.POINT_CHILD), "wrong phase")
    down = levels(game.height, fanout)
    require(0 <= move.child < 1 << down, "no such child")
    require(len(move.siblings) == down, "wrong length")
    require(root_of_path(move.digest, move.child, move.siblings) == game.node, "not below the node")
    game.node, game.height, game.index = move.digest, game.height - down, game.index << down | move.child
    descend(game)


def check_children(children: tuple[bytes, ...], node: bytes, height: int, fanout: int) -> None:
    """A node's descendants some levels below it; none of a leaf."""
    require(len(children) == (1 << levels(height, fanout) if height else 0), "wrong length")
    require(not children or merkle_root(children) == node, "not below the node")


def enter(game: Game, tree: Tree, root: bytes, height: int) -> None:
    """Stand at the root of a tree."""
    game.tree, game.node, game.height, game.index = tree, root, height, 0


def descend(game: Game) -> None:
    """Go on below the node, or, at a leaf, to what the leaf stands for."""
    if game.height:
        game.phase = Phase.REVEAL_CHILDREN
        return
    count = {Tree.TRACE: game.values, Tree.STATE: game.states, Tree.CHUNKS: chunk_count(game.nbytes)}[game.tree]
    if game.index >= count:
        decide(game, game.node == EMPTY)
    elif game.tree is Tree.STATE:
        game.phase = Phase.PROVE_SLOT
    elif game.tree is Tree.CHUNKS:
        game.phase = Phase.REVEAL_CHUNK
    else:
        game.value = game.index
        is_input = game.value < game.states + game.constants
        game.phase = Phase.PROVE_INPUT if is_input else Phase.REVEAL_TENSOR


# INPUTS AND SLOTS


def prove_input(game: Game, claim: Claim, move: ProveInput) -> None:
    """Rationale: the first values of a step are the agreed state and the constants, which have roots of their own."""
    in_phase(game, Phase.PROVE_INPUT)
    if game.value < game.states:
        shown = verify(game.low_digest, game.states, game.value, move.digest, move.siblings)
    else:
        number = game.value - game.states
        shown = verify(claim.constants_root, game.constants, number, move.digest, move.siblings)
    require(shown, "wrong path")
    decide(game, move.digest == game.node)


def prove_slot(game: Game, claim: Claim, move: ProveSlot) -> None:
    """Rationale: a slot of the new state is one of the values of the step, all of which are agreed."""
    in_phase(game, Phase.PROVE_SLOT)
    header = move.header
    require(header.root == claim.program_root, "wrong program")
    require(move.next_value < WORDS, "wrong slot")
    slot = leaf(move.type_bytes + move.next_value.to_bytes(4, "little"))
    slots = header.states + header.constants
    require(verify(header.slots_root, slots, game.index, slot, move.slot_siblings), "wrong slot")
    shown = verify(game.trace_root, game.values, move.next_value, move.digest, move.trace_siblings)
    require(shown, "wrong path")
    decide(game, move.digest == game.node)


# TENSORS


def reveal_tensor(game: Game, claim: Claim, fanout: int, move: RevealTensor) -> None:
    """Rationale: type and shape of a value are its kernel's, so a digest over any others cannot be opened."""
    in_phase(game, Phase.REVEAL_TENSOR)
    header = move.header
    require(header.root == claim.program_root, "wrong program")
    require(move.first_value < WORDS, "wrong kernel")
    digest = kernel_leaf(move.first_value, move.kernel)
    require(verify(header.kernels_root, header.kernels, move.number, digest, move.kernel_siblings), "wrong kernel")
    kernel = read_kernel(move.kernel)
    output = game.value - move.first_value
    require(0 <= output < len(kernel.outputs), "not an output of it")
    type = kernel.output_types[output]
    require(tensor_digest_of_root(type, move.chunk_root) == game.node, "wrong tensor")
    height = depth(chunk_count(type.nbytes))
    check_children(move.children, move.chunk_root, height, fanout)
    game.kernel_leaf, game.output = digest, output
    remember_kernel(game, kernel, type)
    enter(game, Tree.CHUNKS, move.chunk_root, height)
    if height:
        game.phase = Phase.POINT_CHILD
    else:
        descend(game)


def remember_kernel(game: Game, kernel: Kernel, type: TensorType) -> None:
    """What the following moves need to know of the kernel."""
    is_scan = kernel.fold is not None and kernel.fold.scan
    game.nbytes, game.size = type.nbytes, type.dtype.size
    game.width = accumulator_words(kernel) * WORD
    game.scan = type.shape[-1] if is_scan else 0
    game.scalar_steps = scalar_steps(kernel, 0)
    game.first_accumulators = words_digest(first_accumulators(kernel))


def reveal_chunk(game: Game, move: RevealChunk) -> None:
    """Rationale: the tail chunk is as long as the type says; bytes past the end of a tensor do not exist."""
    in_phase(game, Phase.REVEAL_CHUNK)
    require(len(move.chunk) == min(CHUNK, game.nbytes - game.index * CHUNK), "wrong length")
    require(leaf(move.chunk) == game.node, "not the chunk")
    game.phase = Phase.POINT_ELEMENT


def point_element(game: Game, move: PointElement) -> None:
    """Rationale: the bits of the element are the last item of an interval that begins with the fold's own start."""
    in_phase(game, Phase.POINT_ELEMENT)
    require(leaf(move.chunk) == game.node, "not what was revealed")
    require(0 <= move.number < len(move.chunk) // game.size, "no such element")
    bits = int.from_bytes(move.chunk[move.number * game.size : (move.number + 1) * game.size], "little")
    game.element = game.index * (CHUNK // game.size) + move.number
    game.level, game.low = Level.SCALAR_STEPS, 0
    game.high = game.scalar_steps + (game.element % game.scan if game.scan else 0)
    game.low_digest, game.high_digest = game.first_accumulators, words_digest([bits])
    narrow_interval(game)


# THE LEAF


def execute(game: Game, claim: Claim, move: Execute) -> None:
    """Rationale: everything a scalar step reads is agreed, so executing it says who is right."""
    in_phase(game, Phase.EXECUTE)
    require(move.first_value < WORDS, "wrong kernel")
    require(kernel_leaf(move.first_value, move.kernel) == game.kernel_leaf, "wrong kernel")
    require(words_digest(move.accumulators) == game.low_digest, "wrong accumulators")
    place = Place(game.output, game.element, claim.first_step + game.step)
    trace = Trace(game.trace_root, game.values)
    after = execute_leaf(
        read_kernel(move.kernel), move.first_value, place, game.low, list(move.accumulators), move.witness, trace
    )
    decide(game, words_digest(after) == game.high_digest)


def read_kernel(data: bytes) -> Kernel:
    try:
        kernel = decode_kernel(data)
    except DecodingError as error:
        raise IllegalMove("malformed kernel") from error
    require(is_countable(kernel), "malformed kernel")
    return kernel


def is_countable(kernel: Kernel) -> bool:
    """Whether a referee can count elements and scalar steps. Those of every verified kernel can be counted."""
    shapes = [kernel.out_shape, kernel.reduce_shape, *(type.shape for type in kernel.output_types)]
    rows = kernel.fold is None or not kernel.fold.scan or len(kernel.reduce_shape) == 1
    return rows and all(prod(shape) <= ELEMENTS for shape in shapes)


def decide(game: Game, defender_is_right: bool) -> None:
    """The end of a game."""
    game.winner = Side.DEFENDER if defender_is_right else Side.CHALLENGER
    game.phase = Phase.OVER


def in_phase(game: Game, phase: Phase) -> None:
    require(game.phase is phase, "wrong phase")


def require(holds: bool, reason: str) -> None:
    if not holds:
        raise IllegalMove(reason)
