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
import scalar_steps

WITNESS: constant(uint256) = 8_192  # bytes: nearly all leaves do with less
LONGEST_WITNESS: constant(uint256) = 44_240  # bytes: the longest entry for each of sixteen loads

# Where in the call's data it is written where the bytes of an argument begin, as a distance from the first argument.
HEAD: constant(uint256) = 4
AT_KERNEL: constant(uint256) = HEAD
AT_WITNESS: constant(uint256) = HEAD + 7 * 32


struct Place:
    output: uint256  # number of the output among the kernel's
    element: uint256  # number of the element in it
    step: uint256  # number of the program's step


struct Trace:
    root: bytes32  # over the digests of the values of the program's step
    values: uint256  # how many there are


@external
@view
def execute_leaf(
    kernel: Bytes[kernels.ENCODED_KERNEL],
    first_value: uint256,
    place: Place,
    position: uint256,
    accumulators: Bytes[kernels.ACCUMULATOR_BYTES],
    witness: Bytes[WITNESS],
    trace: Trace,
) -> bytes32:
    """
    @notice The digest of the accumulators, or of the bits of the element, after a scalar step.
    @param kernel Its canonical bytes
    @param first_value Number of the kernel's first output: only values before it can be loaded
    @param place Where the scalar step is
    @param position Number of the scalar step of the element
    @param accumulators The words before the step, each of four little-endian bytes
    @param witness The words that the step loads, with what proves them
    @param trace What they are proved against
    """
    return self._execute(kernel, first_value, place, position, accumulators, len(witness), trace)


@external
@view
def execute_long_leaf(
    kernel: Bytes[kernels.ENCODED_KERNEL],
    first_value: uint256,
    place: Place,
    position: uint256,
    accumulators: Bytes[kernels.ACCUMULATOR_BYTES],
    witness: Bytes[LONGEST_WITNESS],
    trace: Trace,
) -> bytes32:
    """
    @notice The same for a witness of any length. It is another function because memory is paid for by what an argument
            may be, not by what it is.
    """
    return self._execute(kernel, first_value, place, position, accumulators, len(witness), trace)


@internal
@view
def _execute(
    kernel: Bytes[kernels.ENCODED_KERNEL],
    first_value: uint256,
    place: Place,
    position: uint256,
    accumulators: Bytes[kernels.ACCUMULATOR_BYTES],
    length: uint256,
    trace: Trace,
) -> bytes32:
    """
    @notice Kernel and witness, of so many bytes, are read from the call's data: both calls have them in the same place.
    """
    kernel_at: uint256 = HEAD + convert(slice(msg.data, AT_KERNEL, 32), uint256) + 32
    witness_at: uint256 = HEAD + convert(slice(msg.data, AT_WITNESS, 32), uint256) + 32
    read: kernels.Kernel = self._read(kernel, kernel_at)
    reduce_at: uint256 = unsafe_add(read.extents_at, unsafe_mul(8, read.out_axes))
    return leaf.execute_leaf(
        leaf.Leaf(
            kernel=read,
            out_points=scalar_steps.product(read.extents_at, read.out_axes),
            points=scalar_steps.product(reduce_at, read.reduce_axes),
            elements=scalar_steps.product(read.dims_at, read.rank),
            first_value=first_value,
            output=place.output,
            element=place.element,
            step=place.step,
            position=position,
            witness_at=witness_at,
            witness_end=witness_at + length,
            trace_root=trace.root,
            values=trace.values,
        ),
        accumulators,
    )


@internal
@pure
def _read(bytes_of_kernel: Bytes[kernels.ENCODED_KERNEL], at: uint256) -> kernels.Kernel:
    """
    @notice A kernel whose bytes begin at a place of the call's data, with places instead of offsets.
    """
    data: Bytes[kernels.PADDED_KERNEL] = concat(bytes_of_kernel, empty(bytes32), empty(bytes32))  # as kernels.padded
    kernel: kernels.Kernel = kernels.read_kernel(data)
    kernel.extents_at = unsafe_add(kernel.extents_at, at)
    kernel.dtypes_at = unsafe_add(kernel.dtypes_at, at)
    kernel.views_at = unsafe_add(kernel.views_at, at)
    kernel.body_at = unsafe_add(kernel.body_at, at)
    kernel.init_at = unsafe_add(kernel.init_at, at)
    kernel.epilogue_at = unsafe_add(kernel.epilogue_at, at)
    kernel.dims_at = unsafe_add(kernel.dims_at, at)
    kernel.address_at = unsafe_add(kernel.address_at, at)
    if kernel.merge_at != 0:
        kernel.merge_at = unsafe_add(kernel.merge_at, at)
    return kernel
