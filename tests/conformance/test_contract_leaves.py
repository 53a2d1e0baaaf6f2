"""Scalar steps executed by the contract and by the definition: the same words, or both refuse."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("pyrevm")

import sample_programs
from evm.leaves import Leaf, LeafContract, Traced, definition, outcome, traced, with_kernel
from evm.operands import operands
from property.hostile import damage_bytes
from property.strategies import Case, cases, fill
from sample_programs import i32
from tallystick.errors import DecodingError, ProgramError
from tallystick.ir.builder import CodeBuilder
from tallystick.ir.verifier import verify_kernel
from tallystick.spec.digests import chunk_root
from tallystick.spec.encoding import decode_kernel
from tallystick.spec.instructions import ARITY, SOURCES, Code, Instruction, Op
from tallystick.spec.kernels import Fold, Kernel
from tallystick.spec.leaf import encode_outside
from tallystick.spec.merkle import path
from tallystick.spec.programs import Program
from tallystick.spec.scalar_steps import Place, Work, scalar_step
from tallystick.spec.tensors import DType, Tensor, TensorType
from tallystick.spec.views import Address, View

always = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
COMPUTING = [op for op in Op if op not in SOURCES]
FOLDS = (Work.UPDATE, Work.MERGE_LANES, Work.MERGE_BLOCK, Work.STORE)


@pytest.fixture(scope="module")
def contract() -> LeafContract:
    return LeafContract()


def check(contract: LeafContract, leaf: Leaf) -> None:
    assert outcome(contract, leaf) == leaf.by_definition(), leaf


def check_case(contract: LeafContract, case: Case, most: int) -> None:
    """Some scalar steps of the first, a middle and the last element of every output."""
    run = traced(case)
    for first, kernel in run.kernels():
        for output in range(len(kernel.outputs)):
            elements = run.values[first + output].type.elements
            for element in {0, elements // 2, elements - 1}:
                for leaf in run.element_leaves(first, kernel, Place(output, element, case.first_step), most):
                    check(contract, leaf)


# LEAVES OF PROGRAMS


@pytest.mark.parametrize("program", sample_programs.ALL.values(), ids=sample_programs.ALL.keys())
def test_every_step_of_sample_programs(contract: LeafContract, program: Program) -> None:
    check_case(contract, fill(program, seed=3), most=40)


@settings(always, max_examples=60)
@given(case=cases())
def test_random_programs(contract: LeafContract, case: Case) -> None:
    check_case(contract, case, most=8)


@pytest.mark.slow
@settings(always, max_examples=400)
@given(case=cases())
def test_many_random_programs(contract: LeafContract, case: Case) -> None:
    check_case(contract, case, most=16)


# INSTRUCTIONS AND STORAGE TYPES


def words_case(program: Program, rows: list[list[int]]) -> Case:
    """A program whose state is one tensor of words per operand."""
    columns = [b"".join(row[k].to_bytes(4, "little") for row in rows) for k in range(len(rows[0]))]
    return Case(program, tuple(Tensor(i32(len(rows)), column) for column in columns), (), 0, 1)


def applied(op: Op, sources: list[Instruction]) -> Code:
    """One instruction on the words of some sources."""
    instructions = (*sources, Instruction(op, tuple(range(ARITY[op]))))
    return Code(instructions, (len(instructions) - 1,))


@pytest.mark.parametrize("op", COMPUTING, ids=lambda op: op.name)
def test_every_instruction_in_every_code(contract: LeafContract, op: Op) -> None:
    """As the body of a map, and as body, merge and epilogue of a fold of two accumulators, lanes and blocks."""
    arity = ARITY[op]
    rows = operands(3, 200, seed=op).tolist()[-12:]
    loads = tuple(View(k, Address(0, (1,))) for k in range(3))
    from_loads = [Instruction(Op.LOAD, (), k) for k in range(arity)]
    from_words = [Instruction(Op.ACC, (), k % 2) for k in range(arity)]
    mapped = Kernel((12,), (), loads[:arity], applied(op, from_loads), (DType.I32,))
    twice = {
        name: Code(code.instructions, code.results * 2)
        for name, code in (
            ("body", applied(op, [*from_loads[:1], *from_words[1:]])),
            ("merge", applied(op, [Instruction(Op.ACC, (), 3 - k) for k in range(arity)])),
        )
    }
    fold = Fold((rows[0][0], rows[0][1]), 2, 4, twice["merge"], applied(op, from_words))
    views = (View(0, Address(0, (0, 1))),)
    folded = Kernel((1,), (12,), views, twice["body"], (DType.I32,), fold)
    program = Program((i32(12),) * 3, (), (mapped, folded), (0, 1, 2))
    run = traced(words_case(program, rows))
    for element in range(12):
        (leaf,) = run.element_leaves(3, mapped, Place(0, element, 0), 4)
        check(contract, leaf)
    done = set()
    for leaf in run.element_leaves(4, folded, Place(0, 0, 0), 1000):
        check(contract, leaf)
        done.add(scalar_step(folded, 0, leaf.position).work)
    assert done == set(FOLDS)


@pytest.mark.parametrize("stored", DType, ids=lambda dtype: f"to-{dtype.name}")
@pytest.mark.parametrize("loaded", DType, ids=lambda dtype: f"from-{dtype.name}")
def test_every_storage_type(contract: LeafContract, loaded: DType, stored: DType) -> None:
    """Elements at the start of a chunk, at its end, and in a short last one."""
    count = 2 * 1024 // loaded.size + 3
    kernel = Kernel((count,), (), (View(0, Address(0, (1,))),), sample_programs.COPY, (stored,))
    run = traced(fill(Program((TensorType(loaded, (count,)),), (), (kernel,), (0,)), seed=stored))
    for element in (0, 1, 1024 // loaded.size - 1, 1024 // loaded.size, count - 1):
        (leaf,) = run.element_leaves(1, kernel, Place(0, element, 0), 4)
        check(contract, leaf)


def test_step_number_and_indices(contract: LeafContract) -> None:
    builder = CodeBuilder()
    body, _ = builder.build(builder.step(), builder.index(0), builder.index(1))
    kernel = Kernel((3, 5), (), (), body, (DType.I32,) * 3)
    program = Program((i32(1),), (), (kernel,), (0,))
    run = traced(fill(program, seed=0, first_step=(1 << 31) - 2))
    for output in range(3):
        for element in range(15):
            (leaf,) = run.element_leaves(1, kernel, Place(output, element, (1 << 31) - 2), 4)
            check(contract, leaf)


# HOSTILE BYTES


def check_hostile(contract: LeafContract, run: Traced, leaf: Leaf) -> None:
    """Where both execute they agree; where the definition refuses, so does the contract; and where the contract alone
    refuses, no verifier would have let the kernel into a program.
    """
    want, got = definition(leaf), outcome(contract, leaf)
    if want is None:
        assert isinstance(got, str), leaf
    elif isinstance(got, str):
        assert not is_valid(leaf.kernel, run, leaf.first_value), (got, leaf)
    else:
        assert got == want, leaf


def is_valid(kernel: bytes, run: Traced, first_value: int) -> bool:
    try:
        verify_kernel(decode_kernel(kernel), [value.type for value in run.values[:first_value]])
    except (ProgramError, DecodingError):
        return False
    return True


def check_damaged(contract: LeafContract, case: Case, rng: random.Random, times: int) -> None:
    """Leaves of a case with damage to kernel, witness, accumulators, place or root."""
    run = traced(case)
    for first, kernel in run.kernels():
        elements = run.values[first].type.elements
        place = Place(0, rng.randrange(elements), case.first_step)
        for leaf in run.element_leaves(first, kernel, place, 4):
            for _ in range(times):
                check_hostile(contract, run, with_kernel(leaf, damage_bytes(leaf.kernel, rng), rng))
                check_hostile(contract, run, damaged(leaf, rng))


def damaged(leaf: Leaf, rng: random.Random) -> Leaf:
    """The leaf with something other than its kernel changed."""
    place, trace = leaf.place, leaf.trace
    match rng.randrange(8):
        case 0:
            return replace(leaf, first_value=rng.randrange(leaf.first_value + 1))
        case 1:
            return replace(leaf, position=leaf.position + rng.choice([-1, 1, 1 << 40]) & (1 << 64) - 1)
        case 2:
            return replace(leaf, place=replace(place, element=rng.choice([place.element ^ 1, 1 << 40])))
        case 3:
            return replace(leaf, place=replace(place, output=place.output + 1))
        case 4:
            return replace(leaf, trace=replace(trace, values=max(0, trace.values + rng.choice([-1, 1, 1 << 20]))))
        case 5:
            return replace(leaf, trace=replace(trace, root=damage_bytes(trace.root, rng)[:32].ljust(32, b"\0")))
        case _:
            return replace(leaf, witness=damage_bytes(leaf.witness, rng) or b"\1")


@pytest.mark.parametrize("program", sample_programs.ALL.values(), ids=sample_programs.ALL.keys())
def test_damaged_sample_programs(contract: LeafContract, program: Program) -> None:
    check_damaged(contract, fill(program, seed=4), random.Random(11), times=100)


@settings(always, max_examples=50)
@given(case=cases(), seed=st.integers(0, 1 << 32))
def test_damaged_random_programs(contract: LeafContract, case: Case, seed: int) -> None:
    check_damaged(contract, case, random.Random(seed), times=4)


@pytest.mark.slow
@settings(always, max_examples=400)
@given(case=cases(), seed=st.integers(0, 1 << 32))
def test_many_damaged_random_programs(contract: LeafContract, case: Case, seed: int) -> None:
    check_damaged(contract, case, random.Random(seed), times=10)


def test_every_bit_of_a_leaf_counts(contract: LeafContract) -> None:
    """No bit of kernel or witness can be flipped, and nothing cut off or put behind, without another outcome."""
    run = traced(fill(sample_programs.MATMUL, seed=5))
    ((first, kernel),) = run.kernels()
    leaf = next(iter(run.element_leaves(first, kernel, Place(0, 4, 0), 4)))
    check(contract, leaf)
    for at in range(len(leaf.witness)):
        flipped = bytearray(leaf.witness)
        flipped[at] ^= 1 << at % 8
        for witness in (bytes(flipped), leaf.witness[:at]):
            assert isinstance(outcome(contract, replace(leaf, witness=witness)), str)
    assert outcome(contract, replace(leaf, witness=leaf.witness + b"\0")) == "malformed witness"
    for at in range(len(leaf.kernel)):
        assert outcome(contract, replace(leaf, kernel=leaf.kernel[:at])) == "malformed kernel"
        flipped = bytearray(leaf.kernel)
        flipped[at] ^= 1 << at % 8
        check_hostile(contract, run, with_kernel(leaf, bytes(flipped), random.Random(at)))
    assert outcome(contract, replace(leaf, kernel=leaf.kernel + b"\0")) == "malformed kernel"


def test_a_word_cannot_be_denied(contract: LeafContract) -> None:
    """Saying of element 0, whose word is there, that the address is outside."""
    run = traced(fill(sample_programs.MATMUL, seed=5))
    ((first, kernel),) = run.kernels()
    leaf = next(iter(run.element_leaves(first, kernel, Place(0, 0, 0), 4)))
    check(contract, leaf)
    entries = [
        encode_outside(value.type, chunk_root(value.data), path(run.digests, number))
        for number, value in enumerate(run.values[:first])
    ]
    lie = replace(leaf, witness=b"".join(entries))
    assert definition(lie) is None
    assert outcome(contract, lie) == "word is missing"


def test_as_many_accumulators_as_there_are(contract: LeafContract) -> None:
    run = traced(fill(sample_programs.MATMUL, seed=5))
    ((first, kernel),) = run.kernels()
    leaf = next(iter(run.element_leaves(first, kernel, Place(0, 0, 0), 4)))
    for words in (leaf.accumulators[:-1], (*leaf.accumulators, 0), ()):
        assert outcome(contract, replace(leaf, accumulators=words)) == "wrong accumulators"
