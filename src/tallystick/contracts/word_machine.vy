# pragma version ~=0.4.3
"""
@title Straight-line code, run on words
@license Apache-2.0
@notice
    A mirror of `execute` in `tallystick/spec/instructions.py` and of `WitnessWords` in `tallystick/spec/leaf.py`.
    The code lies in the call's data as a kernel holds it: u16 instructions, u8 results, result registers, instructions.
"""

import calldata
import instructions
import reader
import views
import well_formed

MOST_AXES: constant(uint256) = 8
MOST_LOADS: constant(uint256) = 16
MOST_COMPUTED: constant(uint256) = 2
MOST_RESULTS: constant(uint256) = 4
REGISTERS: constant(uint256) = 256
INSTRUCTION: constant(uint256) = 5  # bytes

NOTHING: constant(uint256) = 0
OUTSIDE: constant(uint256) = 1
WORD: constant(uint256) = 2


struct Entry:
    mode: uint256
    elements: uint256  # of the value; where the mode is not NOTHING
    element: uint256
    word: uint256


struct Environment:
    step: uint256
    axes: uint256  # 0 in a merge
    indices: uint256[MOST_AXES]
    accumulators: uint256  # how many there are
    left: uint256[MOST_RESULTS]  # the first ones
    split: uint256  # how many these are
    right: uint256[MOST_RESULTS]  # the others, in a merge
    loads: uint256  # 0 in a merge
    views_at: uint256[MOST_LOADS]
    entries: uint256[MOST_LOADS]  # packed


@internal
@view
def execute(
    code_at: uint256, env: Environment, address_at: uint256
) -> (DynArray[uint256, MOST_RESULTS], int256):
    """
    @notice Run straight-line code once and return its result words, and the element that an address means after it:
            CLOSED if there is no address. The registers stay here: they are too many to be handed around.
    """
    registers: uint256[REGISTERS] = empty(uint256[REGISTERS])
    count: uint256 = calldata.u16(code_at)
    at: uint256 = self.instructions_at(code_at)
    words: DynArray[uint256, MOST_COMPUTED] = []
    for i: uint256 in range(count, bound=REGISTERS):
        record: uint256 = convert(slice(msg.data, at, INSTRUCTION), uint256)
        at = unsafe_add(at, INSTRUCTION)
        op: uint256 = record >> 32
        if op > instructions.STEP:
            a: uint256 = (record >> 24) & 255
            b: uint256 = (record >> 16) & 255
            c: uint256 = (record >> 8) & 255
            well_formed.kernel(a < i and b < i and c < i)
            registers[i] = instructions.compute(op, registers[a], registers[b], registers[c])
            continue
        immediate: uint256 = reader.u32(record << 224)
        if op == instructions.CONST:
            registers[i] = immediate
        elif op == instructions.LOAD:
            well_formed.kernel(immediate < env.loads)
            view_at: uint256 = env.views_at[immediate]
            words = []
            numbers: DynArray[uint256, MOST_COMPUTED] = views.registers(unsafe_add(view_at, 8), env.axes)
            for register: uint256 in numbers:
                well_formed.kernel(register < i)
                words.append(registers[register])
            place: int256 = views.located(unsafe_add(view_at, 8), env.axes, env.indices, words)
            registers[i] = self.load(view_at, place, self.unpacked(env.entries[immediate]))
        elif op == instructions.ACC:
            well_formed.kernel(immediate < env.accumulators)
            if immediate < env.split:
                registers[i] = env.left[immediate]
            else:
                registers[i] = env.right[unsafe_sub(immediate, env.split)]
        elif op == instructions.INDEX:
            well_formed.kernel(immediate < env.axes)
            registers[i] = env.indices[immediate] & (2**32 - 1)
        else:
            registers[i] = env.step & (2**32 - 1)
    # ADDRESS
    located: int256 = views.CLOSED
    if address_at != 0:
        words = []
        numbers: DynArray[uint256, MOST_COMPUTED] = views.registers(address_at, env.axes)
        for register: uint256 in numbers:
            well_formed.kernel(register < count)
            words.append(registers[register])
        located = views.located(address_at, env.axes, env.indices, words)
    # RESULTS
    results: DynArray[uint256, MOST_RESULTS] = []
    last: uint256 = calldata.u8(unsafe_add(code_at, 2))
    for i: uint256 in range(last, bound=MOST_RESULTS):
        register: uint256 = calldata.u8(unsafe_add(unsafe_add(code_at, 3), i))
        well_formed.kernel(register < count)
        results.append(registers[register])
    return results, located


@internal
@pure
def packed(entry: Entry) -> uint256:
    """
    @notice An entry in one word, of which fewer have to be copied.
    """
    return entry.mode | entry.elements << 8 | entry.element << 64 | entry.word << 128


@internal
@pure
def unpacked(entry: uint256) -> Entry:
    return Entry(
        mode=entry & 255,
        elements=(entry >> 8) & (2**56 - 1),
        element=(entry >> 64) & (2**64 - 1),
        word=entry >> 128,
    )


@internal
@view
def instructions_at(code_at: uint256) -> uint256:
    """
    @notice Where the instructions of a code begin.
    """
    return unsafe_add(unsafe_add(code_at, 3), calldata.u8(unsafe_add(code_at, 2)))


@internal
@view
def load(view_at: uint256, at: int256, entry: Entry) -> uint256:
    """
    @notice The word of a load slot, whose entry in the witness must be what its address asks for.
    """
    fill_at: uint256 = unsafe_add(view_at, 4)
    if at == views.CLOSED:
        assert entry.mode == NOTHING, "guard is closed"
        return calldata.u32(fill_at)
    assert entry.mode != NOTHING, "word is missing"
    if at < 0 or convert(at, uint256) >= entry.elements:
        assert entry.mode == OUTSIDE, "address is outside"
        return calldata.u32(fill_at)
    return self.proved_word(entry, convert(at, uint256))


@internal
@pure
def proved_word(entry: Entry, element: uint256) -> uint256:
    """
    @notice The word of an element, which the entry must be about.
    """
    assert entry.mode == WORD, "word is missing"
    assert entry.element == element, "wrong element"
    return entry.word
