# pragma version ~=0.4.3
"""
@title The rules of the dispute game
@license Apache-2.0
@notice
    A mirror of `tallystick/spec/game.py`, which explains the game: the same functions in the same order, with the same
    reasons for refusing a move. Each takes the number of a game and its board, and returns the board after the move.
    That the phase is the move's was looked at before.

    Long bytes are hashed by whoever calls, so that they are not copied from function to function.
"""

import board
import kernels
import merkle
import reader

CHUNK: constant(uint256) = 1024  # bytes
DIGEST: constant(uint256) = 32  # bytes
HEADER: constant(uint256) = 82  # bytes
VERSION: constant(uint256) = 2

TENSOR: constant(bytes1) = 0x02
PROGRAM: constant(bytes1) = 0x03
WORDS: constant(bytes1) = 0x05


interface KernelReader:
    def describe(kernel: Bytes[kernels.ENCODED_KERNEL], output: uint256) -> kernels.Description: view


struct Header:
    states: uint256
    constants: uint256
    values: uint256
    kernels: uint256
    slots_root: bytes32
    kernels_root: bytes32


FANOUT: immutable(uint256)
LEVELS: immutable(uint256)  # its logarithm
kernel_reader: public(immutable(KernelReader))

boards: HashMap[uint256, board.Packed]
digests: HashMap[uint256, board.Digests]


@deploy
def __init__(fanout: uint256, reader_of_kernels: address):
    assert 2 <= fanout and fanout <= 64 and fanout & (fanout - 1) == 0, "fanout is a power of two, 2 to 64"
    FANOUT = fanout
    LEVELS = merkle.depth(fanout)
    kernel_reader = KernelReader(reader_of_kernels)


@internal
def open_game(id: uint256, given: board.Board, claim: board.Claim) -> board.Board:
    """
    @notice A game about a claim.
    """
    here: board.Board = given
    here.high = claim.steps
    self.digests[id].low = claim.start_root
    self.digests[id].high = claim.end_root
    return self.narrow_interval(here)


@internal
@pure
def boundary(here: board.Board, part: uint256, count: uint256) -> uint256:
    """
    @notice The number of the item that ends a part of the interval; part 0 ends where the interval begins.
    """
    return here.low + (here.high - here.low) * part // count


@internal
@view
def parts(here: board.Board) -> uint256:
    """
    @notice Into how many parts the interval is cut.
    """
    return min(FANOUT, here.high - here.low)


@internal
@view
def levels(height: uint256) -> uint256:
    """
    @notice How many levels of a tree one move descends.
    """
    return min(height, LEVELS)


# INTERVALS


@internal
def reveal_interval(id: uint256, given: board.Board, length: uint256, revealed: bytes32) -> board.Board:
    """
    @notice Nothing can be wrong in the items themselves; what they are is only claimed.
    """
    here: board.Board = given
    assert length == (self.parts(here) - 1) * self.width(here), "wrong length"
    self.digests[id].revealed = revealed
    here.phase = board.POINT_INTERVAL
    return here


@internal
@view
def check_part(id: uint256, here: board.Board, part: uint256, revealed: bytes32):
    """
    @notice What `point_interval` demands.
    """
    assert 1 <= part and part <= self.parts(here), "no such part"
    assert revealed == self.digests[id].revealed, "not what was revealed"


@internal
def point_interval(id: uint256, given: board.Board, part: uint256, before: bytes32, at: bytes32) -> board.Board:
    """
    @notice The part before the first wrong item begins with a right one, so the lie lies within.
    @param before Digest of the item before the part, for all parts but the first.
    @param at Digest of the item that ends the part, for all parts but the last.
    """
    here: board.Board = given
    count: uint256 = self.parts(here)
    if part > 1:
        self.digests[id].low = before
    if part < count:
        self.digests[id].high = at
    low: uint256 = self.boundary(here, part - 1, count)
    here.high = self.boundary(here, part, count)
    here.low = low
    return self.narrow_interval(here)


