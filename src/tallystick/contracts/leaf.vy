# pragma version ~=0.4.3
"""
@title The leaf of a dispute: one scalar step, executed from a kernel's bytes and a witness
@license Apache-2.0
@notice
    A mirror of `tallystick/spec/leaf.py`, which describes the witness, and of "one step" in
    `tallystick/spec/scalar_steps.py`. Kernel and witness lie in the call's data, the kernel with 16 bytes of anything
    behind it.
"""

import calldata
import kernels
import merkle
import reader
import scalar_steps
import tensors
import views
import well_formed
import word_machine

CHUNK: constant(uint256) = 1024  # bytes
LONGEST_ACCUMULATORS: constant(uint256) = 272  # bytes: four words for each of sixteen lanes and the total
LONGEST_LANE: constant(uint256) = 32  # bytes: twice what four words take
LONGEST_WORDS: constant(uint256) = 576  # bytes: two accumulators and a lane
DEEPEST: constant(uint256) = 32  # levels: of the chunk tree of the largest tensor; a trace tree has fewer
MOST_AXES: constant(uint256) = 8
MOST_RESULTS: constant(uint256) = 4

LEAF: constant(bytes1) = 0x00
NODE: constant(bytes1) = 0x01
TENSOR: constant(bytes1) = 0x02
WORDS: constant(bytes1) = 0x05


struct Leaf:
    kernel: kernels.Kernel  # with places in the call's data instead of in the kernel
    out_points: uint256
    points: uint256  # of the reduce axes
    elements: uint256  # of a scatter's output
    first_value: uint256
    output: uint256
    element: uint256
    step: uint256
    position: uint256
    witness_at: uint256
    witness_end: uint256
    trace_root: bytes32
    values: uint256


# ONE STEP


@internal
@view
def execute_leaf(leaf: Leaf, accumulators: Bytes[LONGEST_ACCUMULATORS]) -> bytes32:
    """
    @notice The digest of the accumulators (or bits) after a scalar step whose loads are in a witness.
    """
    now: scalar_steps.ScalarStep = scalar_steps.scalar_step(
        leaf.kernel, leaf.out_points, leaf.points, leaf.element, leaf.position
    )
    assert len(accumulators) == unsafe_mul(4, scalar_steps.accumulator_words(leaf.kernel)), "wrong accumulators"
    after: Bytes[LONGEST_WORDS] = b""
    if now.work == scalar_steps.UPDATE:
        after = self.update(leaf, now, accumulators)
    elif now.work == scalar_steps.MERGE_LANES or now.work == scalar_steps.MERGE_BLOCK:
        after = self.merge_step(leaf, now, accumulators)
    else:
        word: uint256 = 0
        if now.work == scalar_steps.START:
            word = self.start(leaf)
        elif now.work == scalar_steps.PLACE:
            word = self.place_point(leaf, now, self._word(accumulators, 0))
        else:
            word = self.store(leaf, accumulators)
        after = self._packed([word], 1)
    return sha256(concat(WORDS, after))


@internal
@view
def start(leaf: Leaf) -> uint256:
    """
    @notice The value a scatter's element starts with, as it reads once it is stored.
    """
    word: uint256 = leaf.kernel.fill
    end: uint256 = leaf.witness_at
    if leaf.kernel.has_base:
        entry: word_machine.Entry = empty(word_machine.Entry)
        entry, end = self.read_entry(leaf, end, leaf.kernel.base)
        word = word_machine.proved_word(entry, leaf.element)
    well_formed.witness(end == leaf.witness_end)
    return self._stored(leaf, word)


@internal
@view
def update(
    leaf: Leaf, now: scalar_steps.ScalarStep, accumulators: Bytes[LONGEST_ACCUMULATORS]
) -> Bytes[LONGEST_WORDS]:
    """
    @notice One reduce point into its lane.
    """
    indices: uint256[MOST_AXES] = scalar_steps.unravel(
        now.point, leaf.kernel.extents_at, leaf.kernel.out_axes, leaf.kernel.reduce_axes, self._out_indices(leaf)
    )
    env: word_machine.Environment = self._environment(leaf, indices)
    env.accumulators = leaf.kernel.accumulators
    env.split = leaf.kernel.accumulators
    env.left = self._lane(accumulators, now.left, leaf.kernel.accumulators)
    lane: DynArray[uint256, MOST_RESULTS] = word_machine.execute(leaf.kernel.body_at, env, 0)[0]
    return self._with_lane(accumulators, now.left, leaf.kernel.accumulators, lane)


