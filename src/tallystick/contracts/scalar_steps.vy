# pragma version ~=0.4.3
"""
@title One element of a kernel's output as a sequence of scalar steps
@license Apache-2.0
@notice A mirror of the sequence and the indices in `tallystick/spec/scalar_steps.py`.
"""

import calldata
import kernels
import well_formed

START: constant(uint256) = 0
UPDATE: constant(uint256) = 1
MERGE_LANES: constant(uint256) = 2
MERGE_BLOCK: constant(uint256) = 3
PLACE: constant(uint256) = 4
STORE: constant(uint256) = 5


struct ScalarStep:
    work: uint256
    point: uint256  # number of the reduce point (UPDATE) or source point (PLACE)
    left: uint256  # the lane that is updated or merged into
    right: uint256  # MERGE_LANES: the lane that is merged; MERGE_BLOCK: 1 if there is a total already


# THE SEQUENCE


@internal
@pure
def scalar_steps(kernel: kernels.Kernel, out_points: uint256, points: uint256, element: uint256) -> uint256:
    """
    @notice How many scalar steps an element of an output takes.
    """
    if kernel.kind == kernels.SCATTER:
        return unsafe_add(out_points, 2)
    if kernel.kind == kernels.MAP:
        return 1
    if kernel.kind == kernels.SCAN:
        return unsafe_add(element % points, 2)
    blocks: uint256 = unsafe_div(unsafe_add(points, unsafe_sub(kernel.block, 1)), kernel.block)
    return unsafe_add(unsafe_add(points, unsafe_mul(blocks, kernel.lanes)), 1)


@internal
@pure
def scalar_step(
    kernel: kernels.Kernel, out_points: uint256, points: uint256, element: uint256, position: uint256
) -> ScalarStep:
    """
    @notice Step number `position` of an element, counted from 0.
    """
    steps: uint256 = self.scalar_steps(kernel, out_points, points, element)
    assert position < steps, "no such step"
    if unsafe_add(position, 1) == steps:
        return ScalarStep(work=STORE, point=0, left=0, right=0)
    if kernel.kind == kernels.SCATTER:
        if position == 0:
            return ScalarStep(work=START, point=0, left=0, right=0)
        return ScalarStep(work=PLACE, point=unsafe_sub(position, 1), left=0, right=0)
    if kernel.kind == kernels.SCAN:
        return ScalarStep(work=UPDATE, point=position, left=0, right=0)
    return self.fold_step(kernel.lanes, kernel.block, points, position)


@internal
@pure
def fold_step(lanes: uint256, size_of_block: uint256, points: uint256, position: uint256) -> ScalarStep:
    """
    @notice A step of a fold that is not its last: within its block an update, a merge of lanes, or the block's end.
    """
    number_of_block: uint256 = position // unsafe_add(size_of_block, lanes)
    offset: uint256 = position % unsafe_add(size_of_block, lanes)
    first: uint256 = unsafe_mul(number_of_block, size_of_block)  # point of the block
    size: uint256 = min(size_of_block, unsafe_sub(points, first))
    if offset < size:
        return ScalarStep(work=UPDATE, point=unsafe_add(first, offset), left=offset % lanes, right=0)
    number: uint256 = unsafe_sub(offset, size)
    half: uint256 = lanes >> 1
    for _: uint256 in range(5):
        if half == 0 or number < half:
            break
        number = unsafe_sub(number, half)
        half >>= 1
    if half != 0:
        return ScalarStep(work=MERGE_LANES, point=0, left=number, right=unsafe_add(number, half))
    return ScalarStep(work=MERGE_BLOCK, point=0, left=0, right=1 if number_of_block != 0 else 0)


@internal
@pure
def accumulator_words(kernel: kernels.Kernel) -> uint256:
    """
    @notice How many words stand between two scalar steps.
    """
    if kernel.kind == kernels.SCATTER:
        return 1
    if kernel.kind == kernels.MAP:
        return 0
    sets: uint256 = 1 if kernel.kind == kernels.SCAN else unsafe_add(kernel.lanes, 1)
    return unsafe_mul(kernel.accumulators, sets)


# INDICES


@internal
@view
def product(extents_at: uint256, rank: uint256) -> uint256:
    """
    @notice How many points a shape has. Shapes that no verified program has are refused.
    """
    points: uint256 = 1
    at: uint256 = extents_at
    for _: uint256 in range(rank, bound=kernels.AXES):
        points = unsafe_mul(points, calldata.u64(at))
        well_formed.kernel(points <= kernels.ELEMENTS)
        at = unsafe_add(at, 8)
    return points


@internal
@view
def unravel(
    number: uint256, extents_at: uint256, first: uint256, rank: uint256, given: uint256[kernels.AXES]
) -> uint256[kernels.AXES]:
    """
    @notice Indices in which `rank` axes from `first` on have the index tuple with a row-major number.
    """
    indices: uint256[kernels.AXES] = given
    rest: uint256 = number
    axis: uint256 = unsafe_add(first, rank)
    for _: uint256 in range(rank, bound=kernels.AXES):
        axis = unsafe_sub(axis, 1)
        extent: uint256 = calldata.u64(unsafe_add(extents_at, unsafe_mul(8, axis)))
        indices[axis] = rest % extent
        rest //= extent
    return indices
