# pragma version ~=0.4.3
"""
@title The executor of leaves
@license Apache-2.0
@notice
    Runs one scalar step of one kernel on proved words. It holds no state and judges nobody: a referee calls it and
    compares. It is a contract of its own because both do not fit into one.
"""

import calldata
import kernels
import leaf

LONGEST_WITNESS: constant(uint256) = 45056  # bytes: sixteen entries of the deepest trees take less
HEAD: constant(uint256) = 4  # bytes before the arguments
KERNEL: constant(uint256) = HEAD + 0 * 32
WITNESS: constant(uint256) = HEAD + 2 * 32


@external
@view
def execute_leaf(
    kernel: Bytes[kernels.ENCODED_KERNEL],
    accumulators: Bytes[272],
    witness: Bytes[LONGEST_WITNESS],
    first_value: uint256,
    output: uint256,
    element: uint256,
    step: uint256,
    position: uint256,
    trace_root: bytes32,
    values: uint256,
    room: uint256[32],
) -> bytes32:
    """
    @notice The digest of the accumulators, or of the bits of the element, after a scalar step.
    @param kernel Its canonical bytes
    @param accumulators The words before the step, each of four little-endian bytes
    @param witness The words that the step loads, with what proves them
    @param first_value Number of the kernel's first output: only values before it can be loaded
    @param output Number of the output among the kernel's
    @param element Number of the element in the output
    @param step Number of the program's step
    @param position Number of the scalar step of the element
    @param trace_root Root over the values of the program's step
    @param values How many values it has
    @param room Anything: it makes the call's data as long as what is cut out of it
    """
    data: Bytes[kernels.PADDED_KERNEL] = kernels.padded(kernel)
    read: kernels.Kernel = kernels.read_kernel(data)
    reduce_at: uint256 = unsafe_add(read.extents_at, unsafe_mul(8, read.out_axes))
    # Where the bytes of an argument begin is written in its place, as a distance from the first argument.
    kernel_at: uint256 = HEAD + convert(slice(msg.data, KERNEL, 32), uint256) + 32
    witness_at: uint256 = HEAD + convert(slice(msg.data, WITNESS, 32), uint256) + 32
    return leaf.execute_leaf(
        leaf.Leaf(
            kernel=self._placed(read, kernel_at),
            out_points=kernels.elements(data, read.extents_at, read.out_axes),
            points=kernels.elements(data, reduce_at, read.reduce_axes),
            elements=kernels.elements(data, read.dims_at, read.rank),
            first_value=first_value,
            output=output,
            element=element,
            step=step,
            position=position,
            witness_at=witness_at,
            witness_end=witness_at + len(witness),
            trace_root=trace_root,
            values=values,
        ),
        accumulators,
    )


@internal
@pure
def _placed(read: kernels.Kernel, at: uint256) -> kernels.Kernel:
    """
    @notice A kernel whose bytes begin at a place, with places instead of offsets.
    """
    kernel: kernels.Kernel = read
    kernel.extents_at = unsafe_add(kernel.extents_at, at)
    kernel.dtypes_at = unsafe_add(kernel.dtypes_at, at)
    kernel.views_at = unsafe_add(kernel.views_at, at)
    kernel.body_at = unsafe_add(kernel.body_at, at)
    kernel.init_at = unsafe_add(kernel.init_at, at)
    kernel.epilogue_at = unsafe_add(kernel.epilogue_at, at)
    kernel.address_at = unsafe_add(kernel.address_at, at)
    if kernel.merge_at != 0:
        kernel.merge_at = unsafe_add(kernel.merge_at, at)
    return kernel