@internal
@view
def merge_step(
    leaf: Leaf, now: scalar_steps.ScalarStep, accumulators: Bytes[LONGEST_ACCUMULATORS]
) -> Bytes[LONGEST_WORDS]:
    """
    @notice Two lanes into one; or lane 0 into the total, and the lanes back to their start.
    """
    well_formed.witness(leaf.witness_at == leaf.witness_end)
    count: uint256 = leaf.kernel.accumulators
    env: word_machine.Environment = empty(word_machine.Environment)
    env.step = leaf.step
    env.accumulators = unsafe_add(count, count)
    env.split = count
    if now.work == scalar_steps.MERGE_LANES:
        env.left = self._lane(accumulators, now.left, count)
        env.right = self._lane(accumulators, now.right, count)
        merged: DynArray[uint256, MOST_RESULTS] = word_machine.execute(leaf.kernel.merge_at, env, 0)[0]
        return self._with_lane(accumulators, now.left, count, merged)
    size: uint256 = unsafe_mul(4, count)
    total: Bytes[LONGEST_ACCUMULATORS] = slice(accumulators, 0, size)
    if now.right == 1:
        env.left = self._lane(accumulators, leaf.kernel.lanes, count)
        env.right = self._lane(accumulators, 0, count)
        total = self._packed(word_machine.execute(leaf.kernel.merge_at, env, 0)[0], count)
    lane: Bytes[16] = slice(slice(msg.data, leaf.kernel.init_at, 16), 0, size)
    return concat(kernels.repeated(lane, leaf.kernel.lanes), total)


@internal
@view
def place_point(leaf: Leaf, now: scalar_steps.ScalarStep, word: uint256) -> uint256:
    """
    @notice One source point of a scatter: the element changes if the point's address is its own.
    """
    indices: uint256[MOST_AXES] = scalar_steps.unravel(
        now.point, leaf.kernel.extents_at, 0, leaf.kernel.out_axes, empty(uint256[MOST_AXES])
    )
    env: word_machine.Environment = self._environment(leaf, indices)
    placed: DynArray[uint256, MOST_RESULTS] = []
    at: int256 = 0
    placed, at = word_machine.execute(leaf.kernel.body_at, env, leaf.kernel.address_at)
    if at < 0 or convert(at, uint256) != leaf.element or leaf.element >= leaf.elements:
        return word
    well_formed.kernel(len(placed) != 0)
    if leaf.kernel.merge_at != 0:
        env = empty(word_machine.Environment)
        env.step = leaf.step
        env.accumulators = 2
        env.split = 1
        env.left[0] = word
        env.right[0] = placed[0]
        placed = word_machine.execute(leaf.kernel.merge_at, env, 0)[0]
        well_formed.kernel(len(placed) == 1)
    return self._stored(leaf, placed[0])


@internal
@view
def store(leaf: Leaf, accumulators: Bytes[LONGEST_ACCUMULATORS]) -> uint256:
    """
    @notice The bits of the element.
    """
    if leaf.kernel.kind == kernels.SCATTER:
        well_formed.witness(leaf.witness_at == leaf.witness_end)
        return tensors.narrow(self._dtype(leaf, leaf.output), self._word(accumulators, 0))
    indices: uint256[MOST_AXES] = self._out_indices(leaf)
    code_at: uint256 = leaf.kernel.body_at
    lane: uint256 = 0
    if leaf.kernel.kind != kernels.MAP:
        code_at = leaf.kernel.epilogue_at
        lane = leaf.kernel.lanes  # the total stands behind the lanes
    if leaf.kernel.kind == kernels.SCAN:
        lane = 0
        indices = scalar_steps.unravel(
            leaf.element % leaf.points,
            leaf.kernel.extents_at,
            leaf.kernel.out_axes,
            leaf.kernel.reduce_axes,
            indices,
        )
    env: word_machine.Environment = self._environment(leaf, indices)
    env.accumulators = leaf.kernel.accumulators
    env.split = leaf.kernel.accumulators
    env.left = self._lane(accumulators, lane, leaf.kernel.accumulators)
    words: DynArray[uint256, MOST_RESULTS] = word_machine.execute(code_at, env, 0)[0]
    well_formed.kernel(leaf.output < len(words))
    return tensors.narrow(self._dtype(leaf, leaf.output), words[leaf.output])