@internal
@pure
def width(here: board.Board) -> uint256:
    """
    @notice Bytes of an item of the interval.
    """
    return DIGEST if here.level == board.STEPS else here.width


@internal
@pure
def narrow_interval(given: board.Board) -> board.Board:
    """
    @notice Between neighbours there is nothing left to reveal.
    """
    here: board.Board = given
    if here.high - here.low > 1:
        here.phase = board.REVEAL_INTERVAL
    elif here.level == board.STEPS:
        here.phase = board.REVEAL_TRACE
        here.step = here.low
    else:
        here.phase = board.EXECUTE
    return here


# TREES


@internal
def reveal_trace(
    id: uint256,
    given: board.Board,
    program_root: bytes32,
    header_bytes: Bytes[HEADER],
    trace_root: bytes32,
    children: DynArray[bytes32, merkle.CHILDREN],
) -> board.Board:
    """
    @notice The counts of the program decide what its trees look like, so they come with its root.
    """
    here: board.Board = given
    header: Header = self.read_header(program_root, header_bytes)
    height: uint256 = merkle.depth(header.values)
    self.check_children(children, trace_root, height)
    here.states = header.states
    here.constants = header.constants
    here.values = header.values
    self.digests[id].trace_root = trace_root
    here = self.enter(id, here, board.TRACE, trace_root, height)
    here.phase = board.POINT_TRACE
    return here


@internal
def point_gather(id: uint256, given: board.Board) -> board.Board:
    """
    @notice If every value of the step is right, a wrong new state was put together wrongly.
    """
    here: board.Board = given
    here = self.enter(id, here, board.STATE, self.digests[id].high, merkle.depth(here.states))
    return self.descend(id, here)


@internal
@view
def reveal_children(
    id: uint256, given: board.Board, children: DynArray[bytes32, merkle.CHILDREN]
) -> board.Board:
    """
    @notice Only who knows the tree under a digest can show its children.
    """
    here: board.Board = given
    self.check_children(children, self.digests[id].node, here.height)
    here.phase = board.POINT_CHILD
    return here


@internal
def point_child(
    id: uint256,
    given: board.Board,
    child: uint256,
    digest: bytes32,
    siblings: DynArray[bytes32, merkle.DEEPEST],
) -> board.Board:
    """
    @notice The node is a commitment to its children, so one of them needs a path only.
    """
    here: board.Board = given
    down: uint256 = self.levels(here.height)
    assert child < 1 << down, "no such child"
    assert len(siblings) == down, "wrong length"
    assert merkle.root_of_path(digest, child, siblings) == self.digests[id].node, "not below the node"
    self.digests[id].node = digest
    here.height -= down
    here.index = here.index << down | child
    return self.descend(id, here)


@internal
@view
def check_children(children: DynArray[bytes32, merkle.CHILDREN], node: bytes32, height: uint256):
    """
    @notice A node's descendants some levels below it; none of a leaf.
    """
    count: uint256 = 1 << self.levels(height) if height != 0 else 0
    assert len(children) == count, "wrong length"
    assert count == 0 or merkle.merkle_root(children) == node, "not below the node"


@internal
def enter(id: uint256, given: board.Board, tree: uint256, root: bytes32, height: uint256) -> board.Board:
    """
    @notice Stand at the root of a tree.
    """
    here: board.Board = given
    self.digests[id].node = root
    here.tree = tree
    here.height = height
    here.index = 0
    return here


@internal
@view
def descend(id: uint256, given: board.Board) -> board.Board:
    """
    @notice Go on below the node, or, at a leaf, to what the leaf stands for.
    """
    here: board.Board = given
    if here.height != 0:
        here.phase = board.REVEAL_CHILDREN
        return here
    count: uint256 = here.values
    if here.tree == board.STATE:
        count = here.states
    elif here.tree == board.CHUNKS:
        count = (here.nbytes + CHUNK - 1) // CHUNK
    if here.index >= count:
        return self.decide(here, self.digests[id].node == empty(bytes32))
    if here.tree == board.STATE:
        here.phase = board.PROVE_SLOT
    elif here.tree == board.CHUNKS:
        here.phase = board.REVEAL_CHUNK
    else:
        here.value = here.index
        is_input: bool = here.value < here.states + here.constants
        here.phase = board.PROVE_INPUT if is_input else board.REVEAL_TENSOR
    return here


