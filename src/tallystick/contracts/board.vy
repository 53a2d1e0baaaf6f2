# pragma version ~=0.4.3
"""
@title Where a dispute stands
@license Apache-2.0
@notice
    A mirror of `tallystick/spec/board.py`, and of the clocks in `tallystick/spec/referee.py`. A `Game` is what callers
    see. A `Board` is what moves work on: all of a game's numbers, kept in three words, without its digests, of which a
    move needs one or two.
"""

# phases
REVEAL_INTERVAL: constant(uint256) = 1
POINT_INTERVAL: constant(uint256) = 2
REVEAL_TRACE: constant(uint256) = 3
POINT_TRACE: constant(uint256) = 4
REVEAL_CHILDREN: constant(uint256) = 5
POINT_CHILD: constant(uint256) = 6
PROVE_INPUT: constant(uint256) = 7
PROVE_SLOT: constant(uint256) = 8
REVEAL_TENSOR: constant(uint256) = 9
REVEAL_CHUNK: constant(uint256) = 10
POINT_ELEMENT: constant(uint256) = 11
EXECUTE: constant(uint256) = 12
OVER: constant(uint256) = 13

# sides
NOBODY: constant(uint256) = 0
DEFENDER: constant(uint256) = 1
CHALLENGER: constant(uint256) = 2

# levels
STEPS: constant(uint256) = 0
SCALAR_STEPS: constant(uint256) = 1

# trees
TRACE: constant(uint256) = 0
STATE: constant(uint256) = 1
CHUNKS: constant(uint256) = 2

REVEALS: constant(uint256) = 2**1 | 2**3 | 2**5 | 2**9 | 2**10  # phases as bits of a set
PROOFS: constant(uint256) = 2**7 | 2**8 | 2**12


struct Claim:
    program_root: bytes32
    constants_root: bytes32
    start_root: bytes32
    end_root: bytes32
    first_step: uint256
    steps: uint256


struct Game:
    phase: uint256
    level: uint256
    tree: uint256
    low: uint256
    high: uint256
    low_digest: bytes32
    high_digest: bytes32
    revealed: bytes32
    states: uint256
    constants: uint256
    values: uint256
    step: uint256
    trace_root: bytes32
    node: bytes32
    height: uint256
    index: uint256
    value: uint256
    output: uint256
    kernel_leaf: bytes32
    first_accumulators: bytes32
    width: uint256
    nbytes: uint256
    size: uint256
    scalar_steps: uint256
    scan: uint256
    element: uint256
    winner: uint256


struct Digests:
    low: bytes32
    high: bytes32
    revealed: bytes32
    trace_root: bytes32
    node: bytes32
    kernel_leaf: bytes32
    first_accumulators: bytes32


struct Board:
    phase: uint256
    level: uint256
    tree: uint256
    winner: uint256
    closed: uint256  # 1 if nothing can happen in this game any more
    height: uint256
    output: uint256
    size: uint256
    width: uint256
    index: uint256
    turn_started: uint256
    defender_left: uint256
    challenger_left: uint256
    low: uint256
    high: uint256
    step: uint256
    value: uint256
    element: uint256
    states: uint256
    constants: uint256
    values: uint256
    nbytes: uint256
    scalar_steps: uint256
    scan: uint256


struct Packed:
    turn: uint256  # what changes with every move, and small numbers
    span: uint256  # what the challenger points at
    shape: uint256  # what the program says


@internal
@pure
def turn(phase: uint256) -> uint256:
    """
    @notice The side that loses if nothing happens.
    """
    if phase == OVER:
        return NOBODY
    return DEFENDER if (REVEALS >> phase) & 1 != 0 else CHALLENGER


@internal
@pure
def pack(here: Board) -> Packed:
    """
    @notice No number is cut: sizes are bounded by the limits of kernels, times by the year 36812.
    """
    return Packed(
        turn=here.phase
        | here.level << 8
        | here.tree << 16
        | here.winner << 24
        | here.closed << 32
        | here.height << 40
        | here.output << 48
        | here.size << 56
        | here.width << 64
        | here.index << 80
        | here.turn_started << 120
        | here.defender_left << 160
        | here.challenger_left << 200,
        span=here.low | here.high << 64 | here.step << 128 | here.value << 160 | here.element << 192,
        shape=here.states
        | here.constants << 32
        | here.values << 64
        | here.nbytes << 96
        | here.scalar_steps << 144
        | here.scan << 200,
    )


@internal
@pure
def unpack(packed: Packed) -> Board:
    """
    @notice What was packed.
    """
    byte: uint256 = 2**8 - 1
    seconds: uint256 = 2**40 - 1
    u32: uint256 = 2**32 - 1
    u64: uint256 = 2**64 - 1
    return Board(
        phase=packed.turn & byte,
        level=(packed.turn >> 8) & byte,
        tree=(packed.turn >> 16) & byte,
        winner=(packed.turn >> 24) & byte,
        closed=(packed.turn >> 32) & byte,
        height=(packed.turn >> 40) & byte,
        output=(packed.turn >> 48) & byte,
        size=(packed.turn >> 56) & byte,
        width=(packed.turn >> 64) & (2**16 - 1),
        index=(packed.turn >> 80) & seconds,
        turn_started=(packed.turn >> 120) & seconds,
        defender_left=(packed.turn >> 160) & seconds,
        challenger_left=(packed.turn >> 200) & seconds,
        low=packed.span & u64,
        high=(packed.span >> 64) & u64,
        step=(packed.span >> 128) & u32,
        value=(packed.span >> 160) & u32,
        element=packed.span >> 192,
        states=packed.shape & u32,
        constants=(packed.shape >> 32) & u32,
        values=(packed.shape >> 64) & u32,
        nbytes=(packed.shape >> 96) & (2**48 - 1),
        scalar_steps=(packed.shape >> 144) & (2**56 - 1),
        scan=packed.shape >> 200,
    )


@internal
@pure
def seen(here: Board, digests: Digests) -> Game:
    """
    @notice A game as callers see it.
    """
    return Game(
        phase=here.phase,
        level=here.level,
        tree=here.tree,
        low=here.low,
        high=here.high,
        low_digest=digests.low,
        high_digest=digests.high,
        revealed=digests.revealed,
        states=here.states,
        constants=here.constants,
        values=here.values,
        step=here.step,
        trace_root=digests.trace_root,
        node=digests.node,
        height=here.height,
        index=here.index,
        value=here.value,
        output=here.output,
        kernel_leaf=digests.kernel_leaf,
        first_accumulators=digests.first_accumulators,
        width=here.width,
        nbytes=here.nbytes,
        size=here.size,
        scalar_steps=here.scalar_steps,
        scan=here.scan,
        element=here.element,
        winner=here.winner,
    )