@internal
@view
def _environment(leaf: Leaf, indices: uint256[MOST_AXES]) -> word_machine.Environment:
    """
    @notice What a code sees in one scalar step, but for accumulators; the words of the witness among it.
    """
    env: word_machine.Environment = empty(word_machine.Environment)
    env.step = leaf.step
    env.axes = unsafe_add(leaf.kernel.out_axes, leaf.kernel.reduce_axes)
    env.indices = indices
    # WITNESS
    env.loads = leaf.kernel.loads
    at: uint256 = leaf.witness_at
    view_at: uint256 = leaf.kernel.views_at
    for slot: uint256 in range(env.loads, bound=kernels.LOADS):
        env.views_at[slot] = view_at
        entry: word_machine.Entry = empty(word_machine.Entry)
        entry, at = self.read_entry(leaf, at, calldata.u32(view_at))
        env.entries[slot] = word_machine.packed(entry)
        view_at = views.end(unsafe_add(view_at, 8), env.axes)
    well_formed.witness(at == leaf.witness_end)
    return env


@internal
@view
def _out_indices(leaf: Leaf) -> uint256[MOST_AXES]:
    """
    @notice The indices over the output axes that the element belongs to; those over reduce axes are zero.
    """
    number: uint256 = leaf.element
    if leaf.kernel.kind == kernels.SCAN:
        number = unsafe_div(number, leaf.points)
    return scalar_steps.unravel(
        number, leaf.kernel.extents_at, 0, leaf.kernel.out_axes, empty(uint256[MOST_AXES])
    )


@internal
@view
def _dtype(leaf: Leaf, output: uint256) -> uint256:
    assert output < leaf.kernel.outputs, "not an output of it"
    return calldata.u8(unsafe_add(leaf.kernel.dtypes_at, output))


@internal
@view
def _stored(leaf: Leaf, word: uint256) -> uint256:
    """
    @notice A word after it was stored and loaded again, in the one output of a scatter.
    """
    dtype: uint256 = self._dtype(leaf, 0)
    return tensors.widen(dtype, tensors.narrow(dtype, word))


# ACCUMULATORS


@internal
@pure
def _word(accumulators: Bytes[LONGEST_ACCUMULATORS], number: uint256) -> uint256:
    return reader.u32(convert(slice(accumulators, unsafe_mul(4, number), 4), uint256) << 224)


@internal
@pure
def _lane(
    accumulators: Bytes[LONGEST_ACCUMULATORS], lane: uint256, count: uint256
) -> uint256[kernels.ACCUMULATORS]:
    """
    @notice The words of one lane, of which each has so many.
    """
    words: uint256[kernels.ACCUMULATORS] = empty(uint256[kernels.ACCUMULATORS])
    first: uint256 = unsafe_mul(lane, count)
    for i: uint256 in range(count, bound=kernels.ACCUMULATORS):
        words[i] = self._word(accumulators, unsafe_add(first, i))
    return words


@internal
@pure
def _with_lane(
    accumulators: Bytes[LONGEST_ACCUMULATORS], lane: uint256, count: uint256, words: DynArray[uint256, MOST_RESULTS]
) -> Bytes[LONGEST_WORDS]:
    """
    @notice The accumulators with other words in one lane.
    """
    size: uint256 = unsafe_mul(4, count)
    start: uint256 = unsafe_mul(lane, size)
    end: uint256 = unsafe_add(start, size)
    rest: uint256 = unsafe_sub(len(accumulators), end)
    return concat(slice(accumulators, 0, start), self._packed(words, count), slice(accumulators, end, rest))


@internal
@pure
def _packed(words: DynArray[uint256, MOST_RESULTS], count: uint256) -> Bytes[LONGEST_LANE]:
    """
    @notice Words of which there must be so many, each in four little-endian bytes.
    """
    well_formed.kernel(len(words) == count)
    packed: uint256 = 0
    for word: uint256 in words:
        packed = packed << 32 | reader.u32(word << 224)
    size: uint256 = unsafe_mul(4, count)
    return slice(convert(packed << unsafe_sub(256, unsafe_mul(8, size)), bytes32), 0, size)


# READING A WITNESS


