"""Every rule of the representation: a program that breaks it is refused, by kernel and field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import pytest

import sample_programs
from sample_programs import code, f32, i32
from tallystick.errors import ProgramError
from tallystick.ir.builder import CodeBuilder
from tallystick.ir.verifier import verify
from tallystick.spec import limits
from tallystick.spec.instructions import Code, Instruction, Op
from tallystick.spec.kernels import Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View

MATMUL = sample_programs.matmul(3, 3, 3)
SCATTER = sample_programs.embedding_gradient(4, 5, 6)
SCAN = sample_programs.cumulative_sum(3, 3)
COPY = sample_programs.COPY


def matmul(**changes: object) -> Program:
    return replace(sample_programs.MATMUL, kernels=(replace(MATMUL, **changes),))


def fold(**changes: object) -> Program:
    assert MATMUL.fold is not None
    return matmul(fold=replace(MATMUL.fold, **changes))


def scan(**changes: object) -> Program:
    assert SCAN.fold is not None
    kernel = replace(SCAN, fold=replace(SCAN.fold, **changes))
    return Program((f32(3, 3),), (), (kernel,), (0,))


def scan_along_two_axes() -> Program:
    kernel = replace(SCAN, reduce_shape=(3, 3), loads=(View(0, Address(0, (0, 3, 1))),))
    return Program((f32(3, 3),), (), (kernel,), (0,))


def scatter(**changes: object) -> Program:
    assert SCATTER.scatter is not None
    kernel = replace(SCATTER, scatter=replace(SCATTER.scatter, **changes))
    return replace(sample_programs.EMBEDDING_GRADIENT, kernels=(kernel,))


def copy(address: Address, shape: tuple[int, ...] = (3, 3), **changes: object) -> Program:
    """A map that loads value 0 of nine elements."""
    kernel = replace(Kernel(shape, (), (View(0, address),), COPY, (DType.F32,)), **changes)
    return Program((f32(3, 3),), (), (kernel,), (0,))


def body(*instructions: Instruction, results: tuple[int, ...] = (0,)) -> Program:
    """A map without loads and a body of these instructions."""
    kernel = Kernel((3,), (), (), Code(instructions, results), (DType.I32,))
    return Program((f32(3, 3),), (), (kernel,), (0,))


def first_load(**changes: object) -> Program:
    return matmul(loads=(replace(MATMUL.loads[0], **changes), MATMUL.loads[1]))


def guards(count: int) -> tuple[Guard, ...]:
    return (Guard(0, (1, 0), 3),) * count


@pytest.mark.parametrize("name", sample_programs.ALL)
def test_sample_programs_are_valid(name: str) -> None:
    verify(sample_programs.ALL[name])


def test_an_empty_program_is_valid() -> None:
    verify(Program((), (), (), ()))


ONE = Instruction(Op.CONST, (), 1)
LOAD = Instruction(Op.LOAD, (), 0)
TWICE = code(lambda b: b.fadd(b.load(0), b.load(1)))
EPILOGUE_LOADING = code(lambda b: b.fadd(b.acc(), b.load(2)))


def with_epilogue_load(*strides: int, guard: tuple[int, ...] = (0, 0, 0)) -> Program:
    assert MATMUL.fold is not None
    view = View(1, Address(0, strides, (), (Guard(0, guard, 1 << 30),)))
    return matmul(loads=(*MATMUL.loads, view), fold=replace(MATMUL.fold, epilogue=EPILOGUE_LOADING))


def load_in_body_and_epilogue() -> Program:
    assert MATMUL.fold is not None
    epilogue = code(lambda b: b.fadd(b.acc(), b.load(0)))
    still = View(0, Address(0, (3, 0, 0)))
    return matmul(loads=(still, MATMUL.loads[1]), fold=replace(MATMUL.fold, epilogue=epilogue))


def test_epilogues_may_load_over_output_axes() -> None:
    verify(with_epilogue_load(1, 3, 0))


def test_epilogues_of_scans_may_load_over_the_reduce_axis() -> None:
    assert SCAN.fold is not None
    epilogue = code(lambda b: b.fadd(b.acc(), b.fadd(b.load(1), b.index(1))))
    loads = (*SCAN.loads, View(0, Address(0, (3, 1))))
    kernel = replace(SCAN, loads=loads, fold=replace(SCAN.fold, epilogue=epilogue))
    verify(Program((f32(3, 3),), (), (kernel,), (0,)))


REFUSED: list[tuple[str, Callable[[], Program], str]] = [
    # PROGRAM
    ("no next value", lambda: replace(matmul(), next_state=()), r"next_state has 0 entries for 1 state slots"),
    ("a next value that is not there", lambda: replace(matmul(), next_state=(3,)), r"next_state\[0\]: there is no"),
    ("a negative next value", lambda: replace(matmul(), next_state=(-1,)), r"next_state\[0\]: there is no value -1"),
    (
        "a next value of another shape",
        lambda: Program((f32(3),), (f32(3, 3),), (), (1,)),
        r"next_state\[0\]: value 1 is f32\[3, 3\] but the slot is f32\[3\]",
    ),
    ("another storage type", lambda: Program((f32(3),), (i32(3),), (), (1,)), r"value 1 is i32\[3\]"),
    ("an empty state", lambda: Program((f32(0),), (), (), (0,)), r"states\[0\]\[0\]: an extent is 1 to"),
    ("an endless constant", lambda: Program((), (f32(1 << 30, 1 << 30),), (), ()), r"constants\[0\]: .* points"),
    ("nine dimensions", lambda: Program((f32(*[1] * 9),), (), (), (0,)), r"states\[0\]: 9 dimensions"),
    # SHAPES
    ("an empty out axis", lambda: matmul(out_shape=(3, 0)), r"kernel 0: out_shape\[1\]: an extent is 1 to"),
    ("a negative reduce axis", lambda: matmul(reduce_shape=(-3,)), r"kernel 0: reduce_shape\[0\]: an extent"),
    ("nine axes", lambda: matmul(out_shape=(1,) * 8), r"kernel 0: axes: 9 are more than 8"),
    ("too many points", lambda: matmul(reduce_shape=(1 << 40, 2)), r"reduce_shape: 2199023255552 points"),
    ("no outputs", lambda: matmul(outputs=()), r"kernel 0: outputs: a kernel has 1 to 4"),
    ("five outputs", lambda: matmul(outputs=(DType.F32,) * 5), r"kernel 0: outputs: a kernel has 1 to 4"),
    ("no storage type", lambda: matmul(outputs=(9,)), r"kernel 0: outputs\[0\]: 9 is no storage type"),
    ("a map with reduce axes", lambda: matmul(fold=None), r"kernel 0: reduce_shape: only a fold has reduce axes"),
    ("fold and scatter", lambda: matmul(scatter=SCATTER.scatter), r"kernel 0: kernel: .*not both"),
    # CODES
    ("too many instructions", lambda: body(*[ONE] * 257), r"body: 257 instructions are more than 256"),
    ("an operand of later", lambda: body(Instruction(Op.FSQRT, (0,))), r"body.instructions\[0\]: FSQRT reads register"),
    ("a negative operand", lambda: body(ONE, Instruction(Op.FSQRT, (-1,))), r"instructions\[1\]: FSQRT reads register"),
    ("a missing operand", lambda: body(ONE, Instruction(Op.FADD, (0,))), r"FADD takes 2 operands, not 1"),
    ("a constant of 33 bits", lambda: body(Instruction(Op.CONST, (), 1 << 32)), r"is no 32-bit word"),
    ("an axis that is not there", lambda: body(Instruction(Op.INDEX, (), 1)), r"INDEX of axis 1, but there are 1"),
    ("a negative axis", lambda: body(Instruction(Op.INDEX, (), -1)), r"INDEX of axis -1"),
    ("a slot that is not there", lambda: body(LOAD), r"LOAD of slot 0, but there are 0 slots"),
    ("an accumulator in a map", lambda: body(Instruction(Op.ACC)), r"ACC 0, but there are 0 here"),
    ("an immediate of none", lambda: body(Instruction(Op.STEP, (), 1)), r"STEP has no immediate, but 1 is given"),
    ("too few results", lambda: body(ONE, results=()), r"body.results: 0 where 1 are needed"),
    ("too many results", lambda: body(ONE, results=(0, 0)), r"body.results: 2 where 1 are needed"),
    ("a result of no register", lambda: body(ONE, results=(1,)), r"body.results\[0\]: there is no register 1"),
    ("a negative result", lambda: body(ONE, results=(-1,)), r"body.results\[0\]: there is no register -1"),
    # LOADS
    ("an unused slot", lambda: copy(Address(0, (3, 1)), body=Code((ONE,), (0,))), r"loads\[0\]: no LOAD .* drop it"),
    ("a slot used twice", lambda: copy(Address(0, (3, 1)), body=Code((LOAD, LOAD), (0,))), r"loads\[0\]: two LOAD"),
    (
        "a slot used by body and epilogue",
        load_in_body_and_epilogue,
        r"loads\[0\]: two LOAD instructions",
    ),
    ("a value made later", lambda: first_load(value=2), r"loads\[0\].value: there is no value 2 before"),
    ("a negative value", lambda: first_load(value=-1), r"loads\[0\].value: there is no value -1"),
    ("a fill of 33 bits", lambda: first_load(fill=1 << 32), r"loads\[0\].fill: 4294967296 is no 32-bit word"),
    (
        "17 loads",
        lambda: copy(Address(0, (3, 1)), loads=(View(0, Address(0, (3, 1))),) * 17),
        r"loads: 17 are more than 16",
    ),
    # ADDRESSES
    ("one past the end", lambda: copy(Address(1, (3, 1))), r"loads\[0\].address: may reach 1 to 9 in a value of 9"),
    ("one before the start", lambda: copy(Address(-1, (3, 1))), r"may reach -1 to 7"),
    ("a negative stride", lambda: copy(Address(0, (3, -1))), r"may reach -2 to 6"),
    ("a wide stride", lambda: copy(Address(0, (4, 1))), r"may reach 0 to 10"),
    ("too few strides", lambda: copy(Address(0, (3,))), r"loads\[0\].address.strides: 1 strides for 2 axes"),
    (
        "a guard that does not help",
        lambda: copy(Address(1, (3, 1), (), (Guard(0, (0, 1), 3),))),
        r"may reach 1 to 9",
    ),
    (
        "a guard of too few strides",
        lambda: copy(Address(0, (3, 1), (), (Guard(0, (1,), 3),))),
        r"address.guards\[0\].strides: 1 strides for 2 axes",
    ),
    ("a negative limit", lambda: copy(Address(0, (3, 1), (), (Guard(0, (1, 1), -1),))), r"guards\[0\].limit: -1"),
    ("too many guards", lambda: copy(Address(0, (3, 1), (), guards(17))), r"guards: 17 in one kernel are more than 16"),
    ("a stride beyond bounds", lambda: copy(Address(0, ((1 << 40) + 1, 1), (), guards(1))), r"beyond 1099511627776"),
    (
        "an address beyond 64 bits",
        lambda: copy(Address(0, (1 << 40, 0), (), guards(1)), shape=(1 << 39, 1)),
        r"does not fit 64 bits",
    ),
    (
        "a guard beyond 64 bits",
        lambda: copy(Address(0, (0, 0), (), (Guard(0, (1 << 40, 0), 1),)), shape=(1 << 39, 1)),
        r"guards\[0\]: the sum may reach .* does not fit 64 bits",
    ),
    (
        "a computed term beyond 64 bits",
        lambda: copy(Address(0, (0, 0), ((1 << 33, 0),)), body=Code((ONE, LOAD), (1,))),
        r"loads\[0\].address: the sum may reach .* does not fit 64 bits",
    ),
    (
        "a term computed later",
        lambda: copy(Address(0, (0, 0), ((1, 1),)), body=Code((ONE, LOAD), (1,))),
        r"computed\[0\]: register 1 is not written before",
    ),
    (
        "a term of a negative register",
        lambda: copy(Address(0, (0, 0), ((1, -1),)), body=Code((ONE, LOAD), (1,))),
        r"computed\[0\]: register -1 is not written before",
    ),
    (
        "three computed terms",
        lambda: copy(Address(0, (0, 0), ((1, 0),) * 3), body=Code((ONE, LOAD), (1,))),
        r"address.computed: 3 terms are more than 2",
    ),
    # FOLDS
    ("no accumulators", lambda: fold(init=()), r"fold.init: a fold has 1 to 4 accumulators"),
    ("five accumulators", lambda: fold(init=(0,) * 5), r"fold.init: a fold has 1 to 4 accumulators"),
    ("a start of 33 bits", lambda: fold(init=(1 << 32,)), r"fold.init\[0\]: 4294967296 is no 32-bit word"),
    ("three lanes", lambda: fold(lanes=3, block=3), r"fold.lanes: 3 is not a power of two up to 16"),
    ("no lanes", lambda: fold(lanes=0), r"fold.lanes: 0 is not a power of two"),
    ("32 lanes", lambda: fold(lanes=32), r"fold.lanes: 32 is not a power of two"),
    ("an empty block", lambda: fold(block=0), r"fold.block: 0 is not a positive multiple"),
    ("a block that splits lanes", lambda: fold(lanes=8, block=12), r"fold.block: 12 is not a positive multiple"),
    ("an endless block", lambda: fold(block=1 << 41), r"fold.block: 2199023255552 is more"),
    (
        "no reduce axis",
        lambda: matmul(reduce_shape=(), loads=tuple(View(v, Address(0, (3, 1))) for v in (0, 1))),
        r"reduce_shape: a fold has at least one",
    ),
    ("too few results of a fold", lambda: fold(init=(0, 0)), r"body.results: 1 where 2 are needed"),
    ("an accumulator too many", lambda: fold(epilogue=code(lambda b: b.acc(1))), r"ACC 1, but there are 1 here"),
    ("a third set in a merge", lambda: fold(merge=code(lambda b: b.acc(2))), r"fold.merge.*ACC 2, but there are 2"),
    ("an index in a merge", lambda: fold(merge=code(lambda b: b.index(0))), r"fold.merge.*INDEX of axis 0, but there"),
    (
        "a load in a merge",
        lambda: fold(merge=code(lambda b: b.load(0))),
        r"merge.*LOAD of slot 0, but there are 0",
    ),
    ("a reduce index in an epilogue", lambda: fold(epilogue=code(lambda b: b.index(2))), r"epilogue.*INDEX of axis 2"),
    (
        "a load along a reduce axis in an epilogue",
        lambda: with_epilogue_load(1, 0, 3),
        r"fold.epilogue.instructions\[1\]: load slot 2 moves along a reduce axis",
    ),
    (
        "a guard along a reduce axis in an epilogue",
        lambda: with_epilogue_load(1, 3, 0, guard=(0, 0, 1)),
        r"load slot 2 moves along a reduce axis",
    ),
    ("a scan of lanes", lambda: scan(lanes=2, block=4), r"fold.lanes: a scan has one lane, not 2"),
    ("a scan of blocks", lambda: scan(block=2), r"fold.block: a scan is one block, but 2 is less than 3"),
    ("a scan along two axes", scan_along_two_axes, r"reduce_shape: a scan has exactly one reduce axis"),
    # SCATTERS
    (
        "a scatter of two outputs",
        lambda: replace(scatter(), kernels=(replace(SCATTER, outputs=(DType.F32, DType.F32)),)),
        r"outputs: a scatter has exactly one output",
    ),
    ("a base made later", lambda: scatter(base=2), r"scatter.base: there is no value 2"),
    ("a base of another shape", lambda: scatter(base=1), r"scatter.base: the base is f32\[6, 5\] but .* f32\[4, 5\]"),
    ("a base of another type", lambda: scatter(base=0, shape=(6,)), r"scatter.base: the base is i32\[6\]"),
    ("a scatter's fill of 33 bits", lambda: scatter(fill=-1), r"scatter.fill: -1 is no 32-bit word"),
    ("an affine scatter past the end", lambda: scatter(address=Address(0, (5, 1))), r"scatter.address: may reach"),
    (
        "a scatter's unwritten register",
        lambda: scatter(address=Address(0, (0, 1), ((1, 2),))),
        r"scatter.address.computed\[0\]: register 2 is not written",
    ),
    ("a scatter's merge with a load", lambda: scatter(merge=code(lambda b: b.load(0))), r"scatter.merge.*LOAD of slot"),
    ("a scatter's empty shape", lambda: scatter(shape=(0, 5)), r"outputs\[0\]\[0\]: an extent"),
    (
        "a scatter's merge of two results",
        lambda: scatter(merge=Code((Instruction(Op.ACC),), (0, 0))),
        r"scatter.merge.results: 2 where 1",
    ),
]


@pytest.mark.parametrize(("make", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_a_broken_rule_is_named(make: Callable[[], Program], message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        verify(make())


def test_the_kernel_is_named_by_its_number() -> None:
    program = replace(sample_programs.MATMUL, kernels=(MATMUL, replace(MATMUL, outputs=())))
    with pytest.raises(ProgramError, match=r"^kernel 1: outputs: "):
        verify(program)


def test_a_kernel_too_long_to_encode_is_refused() -> None:
    assert MATMUL.fold is not None
    builder = CodeBuilder()
    total = builder.fadd(builder.acc(0), builder.acc(1))
    while len(builder.instructions) < 256:
        total = builder.fadd(total, total)
    merge, _ = builder.build(total)
    loads = code(lambda b: reduce(b.fadd, [b.load(slot) for slot in range(16)]))
    address = Address(0, (3, 1, 0, 0, 0, 0, 0, 0), (), (Guard(0, (1, 0, 0, 0, 0, 0, 0, 0), 3),))
    fold = replace(MATMUL.fold, merge=merge)
    kernel = Kernel((3, 3, *[1] * 5), (1,), (View(0, address),) * 16, loads, (DType.F32,), fold)
    with pytest.raises(ProgramError, match=r"kernel 0: the kernel takes \d+ bytes of at most 4096: split it"):
        verify(Program((f32(3, 3),), (), (kernel,), (0,)))


@pytest.mark.parametrize(
    "address",
    [
        Address(-1, (3, 1), (), (Guard(-1, (3, 1), 9),)),
        Address(-4, (3, 1), (), (Guard(-1, (1, 0), 3), Guard(-1, (0, 1), 3))),
        Address(100, (3, 1), (), (Guard(5, (0, 0), 5),)),
        Address(8, (-3, -1)),
        Address(0, (0, 0)),
        Address(1 << 39, (1 << 39, 3), ((1 << 31, 0),)),
    ],
)
def test_addresses_that_are_proved_or_checked_at_run_time(address: Address) -> None:
    code_of = Code((ONE, LOAD), (1,)) if address.computed else COPY
    verify(copy(address, body=code_of))


def test_a_type_of_a_value_is_the_storage_it_was_made_with() -> None:
    """A kernel's second output has its own number and type."""
    builder = CodeBuilder()
    body_code, _ = builder.build(builder.load(0), builder.load(0))
    kernel = Kernel((3, 3), (), (View(0, Address(0, (3, 1))),), body_code, (DType.F32, DType.I8))
    state = (f32(3, 3), TensorType(DType.I8, (3, 3)))
    verify(Program(state, (), (kernel,), (2, 3)))
    with pytest.raises(ProgramError, match=r"next_state\[0\]: value 3 is i8"):
        verify(Program(state, (), (kernel,), (3, 2)))


@pytest.mark.parametrize("kernels", [(), (Kernel((), (), (), code(lambda b: b.word(0)), (DType.I32,)),)])
def test_values_are_counted_whether_kernels_make_them_or_not(
    monkeypatch: pytest.MonkeyPatch, kernels: tuple[Kernel, ...]
) -> None:
    program = Program((i32(),) * 3, (i32(),) * (2 - len(kernels)), kernels, (0, 1, 2))
    monkeypatch.setattr(limits, "VALUES", 5)
    verify(program)
    monkeypatch.setattr(limits, "VALUES", 4)
    with pytest.raises(ProgramError, match="more than 4 values"):
        verify(program)
