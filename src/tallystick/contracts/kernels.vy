# pragma version ~=0.4.3
"""
@title Kernels
@license Apache-2.0
@notice
    A mirror of `decode_kernel` in `tallystick/spec/encoding/decoder.py`, of `remember_kernel` in
    `tallystick/spec/game.py` and of the counts in `tallystick/spec/scalar_steps.py`.

    A kernel stays the bytes it is. Reading it checks every byte and says where its parts are; whoever executes a part
    reads it from there. What is accepted is exactly what the encoder writes, within the limits.
"""

import reader
import well_formed

# kinds
MAP: constant(uint256) = 0
FOLD: constant(uint256) = 1
SCAN: constant(uint256) = 2
SCATTER: constant(uint256) = 3

# limits
INSTRUCTIONS: constant(uint256) = 256  # per code
LOADS: constant(uint256) = 16
AXES: constant(uint256) = 8
ACCUMULATORS: constant(uint256) = 4
OUTPUTS: constant(uint256) = 4
LANES: constant(uint256) = 16
GUARDS: constant(uint256) = 16  # per address here; the verifier counts them per kernel
COMPUTED: constant(uint256) = 2
ENCODED_KERNEL: constant(uint256) = 4096  # bytes
PADDING: constant(uint256) = 64
PADDED_KERNEL: constant(uint256) = ENCODED_KERNEL + PADDING
ELEMENTS: constant(uint256) = 2**40

ACCUMULATOR_BYTES: constant(uint256) = 4 * ACCUMULATORS * (LANES + 1)
TYPE_BYTES: constant(uint256) = 2 + 8 * AXES

INSTRUCTION: constant(uint256) = 5  # bytes

# opcodes as bits of a set
IMMEDIATES: constant(uint256) = 2**4 - 1  # CONST, INDEX, LOAD, ACC
NO_OPERANDS: constant(uint256) = 2**4  # STEP
ONE: constant(uint256) = 2**20 | 2**25 | 2**26 | 2**27  # FSQRT, FRINT, F2I, I2F
THREE: constant(uint256) = 2**21 | 2**48  # FFMA, SELECT
OPCODES: constant(uint256) = IMMEDIATES | NO_OPERANDS | (2**28 - 2**16) | (2**47 - 2**32) | 2**48

SIZES: constant(uint256) = 4 * 2**8 | 4 * 2**16 | 2**24 | 2**32 | 2**40 | 2 * 2**48 | 2 * 2**56  # byte d: of dtype d
DTYPES: constant(uint256) = 7

WORDS: constant(bytes1) = 0x05


struct Kernel:
    # Counts and numbers, and where in the bytes the parts begin
    kind: uint256
    out_axes: uint256
    reduce_axes: uint256
    extents_at: uint256
    outputs: uint256
    dtypes_at: uint256
    loads: uint256
    views_at: uint256
    body_at: uint256
    accumulators: uint256  # this and what follows: of a fold or a scan
    init_at: uint256
    lanes: uint256
    block: uint256
    merge_at: uint256  # 0 if a scatter has none
    epilogue_at: uint256
    rank: uint256  # this and what follows: of a scatter
    dims_at: uint256
    has_base: bool
    base: uint256
    fill: uint256
    address_at: uint256


struct Description:
    # What a dispute needs to know of a kernel and one of its outputs
    type_bytes: Bytes[TYPE_BYTES]
    nbytes: uint256
    size: uint256
    width: uint256
    scan: uint256
    scalar_steps: uint256
    first_accumulators: bytes32


# READING


@internal
@pure
def padded(kernel: Bytes[ENCODED_KERNEL]) -> Bytes[PADDED_KERNEL]:
    """
    @notice A kernel with zeros behind it, so that a word or a whole shape can be taken anywhere in it.
    """
    return concat(kernel, empty(bytes32), empty(bytes32))