# INPUTS AND SLOTS


@internal
@view
def prove_input(
    id: uint256,
    given: board.Board,
    constants_root: bytes32,
    digest: bytes32,
    siblings: DynArray[bytes32, merkle.DEEPEST],
) -> board.Board:
    """
    @notice The first values of a step are the agreed state and the constants, which have roots of their own.
    """
    here: board.Board = given
    shown: bool = False
    if here.value < here.states:
        shown = self.verify(self.digests[id].low, here.states, here.value, digest, siblings)
    else:
        shown = self.verify(constants_root, here.constants, here.value - here.states, digest, siblings)
    assert shown, "wrong path"
    return self.decide(here, digest == self.digests[id].node)


@internal
@view
def prove_slot(
    id: uint256,
    given: board.Board,
    program_root: bytes32,
    header_bytes: Bytes[HEADER],
    type_bytes: Bytes[kernels.TYPE_BYTES],
    next_value: uint256,
    slot_siblings: DynArray[bytes32, merkle.DEEPEST],
    digest: bytes32,
    trace_siblings: DynArray[bytes32, merkle.DEEPEST],
) -> board.Board:
    """
    @notice A slot of the new state is one of the values of the step, all of which are agreed.
    """
    here: board.Board = given
    header: Header = self.read_header(program_root, header_bytes)
    assert next_value < 2**32, "wrong slot"
    slot: bytes32 = merkle.leaf(concat(type_bytes, self.u32_bytes(next_value)))
    slots: uint256 = header.states + header.constants
    assert self.verify(header.slots_root, slots, here.index, slot, slot_siblings), "wrong slot"
    shown: bool = self.verify(self.digests[id].trace_root, here.values, next_value, digest, trace_siblings)
    assert shown, "wrong path"
    return self.decide(here, digest == self.digests[id].node)


# TENSORS