@internal
@view
def read_entry(leaf: Leaf, start: uint256, number: uint256) -> (word_machine.Entry, uint256):
    """
    @notice One entry, which is about a value, checked against the trace root, and where it ends.
    """
    assert number < leaf.first_value, "value is not earlier"
    entry: word_machine.Entry = empty(word_machine.Entry)
    at: uint256 = self._after(leaf.witness_end, start, 1)
    entry.mode = calldata.u8(start)
    assert entry.mode <= word_machine.WORD, "unknown mode"
    if entry.mode == word_machine.NOTHING:
        return entry, at
    # TYPE
    type_at: uint256 = at
    at = self._after(leaf.witness_end, at, 2)
    dtype: uint256 = calldata.u8(type_at)
    rank: uint256 = calldata.u8(unsafe_add(type_at, 1))
    well_formed.witness(dtype != 0 and dtype <= tensors.F16 and rank <= MOST_AXES)
    entry.elements = 1
    for _: uint256 in range(rank, bound=MOST_AXES):
        dim_at: uint256 = at
        at = self._after(leaf.witness_end, at, 8)
        entry.elements = unsafe_mul(entry.elements, min(calldata.u64(dim_at), kernels.ELEMENTS + 1))
        well_formed.witness(entry.elements != 0 and entry.elements <= kernels.ELEMENTS)
    type: Bytes[CHUNK] = calldata.cut(type_at, unsafe_sub(at, type_at))
    # CHUNK
    root: bytes32 = empty(bytes32)
    if entry.mode == word_machine.OUTSIDE:
        root_at: uint256 = at
        at = self._after(leaf.witness_end, at, 32)
        root = calldata.digest(root_at)
    else:
        entry.element, entry.word, root, at = self.read_word(leaf, at, dtype, entry.elements)
    # TRACE
    digest: bytes32 = sha256(concat(TENSOR, type, root))
    levels: uint256 = merkle.depth(leaf.values)
    end: uint256 = self._after(leaf.witness_end, at, unsafe_mul(32, levels))
    assert self.root_of_path(digest, number, at, levels) == leaf.trace_root, "not in the trace"
    return entry, end


@internal
@view
def read_word(
    leaf: Leaf, start: uint256, dtype: uint256, elements: uint256
) -> (uint256, uint256, bytes32, uint256):
    """
    @notice Element number, the word it loads as, the chunk root that its chunk leads to, and where the path ends.
    """
    chunk_at: uint256 = self._after(leaf.witness_end, start, 10)
    element: uint256 = calldata.u64(start)
    assert element < elements, "no such element"
    size: uint256 = tensors.size(dtype)
    place: uint256 = unsafe_mul(element, size)
    index: uint256 = place // CHUNK
    nbytes: uint256 = unsafe_mul(elements, size)
    length: uint256 = calldata.u16(unsafe_add(start, 8))
    assert length == min(CHUNK, unsafe_sub(nbytes, unsafe_mul(index, CHUNK))), "wrong chunk length"
    path_at: uint256 = self._after(leaf.witness_end, chunk_at, length)
    levels: uint256 = merkle.depth(unsafe_add(nbytes, CHUNK - 1) // CHUNK)
    end: uint256 = self._after(leaf.witness_end, path_at, unsafe_mul(32, levels))
    chunk: Bytes[CHUNK] = calldata.cut(chunk_at, length)
    root: bytes32 = self.root_of_path(sha256(concat(LEAF, chunk)), index, path_at, levels)
    beyond: uint256 = 2**32 - 1 << unsafe_mul(8, size)  # what follows a short element in four bytes
    bits: uint256 = calldata.u32(unsafe_add(chunk_at, place % CHUNK)) & ~beyond
    return element, tensors.widen(dtype, bits), root, end


@internal
@view
def root_of_path(leaf_digest: bytes32, leaf_index: uint256, path_at: uint256, levels: uint256) -> bytes32:
    """
    @notice The root that a leaf and the siblings in the call's data lead to.
    """
    digest: bytes32 = leaf_digest
    index: uint256 = leaf_index
    siblings: Bytes[32 * DEEPEST] = calldata.cut(path_at, unsafe_mul(32, levels))
    for level: uint256 in range(levels, bound=DEEPEST):
        left: bytes32 = digest
        right: bytes32 = extract32(siblings, unsafe_mul(32, level))
        if index & 1 == 1:
            left = right
            right = digest
        digest = sha256(concat(NODE, left, right))  # as merkle.node, which a call would make dearer
        index >>= 1
    return digest


@internal
@pure
def _after(end: uint256, at: uint256, length: uint256) -> uint256:
    """
    @notice Where so many bytes of the witness end that must be there.
    """
    after: uint256 = unsafe_add(at, length)
    well_formed.witness(after <= end)
    return after