@internal
@pure
def read_kernel(data: Bytes[PADDED_KERNEL]) -> Kernel:
    """
    @notice The parts of a padded kernel.
    """
    kernel: Kernel = empty(Kernel)
    end: uint256 = unsafe_sub(len(data), PADDING)
    head: uint256 = extract32(data, 0, output_type=uint256)
    kernel.kind = head >> 248
    kernel.out_axes = (head >> 240) & 255
    kernel.reduce_axes = (head >> 232) & 255
    axes: uint256 = unsafe_add(kernel.out_axes, kernel.reduce_axes)
    well_formed.kernel(kernel.kind <= SCATTER and axes <= AXES)
    kernel.extents_at = 3
    at: uint256 = self._read_shape(data, 3, axes)

    # OUTPUTS
    kernel.outputs = self._read_byte(data, at, 0, OUTPUTS)
    kernel.dtypes_at = unsafe_add(at, 1)
    at = kernel.dtypes_at
    for _: uint256 in range(kernel.outputs, bound=OUTPUTS):
        self._read_byte(data, at, 1, DTYPES)
        at = unsafe_add(at, 1)

    # LOADS
    kernel.loads = self._read_byte(data, at, 0, LOADS)
    kernel.views_at = unsafe_add(at, 1)
    at = kernel.views_at
    for _: uint256 in range(kernel.loads, bound=LOADS):
        at = self._read_address(data, unsafe_add(at, 8), axes)  # after value and fill

    # CODES
    kernel.body_at = at
    at = self._read_code(data, at)
    if kernel.kind == FOLD or kernel.kind == SCAN:
        kernel.accumulators = self._read_byte(data, at, 0, ACCUMULATORS)
        kernel.init_at = unsafe_add(at, 1)
        at = unsafe_add(kernel.init_at, unsafe_mul(4, kernel.accumulators))
        kernel.lanes = self._read_byte(data, at, 1, LANES)
        kernel.block = reader.u64(extract32(data, unsafe_add(at, 1), output_type=uint256))
        well_formed.kernel(kernel.block != 0)
        kernel.merge_at = unsafe_add(at, 9)
        kernel.epilogue_at = self._read_code(data, kernel.merge_at)
        at = self._read_code(data, kernel.epilogue_at)
    elif kernel.kind == SCATTER:
        kernel.rank = self._read_byte(data, at, 0, AXES)
        kernel.dims_at = unsafe_add(at, 1)
        at = self._read_shape(data, kernel.dims_at, kernel.rank)
        kernel.has_base = self._read_byte(data, at, 0, 1) == 1
        field: uint256 = extract32(data, unsafe_add(at, 1), output_type=uint256)
        kernel.base = reader.u32(field)
        well_formed.kernel(kernel.has_base or kernel.base == 0)
        kernel.fill = reader.u32(field << 32)
        kernel.address_at = unsafe_add(at, 9)
        at = self._read_address(data, kernel.address_at, axes)
        has_merge: bool = self._read_byte(data, at, 0, 1) == 1
        at = unsafe_add(at, 1)
        if has_merge:
            kernel.merge_at = at
            at = self._read_code(data, at)
    well_formed.kernel(at == end)
    return kernel


@internal
@pure
def _read_byte(data: Bytes[PADDED_KERNEL], at: uint256, low: uint256, high: uint256) -> uint256:
    """
    @notice A byte within bounds. Fields of fixed length are jumped over, so that the end is looked for here.
    """
    well_formed.kernel(at < unsafe_sub(len(data), PADDING))
    number: uint256 = extract32(data, at, output_type=uint256) >> 248
    well_formed.kernel(low <= number and number <= high)
    return number


@internal
@pure
def _read_shape(data: Bytes[PADDED_KERNEL], start: uint256, rank: uint256) -> uint256:
    """
    @notice Where a shape of possible extents ends.
    """
    at: uint256 = start
    for _: uint256 in range(rank, bound=AXES):
        well_formed.kernel(at < unsafe_sub(len(data), PADDING))
        extent: uint256 = reader.u64(extract32(data, at, output_type=uint256))
        well_formed.kernel(extent != 0 and extent <= ELEMENTS)
        at = unsafe_add(at, 8)
    return at


@internal
@pure
def _read_address(data: Bytes[PADDED_KERNEL], start: uint256, axes: uint256) -> uint256:
    """
    @notice Where an address ends.
    """
    affine: uint256 = unsafe_mul(8, unsafe_add(1, axes))
    at: uint256 = unsafe_add(start, affine)
    at = unsafe_add(unsafe_add(at, 1), unsafe_mul(9, self._read_byte(data, at, 0, COMPUTED)))
    guards: uint256 = self._read_byte(data, at, 0, GUARDS)
    return unsafe_add(unsafe_add(at, 1), unsafe_mul(unsafe_add(affine, 8), guards))


@internal
@pure
def _read_code(data: Bytes[PADDED_KERNEL], start: uint256) -> uint256:
    """
    @notice Where a code of possible instructions ends.
    """
    end: uint256 = unsafe_sub(len(data), PADDING)
    well_formed.kernel(start < end)
    count: uint256 = reader.u16(extract32(data, start, output_type=uint256))
    results: uint256 = self._read_byte(data, unsafe_add(start, 2), 0, ACCUMULATORS)
    at: uint256 = unsafe_add(unsafe_add(start, 3), results)
    after: uint256 = unsafe_add(at, unsafe_mul(INSTRUCTION, count))
    well_formed.kernel(count <= INSTRUCTIONS and after <= end)
    for _: uint256 in range(count, bound=INSTRUCTIONS):
        record: uint256 = extract32(data, at, output_type=uint256)
        opcode: uint256 = 1 << (record >> 248)
        unused: uint256 = 2**16 - 1
        if opcode & IMMEDIATES != 0:
            unused = 0
        elif opcode & THREE != 0:
            unused = 2**8 - 1
        elif opcode & ONE != 0:
            unused = 2**24 - 1
        elif opcode & NO_OPERANDS != 0:
            unused = 2**32 - 1
        well_formed.kernel(opcode & OPCODES != 0 and (record >> 216) & unused == 0)
        at = unsafe_add(at, INSTRUCTION)
    return after