@internal
def reveal_tensor(
    id: uint256,
    given: board.Board,
    program_root: bytes32,
    header_bytes: Bytes[HEADER],
    number: uint256,
    first_value: uint256,
    kernel: Bytes[kernels.ENCODED_KERNEL],
    kernel_siblings: DynArray[bytes32, merkle.DEEPEST],
    chunk_root: bytes32,
    children: DynArray[bytes32, merkle.CHILDREN],
) -> board.Board:
    """
    @notice Type and shape of a value are its kernel's, so a digest over any others cannot be opened.
    """
    here: board.Board = given
    header: Header = self.read_header(program_root, header_bytes)
    digest: bytes32 = self.kernel_leaf(first_value, kernel)
    assert self.verify(header.kernels_root, header.kernels, number, digest, kernel_siblings), "wrong kernel"
    here.output = unsafe_sub(here.value, first_value)  # of another kernel, a number too large for any output
    described: kernels.Description = staticcall kernel_reader.describe(kernel, here.output)
    tensor: bytes32 = sha256(concat(TENSOR, described.type_bytes, chunk_root))
    assert tensor == self.digests[id].node, "wrong tensor"
    height: uint256 = merkle.depth((described.nbytes + CHUNK - 1) // CHUNK)
    self.check_children(children, chunk_root, height)
    self.digests[id].kernel_leaf = digest
    here = self.remember_kernel(id, here, described)
    here = self.enter(id, here, board.CHUNKS, chunk_root, height)
    if height != 0:
        here.phase = board.POINT_CHILD
        return here
    return self.descend(id, here)


@internal
def remember_kernel(id: uint256, given: board.Board, described: kernels.Description) -> board.Board:
    """
    @notice What the following moves need to know of the kernel.
    """
    here: board.Board = given
    here.nbytes = described.nbytes
    here.size = described.size
    here.width = described.width
    here.scan = described.scan
    here.scalar_steps = described.scalar_steps
    self.digests[id].first_accumulators = described.first_accumulators
    return here


@internal
@view
def reveal_chunk(id: uint256, given: board.Board, length: uint256, revealed: bytes32) -> board.Board:
    """
    @notice The tail chunk is as long as the type says; bytes past the end of a tensor do not exist.
    """
    here: board.Board = given
    assert length == min(CHUNK, here.nbytes - here.index * CHUNK), "wrong length"
    assert revealed == self.digests[id].node, "not the chunk"
    here.phase = board.POINT_ELEMENT
    return here


@internal
def point_element(id: uint256, given: board.Board, number: uint256, chunk: Bytes[CHUNK]) -> board.Board:
    """
    @notice The bits of the element are the last item of an interval that begins with the fold's own start.
    """
    here: board.Board = given
    assert merkle.leaf(chunk) == self.digests[id].node, "not what was revealed"
    assert number < len(chunk) // here.size, "no such element"
    here.element = here.index * (CHUNK // here.size) + number
    here.level = board.SCALAR_STEPS
    here.low = 0
    here.high = here.scalar_steps
    if here.scan != 0:
        here.high += here.element % here.scan
    bits: bytes4 = self.word_bytes(chunk, number * here.size, here.size)
    self.digests[id].low = self.digests[id].first_accumulators
    self.digests[id].high = sha256(concat(WORDS, bits))
    return self.narrow_interval(here)


# THE END


@internal
@pure
def decide(given: board.Board, defender_is_right: bool) -> board.Board:
    """
    @notice The end of a game.
    """
    here: board.Board = given
    here.winner = board.DEFENDER if defender_is_right else board.CHALLENGER
    here.phase = board.OVER
    return here


# DIGESTS


@internal
@view
def read_header(program_root: bytes32, header: Bytes[HEADER]) -> Header:
    """
    @notice The header of the program with that root.
    """
    assert len(header) == HEADER and sha256(concat(PROGRAM, header)) == program_root, "wrong program"
    counts: uint256 = extract32(header, 0, output_type=uint256)
    assert reader.u16(counts) == VERSION, "wrong program"
    return Header(
        states=reader.u32(counts << 16),
        constants=reader.u32(counts << 48),
        values=reader.u32(counts << 80),
        kernels=reader.u32(counts << 112),
        slots_root=extract32(header, 18),
        kernels_root=extract32(header, 50),
    )


@internal
@view
def kernel_leaf(first_value: uint256, kernel: Bytes[kernels.ENCODED_KERNEL]) -> bytes32:
    """
    @notice The leaf of a kernel whose first output has that number.
    """
    assert first_value < 2**32, "wrong kernel"
    return merkle.leaf(concat(self.u32_bytes(first_value), kernel))


@internal
@view
def verify(
    root: bytes32, count: uint256, index: uint256, digest: bytes32, siblings: DynArray[bytes32, merkle.DEEPEST]
) -> bool:
    """
    @notice Whether a digest is a leaf of the tree of `count` leaves with that root.
    """
    if index >= count or len(siblings) != merkle.depth(count):
        return False
    return merkle.root_of_path(digest, index, siblings) == root


@internal
@pure
def u32_bytes(number: uint256) -> bytes4:
    """
    @notice Four little-endian bytes.
    """
    return convert(convert(reader.u32(number << 224), uint32), bytes4)


@internal
@pure
def word_bytes(chunk: Bytes[CHUNK], at: uint256, size: uint256) -> bytes4:
    """
    @notice The bytes of the word that holds an element's bits: its own, then zeros.
    """
    field: uint256 = extract32(concat(chunk, empty(bytes32)), at, output_type=uint256)
    bits: uint256 = field >> unsafe_sub(256, unsafe_mul(8, size))
    return convert(convert(bits << unsafe_sub(32, unsafe_mul(8, size)), uint32), bytes4)
