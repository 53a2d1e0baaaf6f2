"""Canonical bytes to programs. The bytes come from a stranger.

What is accepted is exactly what the encoder writes, within ``limits``. Rules about meaning (registers, addresses,
types) are the verifier's: a decoded program is well formed, not yet valid.
"""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.spec import limits
from tallystick.spec.encoding.layout import IMMEDIATES, INSTRUCTION, MAGIC, VERSION, Kind
from tallystick.spec.encoding.reader import Reader
from tallystick.spec.instructions import ARITY, Code, Instruction, Op
from tallystick.spec.kernels import Fold, Kernel, Scatter
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View

OPCODES = {int(op): op for op in Op}
DTYPES = {int(dtype): dtype for dtype in DType}

SMALLEST_TYPE = 2  # bytes: dtype and rank
SMALLEST_KERNEL = 2 + 8  # bytes: the length, and a kernel with nothing in it


def decode_program(data: bytes | bytearray | memoryview) -> Program:
    """The program whose canonical bytes these are.

    Raises: DecodingError, naming field and offset, for any other bytes.
    """
    reader = Reader(data)
    start = reader.offset
    if reader.take("magic", 4) != MAGIC:
        raise reader.fail("magic", f"these bytes are not a program: they do not begin with {MAGIC.decode()}", start)
    version = reader.unsigned("version", 2)
    if version != VERSION:
        raise reader.fail("version", f"{version} is not {VERSION}, the version this release reads", start + 4)
    states = reader.count("states", 4, limits.VALUES, SMALLEST_TYPE + 4)
    constants = reader.count("constants", 4, limits.VALUES, SMALLEST_TYPE)
    kernels = reader.count("kernels", 4, limits.VALUES, SMALLEST_KERNEL)
    state_types = [decode_tensor_type(reader, f"states[{i}]") for i in range(states)]
    constant_types = [decode_tensor_type(reader, f"constants[{i}]") for i in range(constants)]
    next_state = [reader.unsigned(f"next_state[{i}]", 4) for i in range(states)]
    return Program(
        tuple(state_types),
        tuple(constant_types),
        decode_kernels(reader, kernels),
        tuple(next_state),
    )


def decode_kernels(reader: Reader, count: int) -> tuple[Kernel, ...]:
    """Length-prefixed kernels up to the end of the bytes."""
    kernels: list[Kernel] = []
    for number in range(count):
        name = f"kernels[{number}]"
        length = reader.count(f"{name}.length", 2, limits.ENCODED_KERNEL, 1)
        with reader.bounded(name, length):
            kernels.append(read_kernel(reader))
    reader.finish()
    return tuple(kernels)


def decode_kernel(data: bytes | bytearray | memoryview) -> Kernel:
    """The kernel whose canonical bytes these are.

    Raises: DecodingError, naming field and offset, for any other bytes.
    """
    reader = Reader(data)
    if reader.end > limits.ENCODED_KERNEL:
        raise reader.fail("kernel", f"{reader.end} bytes are more than a kernel may have ({limits.ENCODED_KERNEL})")
    kernel = read_kernel(reader)
    reader.finish()
    return kernel


def decode_tensor_type(reader: Reader, name: str) -> TensorType:
    with reader.inside(name):
        return TensorType(read_dtype(reader, "dtype"), read_shape(reader, "dims", reader.unsigned("rank", 1)))


def read_kernel(reader: Reader) -> Kernel:
    """One kernel from the front of the bytes."""
    kind = Kind(reader.unsigned("kind", 1, 0, max(Kind)))
    out_axes = reader.unsigned("out_axes", 1, 0, limits.AXES)
    reduce_axes = reader.unsigned("reduce_axes", 1, 0, limits.AXES - out_axes)
    axes = out_axes + reduce_axes
    out_shape = read_shape(reader, "out_shape", out_axes)
    reduce_shape = read_shape(reader, "reduce_shape", reduce_axes)
    outputs = [read_dtype(reader, f"outputs[{i}]") for i in range(reader.count("outputs", 1, limits.OUTPUTS, 1))]
    loads = [
        read_view(reader, f"loads[{i}]", axes) for i in range(reader.count("loads", 1, limits.LOADS, 18 + 8 * axes))
    ]
    return Kernel(
        out_shape=out_shape,
        reduce_shape=reduce_shape,
        loads=tuple(loads),
        body=read_code(reader, "body"),
        outputs=tuple(outputs),
        fold=read_fold(reader, kind is Kind.SCAN) if kind in (Kind.FOLD, Kind.SCAN) else None,
        scatter=read_scatter(reader, axes) if kind is Kind.SCATTER else None,
    )