# COUNTING


@internal
@pure
def elements(data: Bytes[PADDED_KERNEL], start: uint256, rank: uint256) -> uint256:
    """
    @notice How many points a shape has. Shapes that no verified program has are refused.
    """
    count: uint256 = 1
    at: uint256 = start
    for _: uint256 in range(rank, bound=AXES):
        count = unsafe_mul(count, reader.u64(extract32(data, at, output_type=uint256)))
        well_formed.kernel(count <= ELEMENTS)
        at = unsafe_add(at, 8)
    return count


# DESCRIBING


@internal
@view
def describe(bytes_of_kernel: Bytes[ENCODED_KERNEL], output: uint256) -> Description:
    """
    @notice The type of one of a kernel's outputs, and how its elements are computed.
    """
    data: Bytes[PADDED_KERNEL] = self.padded(bytes_of_kernel)
    kernel: Kernel = self.read_kernel(data)
    out_points: uint256 = self.elements(data, kernel.extents_at, kernel.out_axes)
    reduce_at: uint256 = unsafe_add(kernel.extents_at, unsafe_mul(8, kernel.out_axes))
    points: uint256 = self.elements(data, reduce_at, kernel.reduce_axes)
    shape_at: uint256 = kernel.extents_at
    rank: uint256 = kernel.out_axes
    if kernel.kind == SCATTER:
        shape_at = kernel.dims_at
        rank = kernel.rank
    elif kernel.kind == SCAN:
        well_formed.kernel(kernel.reduce_axes == 1)
        rank = unsafe_add(kernel.out_axes, 1)
    count: uint256 = self.elements(data, shape_at, rank)
    assert output < kernel.outputs, "not an output of it"

    # TYPE
    described: Description = empty(Description)
    dtype: Bytes[1] = slice(data, unsafe_add(kernel.dtypes_at, output), 1)
    rank_byte: bytes1 = convert(convert(rank, uint8), bytes1)
    dims: Bytes[8 * AXES] = slice(slice(data, shape_at, 8 * AXES), 0, unsafe_mul(8, rank))
    described.type_bytes = concat(dtype, rank_byte, dims)
    described.size = (SIZES >> unsafe_mul(8, convert(dtype, uint256))) & 255
    described.nbytes = unsafe_mul(count, described.size)

    # SCALAR STEPS
    lane: Bytes[4 * ACCUMULATORS] = b"\x00\x00\x00\x00"
    lanes: uint256 = 1
    total: uint256 = 0  # bytes
    if kernel.kind == SCATTER:
        described.scalar_steps = unsafe_add(out_points, 2)
    elif kernel.kind == MAP:
        described.scalar_steps = 1
        lane = b""
    else:
        lane = slice(slice(data, kernel.init_at, 4 * ACCUMULATORS), 0, unsafe_mul(4, kernel.accumulators))
        if kernel.kind == SCAN:
            described.scalar_steps = 2
            described.scan = points
        else:
            lanes = kernel.lanes
            total = len(lane)
            blocks: uint256 = unsafe_div(unsafe_sub(unsafe_add(points, kernel.block), 1), kernel.block)
            described.scalar_steps = unsafe_add(unsafe_add(points, unsafe_mul(blocks, lanes)), 1)
    described.width = unsafe_add(unsafe_mul(len(lane), lanes), total)
    described.first_accumulators = self._first_accumulators(lane, lanes, total)
    return described


@internal
@view
def _first_accumulators(lane: Bytes[4 * ACCUMULATORS], lanes: uint256, total: uint256) -> bytes32:
    """
    @notice The digest of the words before the first scalar step: those of every lane, then zeros for the total.
    """
    return sha256(concat(WORDS, self.repeated(lane, lanes), slice(empty(bytes32), 0, total)))


@internal
@pure
def repeated(lane: Bytes[4 * ACCUMULATORS], lanes: uint256) -> Bytes[64 * ACCUMULATORS]:
    """
    @notice The words of so many equal lanes.
    """
    two: Bytes[8 * ACCUMULATORS] = concat(lane, lane)
    four: Bytes[16 * ACCUMULATORS] = concat(two, two)
    eight: Bytes[32 * ACCUMULATORS] = concat(four, four)
    return slice(concat(eight, eight), 0, unsafe_mul(len(lane), lanes))
