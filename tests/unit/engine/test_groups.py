"""Kernels run together entry by entry: found by their addresses, the same bits, less memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import tallystick as ts
from tallystick.capture.kernels import rematerialisation
from tallystick.engine import Engine, groups
from tallystick.engine.entries import FinerEntries, NotSeparable, entry_kernel
from tallystick.engine.groups import find_groups, prepares_anew
from tallystick.ir.captured import Captured
from tallystick.ir.verifier import verify
from tallystick.spec.instructions import Code, Instruction, Op
from tallystick.spec.kernels import Fold, Kernel
from tallystick.spec.programs import Program
from tallystick.spec.tensors import DType, TensorType
from tallystick.spec.views import Address, Guard, View

N, T, HEADS, SIZE = 3, 21, 2, 4
STEPS = 2

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def masked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    mask = (torch.arange(T)[:, None] - torch.arange(T)).abs() < 9
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def masked_by_example(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=k[:, :1, None, :, 0] > 0)


def with_dropout(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, dropout_p=0.2)


def grouped_queries(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], is_causal=True, enable_gqa=True)


def by_hand(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    hidden = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)
    return scores.masked_fill(hidden, -1e9).softmax(-1) @ v


class Attention(nn.Module):
    """One layer of attention on (N, T, HEADS * SIZE)."""

    def __init__(self, attend: Attend) -> None:
        super().__init__()
        self.attend = attend
        self.qkv = nn.Linear(HEADS * SIZE, 3 * HEADS * SIZE)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(x).split(HEADS * SIZE, -1)
        q, k, v = (part.view(N, T, HEADS, SIZE).transpose(1, 2) for part in parts)
        return x + self.attend(q, k, v).transpose(1, 2).reshape(x.shape)


def loss(model: nn.Module, x: Tensor) -> Tensor:
    return (model(x) ** 2).mean()


def capture(attend: Attend) -> Captured:
    torch.manual_seed(0)
    return ts.capture_training(
        model=Attention(attend),
        loss=loss,
        optimizer=ts.optim.SGD(lr=0.1),
        data={"x": np.random.default_rng(0).standard_normal((N, T, HEADS * SIZE), dtype=np.float32)},
        batch_size=N,
        steps=STEPS,
    )


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MINIMUM_BYTES", N * HEADS * T * T * 4)
    monkeypatch.setattr(groups, "MINIMUM_ENTRY_BYTES", 1)
    monkeypatch.setattr(rematerialisation, "MINIMUM_BYTES", 1 << 10)


def state_after(engine: Engine, captured: Captured) -> list[bytes]:
    with engine.start(captured.state, captured.constants) as session:
        session.advance(STEPS)
        return [slot.tobytes() for slot in session.state()]


@pytest.mark.parametrize("attend", [causal, masked, masked_by_example, with_dropout, grouped_queries, by_hand])
def test_grouped_and_ungrouped_runs_agree(attend: Attend, monkeypatch: pytest.MonkeyPatch) -> None:
    captured = capture(attend)
    grouped = [Engine(captured.program, threads=threads) for threads in (1, 2, 3)]
    assert len(grouped[0].flow.groups) >= 2  # forward and backward
    monkeypatch.setattr(groups, "MINIMUM_BYTES", 1 << 40)
    whole = Engine(captured.program, threads=1)
    expected = state_after(whole, captured)
    for engine in grouped:
        assert state_after(engine, captured) == expected
    traces = [engine.trace(captured.state, captured.constants, 0) for engine in (whole, grouped[1])]
    assert [value.tobytes() for value in traces[0]] == [value.tobytes() for value in traces[1]]


def test_values_within_a_group_take_room_for_one_entry_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    captured = capture(causal)
    grouped = Engine(captured.program, threads=1)
    inner = [value for group in grouped.flow.groups for value in group.inner]
    assert not grouped.plan.even.keys() & set(inner)
    monkeypatch.setattr(groups, "MINIMUM_BYTES", 1 << 40)
    assert Engine(captured.program, threads=1).plan.arena_bytes > grouped.plan.arena_bytes + N * HEADS * T * T * 2


def test_groups_keep_threads_busy() -> None:
    captured = capture(causal)
    assert find_groups(captured.program, 6)
    assert not find_groups(captured.program, 5)  # one thread would do two of six entries, the others one
    assert not find_groups(captured.program, 12)


def kernel(shape: tuple[int, ...], strides: tuple[int, ...], base: int = 0) -> Kernel:
    """A map that reads value 0."""
    load = Code((Instruction(Op.LOAD, (), 0),), (0,))
    return Kernel(shape, (), (View(0, Address(base, strides)),), load, (DType.F32,))


TYPES = (TensorType(DType.F32, (2, 3, 5)),)


def test_a_kernel_of_one_entry() -> None:
    entry = entry_kernel(kernel((6, 5), (5, 1)), (2, 3), TYPES, {0})
    assert entry.kernel == kernel((5,), (1,))
    assert entry.strides == ((15, 5), (15, 5))
    assert entry.slots == (TensorType(DType.F32, (5,)),)


def test_what_is_shared_by_all_entries_stays_where_it_is() -> None:
    entry = entry_kernel(kernel((2, 3, 5), (0, 5, 1)), (2,), TYPES, set())
    assert entry.strides == ((0,), (15,))
    assert entry.slots == (TensorType(DType.F32, (30,)),)


def test_entries_may_have_to_be_cut_finer() -> None:
    with pytest.raises(FinerEntries) as finer:
        entry_kernel(kernel((2, 3, 5), (15, 5, 1)), (6,), TYPES, {0})
    assert finer.value.extents == (2, 3)


@pytest.mark.parametrize(
    "crossing",
    [
        kernel((2, 3, 5), (0, 5, 1)),  # every entry reads the first
        kernel((2, 3, 5), (-15, 5, 1), base=15),  # each reads the other
        kernel((2, 20), (5, 1)),  # entries overlap
        kernel((3, 2, 5), (5, 15, 1)),  # entries are cut across
    ],
)
def test_kernels_that_look_across_entries_are_not_separable(crossing: Kernel) -> None:
    with pytest.raises(NotSeparable):
        entry_kernel(crossing, (2,), TYPES, {0})


def test_a_value_that_is_open_nowhere_does_not_move_entries_out_of_memory() -> None:
    """Strides may be anything where no guard lets them count; closed lanes read where an entry begins."""
    closed = (Guard(0, (0, 0, 1), 2), Guard(-3, (0, 0, 1), 2))
    view = View(0, Address(0, (1 << 40, 5, 1), (), closed))
    reading = replace(kernel((2, 3, 5), (15, 5, 1)), loads=(view,))
    verify(Program(TYPES, (), (reading,), (1,)))
    with pytest.raises(NotSeparable):
        entry_kernel(reading, (2,), TYPES, set())


def test_kernels_that_count_entries_are_not_separable() -> None:
    counting = replace(kernel((2, 3, 5), (15, 5, 1)), loads=(), body=Code((Instruction(Op.INDEX, (), 0),), (0,)))
    with pytest.raises(NotSeparable):
        entry_kernel(counting, (2,), TYPES, set())
    inside = replace(counting, body=Code((Instruction(Op.INDEX, (), 2),), (0,)))
    assert entry_kernel(inside, (2,), TYPES, set()).kernel.body == Code((Instruction(Op.INDEX, (), 1),), (0,))


def product(shape: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...]) -> Kernel:
    """A contraction over 16 steps of values 1 and 2; strides by axis of ``shape``, then of the steps."""
    loads = tuple(View(value, Address(0, strides)) for value, strides in ((1, a), (2, b)))
    words = tuple(Instruction(op, (), number) for op, number in ((Op.LOAD, 0), (Op.LOAD, 1), (Op.ACC, 0)))
    body = Code((*words, Instruction(Op.FFMA, (0, 1, 2), 0)), (3,))
    merge = Code((Instruction(Op.ACC, (), 0), Instruction(Op.ACC, (), 1), Instruction(Op.FADD, (0, 1), 0)), (2,))
    total = Code((Instruction(Op.ACC, (), 0),), (0,))
    return Kernel(shape, (16,), loads, body, (DType.F32,), Fold((0,), 1, 512, merge, total))


@pytest.mark.parametrize(
    ("contraction", "anew"),
    [
        (product((4, 64, 64), (1024, 16, 0, 1), (1024, 0, 16, 1)), False),  # queries and keys of every entry
        (product((4, 64, 128), (1024, 16, 0, 1), (0, 0, 16, 1)), True),  # weights
        (product((4, 64, 4), (0, 16, 0, 1), (64, 0, 16, 1)), True),  # an image, and four of many filters in an entry
    ],
)
def test_what_entries_share_is_packed_once(contraction: Kernel, anew: bool) -> None:
    types = tuple(TensorType(DType.F32, (4, 64, 64)) for _ in range(3))
    assert prepares_anew(entry_kernel(contraction, (4,), types, set()), (4,)) == anew
