"""Everything an engine may rely on, checked before a program is compiled or priced.

After ``verify`` an engine needs no check of an affine address: wherever its guards are open it lies in its tensor.
Addresses with computed terms are checked when they run; their sums cannot leave 64 bits. Nothing here visits points or
elements: the time taken depends on the length of the program only.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tallystick.errors import ProgramError
from tallystick.ir.ranges import affine_range, box_of, open_range
from tallystick.spec import limits
from tallystick.spec.encoding import encode_kernel
from tallystick.spec.instructions import ARITY, MASK, Code, Op
from tallystick.spec.kernels import Fold, Kernel, Scatter
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address

INT32_MAGNITUDE = 1 << 31
INT64_MAGNITUDE = 1 << 63


def verify(program: Program) -> None:
    """Raise ProgramError, naming kernel and field, unless the program keeps every rule of the representation."""
    if len(program.next_state) != len(program.states):
        raise ProgramError(f"next_state has {len(program.next_state)} entries for {len(program.states)} state slots")
    types: list[TensorType] = []
    for name, slots in (("states", program.states), ("constants", program.constants)):
        for i, type in enumerate(slots):
            check_type(f"{name}[{i}]", type)
            types.append(type)
    require(len(types) <= limits.VALUES, "states and constants", f"more than {limits.VALUES} values")
    for number, kernel in enumerate(program.kernels):
        try:
            verify_kernel(kernel, types)
        except ProgramError as error:
            raise ProgramError(f"kernel {number}: {error}") from error
        types.extend(kernel.output_types)
        require(len(types) <= limits.VALUES, f"kernel {number}: outputs", f"more than {limits.VALUES} values")
    for slot, value in enumerate(program.next_state):
        field = f"next_state[{slot}]"
        require(0 <= value < len(types), field, f"there is no value {value}; values are 0 to {len(types) - 1}")
        require(
            types[value] == program.states[slot],
            field,
            f"value {value} is {describe(types[value])} but the slot is {describe(program.states[slot])}",
        )


def verify_kernel(kernel: Kernel, types: Sequence[TensorType]) -> None:
    """Check one kernel against the types of the values before it."""
    require(kernel.fold is None or kernel.scatter is None, "kernel", "a kernel is a fold or a scatter, not both")
    axes = len(kernel.out_shape) + len(kernel.reduce_shape)
    require(axes <= limits.AXES, "axes", f"{axes} are more than {limits.AXES}; join axes or split the kernel")
    check_shape("out_shape", kernel.out_shape)
    check_shape("reduce_shape", kernel.reduce_shape)
    require(1 <= len(kernel.outputs) <= limits.OUTPUTS, "outputs", f"a kernel has 1 to {limits.OUTPUTS} outputs")
    for i, type in enumerate(kernel.output_types):
        check_type(f"outputs[{i}]", type)
    require(len(kernel.loads) <= limits.LOADS, "loads", f"{len(kernel.loads)} are more than {limits.LOADS}")
    guards = sum(len(view.address.guards) for view in kernel.loads)
    guards += len(kernel.scatter.address.guards) if kernel.scatter is not None else 0
    require(guards <= limits.GUARDS, "guards", f"{guards} in one kernel are more than {limits.GUARDS}")
    if kernel.fold is not None:
        check_fold(kernel, kernel.fold)
    else:
        require(not kernel.reduce_shape, "reduce_shape", "only a fold has reduce axes")
        results = len(kernel.outputs) if kernel.scatter is None else 1
        check_code("body", kernel.body, results, 0, axes, len(kernel.loads))
    check_loads(kernel, types)
    if kernel.scatter is not None:
        check_scatter(kernel, kernel.scatter, types)
    encode_kernel(kernel)  # refuses a kernel that is too long, and words that are not words


def check_fold(kernel: Kernel, fold: Fold) -> None:
    """Accumulators, lanes, blocks and the three codes of a fold or scan."""
    count = len(fold.init)
    require(1 <= count <= limits.ACCUMULATORS, "fold.init", f"a fold has 1 to {limits.ACCUMULATORS} accumulators")
    for i, word in enumerate(fold.init):
        check_word(f"fold.init[{i}]", word)
    lanes = fold.lanes
    power = 1 <= lanes <= limits.LANES and lanes & (lanes - 1) == 0
    require(power, "fold.lanes", f"{lanes} is not a power of two up to {limits.LANES}")
    whole = fold.block >= lanes and fold.block % lanes == 0
    require(whole, "fold.block", f"{fold.block} is not a positive multiple of the {lanes} lanes")
    require(fold.block <= limits.ELEMENTS, "fold.block", f"{fold.block} is more than {limits.ELEMENTS}")
    require(len(kernel.reduce_shape) >= 1, "reduce_shape", "a fold has at least one reduce axis")
    out_axes = len(kernel.out_shape)
    axes = out_axes + len(kernel.reduce_shape)
    if fold.scan:
        require(len(kernel.reduce_shape) == 1, "reduce_shape", "a scan has exactly one reduce axis")
        require(lanes == 1, "fold.lanes", f"a scan has one lane, not {lanes}")
        extent = kernel.reduce_shape[0]
        require(fold.block >= extent, "fold.block", f"a scan is one block, but {fold.block} is less than {extent}")
    slots = len(kernel.loads)
    check_code("body", kernel.body, count, count, axes, slots)
    check_merge("fold.merge", fold.merge, count)
    epilogue_axes = axes if fold.scan else out_axes
    check_code("fold.epilogue", fold.epilogue, len(kernel.outputs), count, epilogue_axes, slots)
    if fold.scan:
        return
    for i, instruction in enumerate(fold.epilogue.instructions):
        if instruction.op is Op.LOAD:
            address = kernel.loads[instruction.imm].address
            reduced = [address.strides[out_axes:], *(guard.strides[out_axes:] for guard in address.guards)]
            require(
                not any(any(strides) for strides in reduced),
                f"fold.epilogue.instructions[{i}]",
                f"load slot {instruction.imm} moves along a reduce axis, which an epilogue does not have",
            )


def check_merge(field: str, code: Code, count: int) -> None:
    """A merge sees two sets of accumulators and the step; no index, no load."""
    check_code(field, code, count, 2 * count, 0, 0)


def check_code(field: str, code: Code, results: int, accumulators: int, axes: int, slots: int) -> None:
    """Operands are earlier registers, immediates name things that exist, results are as many as wanted.

    ``accumulators``, ``axes`` and ``slots`` are how many of each the code may read.
    """
    count = len(code.instructions)
    require(count <= limits.INSTRUCTIONS, field, f"{count} instructions are more than {limits.INSTRUCTIONS}")
    for i, instruction in enumerate(code.instructions):
        op, at = instruction.op, f"{field}.instructions[{i}]"
        arity = ARITY[op]
        require(len(instruction.args) == arity, at, f"{op.name} takes {arity} operands, not {len(instruction.args)}")
        for register in instruction.args:
            require(0 <= register < i, at, f"{op.name} reads register {register}, which is not written before")
        number = instruction.imm
        match op:
            case Op.CONST:
                check_word(at, number)
            case Op.INDEX:
                require(0 <= number < axes, at, f"INDEX of axis {number}, but there are {axes} axes here")
            case Op.LOAD:
                require(0 <= number < slots, at, f"LOAD of slot {number}, but there are {slots} slots here")
            case Op.ACC:
                require(0 <= number < accumulators, at, f"ACC {number}, but there are {accumulators} here")
            case _:
                require(number == 0, at, f"{op.name} has no immediate, but {number} is given")
    require(len(code.results) == results, f"{field}.results", f"{len(code.results)} where {results} are needed")
    for i, register in enumerate(code.results):
        exists = 0 <= register < count
        require(exists, f"{field}.results[{i}]", f"there is no register {register}; there are {count}")


def check_loads(kernel: Kernel, types: Sequence[TensorType]) -> None:
    """Every slot is loaded once, reads an earlier value, and stays inside it."""
    loaded_at: dict[int, int] = {}
    codes = [kernel.body] if kernel.fold is None else [kernel.body, kernel.fold.epilogue]
    for code in codes:
        for i, instruction in enumerate(code.instructions):
            if instruction.op is Op.LOAD:
                once = instruction.imm not in loaded_at
                require(once, f"loads[{instruction.imm}]", "two LOAD instructions use this slot; give each its own")
                loaded_at[instruction.imm] = i
    shape = kernel.out_shape + kernel.reduce_shape
    for slot, view in enumerate(kernel.loads):
        field = f"loads[{slot}]"
        require(slot in loaded_at, field, "no LOAD instruction uses this slot; drop it")
        check_value(f"{field}.value", view.value, types)
        check_word(f"{field}.fill", view.fill)
        check_address(f"{field}.address", view.address, shape, types[view.value].elements, loaded_at[slot])


def check_scatter(kernel: Kernel, scatter: Scatter, types: Sequence[TensorType]) -> None:
    """One output that starts as its base or a constant, and an address inside it."""
    require(len(kernel.outputs) == 1, "outputs", "a scatter has exactly one output")
    made = kernel.output_types[0]
    if scatter.base is not None:
        check_value("scatter.base", scatter.base, types)
        base = types[scatter.base]
        require(base == made, "scatter.base", f"the base is {describe(base)} but the output is {describe(made)}")
    check_word("scatter.fill", scatter.fill)
    written = len(kernel.body.instructions)
    check_address("scatter.address", scatter.address, kernel.out_shape, made.elements, written)
    if scatter.merge is not None:
        check_merge("scatter.merge", scatter.merge, 1)


def check_address(field: str, address: Address, shape: Sequence[int], elements: int, written: int) -> None:
    """An affine address lies in its tensor wherever it is open; sums fit 64 bits wherever they are computed.

    ``written`` is how many registers are written before the address is used.
    """
    box = box_of(shape)
    check_affine(field, address.base, address.strides, len(shape))
    low, high = affine_range(address.base, address.strides, box)
    count = len(address.computed)
    require(count <= limits.COMPUTED, f"{field}.computed", f"{count} terms are more than {limits.COMPUTED}")
    for i, (stride, register) in enumerate(address.computed):
        term = f"{field}.computed[{i}]"
        require(abs(stride) <= limits.STRIDE, term, f"stride {stride} is beyond {limits.STRIDE}")
        require(0 <= register < written, term, f"register {register} is not written before the address is used")
        low, high = low - abs(stride) * INT32_MAGNITUDE, high + abs(stride) * INT32_MAGNITUDE
    check_int64(field, low, high)
    for i, guard in enumerate(address.guards):
        at = f"{field}.guards[{i}]"
        check_affine(at, guard.base, guard.strides, len(shape))
        require(0 <= guard.limit <= limits.STRIDE, f"{at}.limit", f"{guard.limit} is not 0 to {limits.STRIDE}")
        check_int64(at, *affine_range(guard.base, guard.strides, box))
    if address.computed or (low >= 0 and high < elements):
        return
    reached = open_range(address, shape)
    if reached is not None:
        inside = reached[0] >= 0 and reached[1] < elements
        require(inside, field, f"may reach {reached[0]} to {reached[1]} in a value of {elements} elements; guard it")


def check_affine(field: str, base: int, strides: Sequence[int], axes: int) -> None:
    require(len(strides) == axes, f"{field}.strides", f"{len(strides)} strides for {axes} axes; give one per axis")
    for number in (base, *strides):
        require(abs(number) <= limits.STRIDE, field, f"{number} is beyond {limits.STRIDE} in magnitude")


def check_int64(field: str, low: int, high: int) -> None:
    fits = low >= -INT64_MAGNITUDE and high < INT64_MAGNITUDE
    require(fits, field, f"the sum may reach {low} to {high}, which does not fit 64 bits; use smaller strides")


def check_value(field: str, value: int, types: Sequence[TensorType]) -> None:
    before = len(types)
    require(0 <= value < before, field, f"there is no value {value} before this kernel; there are {before}")


def check_word(field: str, word: int) -> None:
    require(0 <= word <= MASK, field, f"{word} is no 32-bit word")


def check_type(field: str, type: TensorType) -> None:
    require(type.dtype in frozenset(DType), field, f"{type.dtype} is no storage type")
    check_shape(field, type.shape)


def check_shape(field: str, shape: Sequence[int]) -> None:
    """At most ``limits.AXES`` dimensions, none of them empty, and not too many elements together."""
    require(len(shape) <= limits.AXES, field, f"{len(shape)} dimensions are more than {limits.AXES}")
    for axis, extent in enumerate(shape):
        possible = 1 <= extent <= limits.ELEMENTS
        require(possible, f"{field}[{axis}]", f"an extent is 1 to {limits.ELEMENTS}, not {extent}")
    require(prod(shape) <= limits.ELEMENTS, field, f"{prod(shape)} points are more than {limits.ELEMENTS}")


def describe(type: TensorType) -> str:
    """A type as people write it, like ``f32[3, 4]``."""
    return f"{type.dtype.name.lower()}{list(type.shape)}"


def require(holds: bool, field: str, problem: str) -> None:
    if not holds:
        raise ProgramError(f"{field}: {problem}")