def read_fold(reader: Reader, scan: bool) -> Fold:
    with reader.inside("fold"):
        accumulators = reader.count("accumulators", 1, limits.ACCUMULATORS, 4)
        init = [reader.unsigned(f"init[{i}]", 4) for i in range(accumulators)]
        lanes = reader.unsigned("lanes", 1, 1, limits.LANES)
        block = reader.unsigned("block", 8, 1)
        return Fold(tuple(init), lanes, block, read_code(reader, "merge"), read_code(reader, "epilogue"), scan)


def read_scatter(reader: Reader, axes: int) -> Scatter:
    with reader.inside("scatter"):
        shape = read_shape(reader, "dims", reader.unsigned("rank", 1))
        has_base = reader.unsigned("base?", 1, 0, 1)
        base = reader.unsigned("base", 4, 0, None if has_base else 0)
        fill = reader.unsigned("fill", 4)
        address = read_address(reader, axes)
        has_merge = reader.unsigned("merge?", 1, 0, 1)
        merge = read_code(reader, "merge") if has_merge else None
        return Scatter(shape, base if has_base else None, fill, address, merge)


def read_view(reader: Reader, name: str, axes: int) -> View:
    with reader.inside(name):
        value = reader.unsigned("value", 4)
        fill = reader.unsigned("fill", 4)
        return View(value, read_address(reader, axes), fill)


def read_address(reader: Reader, axes: int) -> Address:
    base, strides = read_affine(reader, axes)
    computed: list[tuple[int, int]] = []
    for i in range(reader.count("computed", 1, limits.COMPUTED, 9)):
        stride = reader.integer(f"computed[{i}].stride")
        computed.append((stride, reader.unsigned(f"computed[{i}].register", 1)))
    guards: list[Guard] = []
    for i in range(reader.count("guards", 1, limits.GUARDS, 16 + 8 * axes)):
        with reader.inside(f"guards[{i}]"):
            guard_base, guard_strides = read_affine(reader, axes)
            guards.append(Guard(guard_base, guard_strides, reader.unsigned("limit", 8)))
    return Address(base, strides, tuple(computed), tuple(guards))


def read_affine(reader: Reader, axes: int) -> tuple[int, tuple[int, ...]]:
    return reader.integer("base"), tuple(reader.integer(f"strides[{axis}]") for axis in range(axes))


def read_code(reader: Reader, name: str) -> Code:
    with reader.inside(name):
        count = reader.count("instructions", 2, limits.INSTRUCTIONS, INSTRUCTION)
        results = [
            reader.unsigned(f"results[{i}]", 1) for i in range(reader.count("results", 1, limits.ACCUMULATORS, 1))
        ]
        instructions = [read_instruction(reader, f"instructions[{i}]") for i in range(count)]
        return Code(tuple(instructions), tuple(results))


def read_instruction(reader: Reader, name: str) -> Instruction:
    """Five bytes: the opcode, then an immediate or three operands and a zero."""
    start = reader.offset
    record = reader.take(name, INSTRUCTION)
    op = OPCODES.get(record[0])
    if op is None:
        raise reader.fail(f"{name}.opcode", f"0x{record[0]:02x} is no instruction", start)
    if op in IMMEDIATES:
        return Instruction(op, (), int.from_bytes(record[1:], "little"))
    arity = ARITY[op]
    if any(record[1 + arity :]):
        raise reader.fail(name, f"{op.name} has {arity} operands; the bytes after them are not zero", start)
    return Instruction(op, tuple(record[1 : 1 + arity]))


def read_dtype(reader: Reader, field: str) -> DType:
    start = reader.offset
    number = reader.unsigned(field, 1)
    if number not in DTYPES:
        raise reader.fail(field, f"{number} is no storage type", start)
    return DTYPES[number]


def read_shape(reader: Reader, field: str, rank: int) -> tuple[int, ...]:
    if rank > limits.AXES:
        raise reader.fail(field, f"{rank} dimensions are more than {limits.AXES}")
    extents: Sequence[int] = [reader.unsigned(f"{field}[{i}]", 8, 1, limits.ELEMENTS) for i in range(rank)]
    return tuple(extents)
